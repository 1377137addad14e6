//! A test kernel's processor and series, by which it is asked for.

use std::fmt;

use clap::ValueEnum;

/// A processor that portwatch is built for, by the name that Linux and LLVM give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Aarch64,
}

impl Arch {
    /// As Debian calls it.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// As cargo calls it with Linux and glibc.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        })
    }
}

/// The series in which figures are measured: those that have both `fexit` and its neighbours' tracers.
pub(crate) const MEASURED: [&str; 2] = ["6.1", "6.12"];

/// A series of kernels for one processor, such as 6.12 for x86-64.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Platform {
    pub(crate) arch: Arch,
    pub(crate) series: String,
}

impl Platform {
    pub(crate) fn new(arch: Arch, series: &str) -> Self {
        Self {
            arch,
            series: series.to_owned(),
        }
    }

    /// Every one that the tests boot: the oldest kernels that portwatch works on, those that servers run
    /// today, and the newest.
    pub(crate) fn matrix() -> Vec<Self> {
        let of = |arch, series: &[&str]| -> Vec<Self> {
            series
                .iter()
                .map(|series| Self::new(arch, series))
                .collect()
        };
        [
            of(Arch::X86_64, &["6.12", "6.1", "7.3", "6.18", "5.10"]),
            of(Arch::Aarch64, &["6.12", "6.1", "7.3"]),
        ]
        .concat()
    }
}

impl fmt::Display for Platform {
    /// `Linux 6.12`, `Linux 6.12 on aarch64`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}", self.series)?;
        match self.arch {
            Arch::X86_64 => Ok(()),
            arch @ Arch::Aarch64 => write!(f, " on {arch}"),
        }
    }
}
