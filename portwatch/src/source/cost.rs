//! What each eBPF program is, and takes to load: for `portwatch doctor --programs`.

use std::time::Duration;

use super::Kind;

/// One program, as this kernel took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub source: Kind,
    /// Its name in the eBPF object
    pub name: &'static str,
    /// Where it is attached
    pub hooks: Vec<String>,
    /// Or why it is not loaded
    pub cost: Result<Cost, String>,
}

/// `None` is what the kernel does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Instructions that the verifier went through, all branches together
    pub verified: Option<u32>,
    /// Bytes of the program as the verifier left it
    pub translated: Option<u32>,
    /// Bytes of it in the machine's own language
    pub jitted: Option<u32>,
    /// What the verifier and the translation took
    pub load_time: Duration,
}

/// Loads the programs of every source that works here, and attaches none.
#[cfg(target_os = "linux")]
pub fn measure() -> Vec<Program> {
    let mut loader = super::ebpf::Loader::default();
    let all = Kind::ALL.into_iter();
    all.flat_map(|kind| super::ebpf::measure(&mut loader, kind))
        .collect()
}

/// There are none elsewhere.
#[cfg(not(target_os = "linux"))]
pub const fn measure() -> Vec<Program> {
    Vec::new()
}
