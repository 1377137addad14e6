//! Runs portwatch against real kernels: what a workload did must be exactly what was reported.
//!
//! Needs root. `cargo xtask test` runs it, on this machine and in the test kernels. What a source sees
//! is tried with each, what becomes of it (`any::`) with the best that works. A trial that cannot work
//! here is shown as ignored, with the reason.
//!
//! - `PORTWATCH_BIN`: the portwatch to test; the one that Cargo built, if unset
//! - `PORTWATCH_TEST_SOURCES`: the sources that must work here, comma-separated. If unset,
//!   `portwatch doctor` is asked. Set only in the test kernels, where time means little.
//! - `PORTWATCH_TEST_TRIALS`: `core` for those that every kernel is tried with, `1/2` for a half of all

use std::process::ExitCode;

use libtest_mimic::Arguments;

mod kernel {
    pub(crate) mod asked;
    pub(crate) mod cause;
    pub(crate) mod cgroup_bpf;
    pub(crate) mod compare;
    pub(crate) mod compat;
    pub(crate) mod crowd;
    pub(crate) mod driver;
    pub(crate) mod facts;
    pub(crate) mod fuse;
    pub(crate) mod holders;
    pub(crate) mod knowledge;
    pub(crate) mod lsm_bpf;
    pub(crate) mod matrix;
    pub(crate) mod pinned;
    pub(crate) mod portwatch;
    pub(crate) mod process;
    pub(crate) mod record;
    pub(crate) mod selection;
    pub(crate) mod source;
    pub(crate) mod stream;
    pub(crate) mod sys;
    pub(crate) mod table;
    pub(crate) mod timing;
    pub(crate) mod trials;
    pub(crate) mod truth;
    pub(crate) mod uring;
    pub(crate) mod workload;

    /// Nobody may be there to read it.
    pub(crate) fn print_table() -> std::process::ExitCode {
        use std::io::Write as _;
        match std::io::stdout().write_all(table::markdown().as_bytes()) {
            Ok(()) => std::process::ExitCode::SUCCESS,
            Err(_) => std::process::ExitCode::FAILURE,
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == kernel::workload::FLAG => return Ok(kernel::workload::main(args)),
        Some(first) if first == kernel::table::FLAG => return Ok(kernel::print_table()),
        _ => {}
    }
    let trials = kernel::trials::all()
        .into_iter()
        .chain(kernel::facts::all())
        .collect();
    let trials = kernel::selection::of(trials)?;
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    kernel::timing::print_slowest();
    Ok(conclusion.exit_code())
}
