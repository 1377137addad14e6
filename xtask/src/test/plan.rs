//! The kernels that are booted, and the trials of each.

use anyhow::{Result, ensure};

use crate::platform::{Arch, Platform};

/// The sources that must work in a VM. On this machine the tests ask `portwatch doctor`
/// instead.
const EVERY_SOURCE: &str = "fexit,kprobe,tracepoint";

/// One of the VMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) platform: Platform,
    pub(super) trials: Trials,
}

/// A selection of the kernel tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trials {
    /// What a source sees and knows, and how it starts and stops: what differs from kernel to kernel
    Core,
    All,
    /// One of so many parts of all, the first being 1
    Part(u32, u32),
}

impl Run {
    /// How its lines begin.
    pub(super) fn label(&self) -> String {
        let Platform { arch, series } = &self.platform;
        let arch = match arch {
            Arch::X86_64 => String::new(),
            arch @ Arch::Aarch64 => format!(" {arch}"),
        };
        let part = match self.trials {
            Trials::Part(part, parts) => format!(" {part}/{parts}"),
            Trials::Core | Trials::All => String::new(),
        };
        format!("{series}{arch}{part}")
    }

    pub(super) fn name(&self) -> String {
        let what = match self.trials {
            Trials::Core => "core".to_owned(),
            Trials::All => "all".to_owned(),
            Trials::Part(part, parts) => format!("part {part} of {parts}"),
        };
        format!("{}, {what}", self.platform)
    }

    /// The sources that must work there.
    pub(super) fn sources(&self) -> &'static str {
        match (self.platform.arch, self.platform.series.as_str()) {
            // BPF trampolines came to arm64 with 6.4.
            (Arch::Aarch64, "6.1") => "kprobe,tracepoint",
            _ => EVERY_SOURCE,
        }
    }

    /// Whether CI fails without that kernel. The others come and go in Debian's archive.
    pub(super) fn is_required(&self) -> bool {
        let Platform { arch, series } = &self.platform;
        *arch == Arch::X86_64 && (series == "6.1" || series == "6.12")
    }
}

impl Trials {
    /// As the tests' program reads it from its environment.
    pub(super) fn variable(self) -> Option<(&'static str, String)> {
        let value = match self {
            Self::All => return None,
            Self::Core => "core".to_owned(),
            Self::Part(part, parts) => format!("{part}/{parts}"),
        };
        Some(("PORTWATCH_TEST_TRIALS", value))
    }
}

/// Everything on 6.12 for x86-64, in two VMs; the core on all others. The longest first.
pub(super) fn whole() -> Vec<Run> {
    let of = |platform: Platform| {
        let trials = match (platform.arch, platform.series.as_str()) {
            (Arch::X86_64, "6.12") => vec![Trials::Part(1, 2), Trials::Part(2, 2)],
            _ => vec![Trials::Core],
        };
        let run = move |trials| Run {
            platform: platform.clone(),
            trials,
        };
        trials.into_iter().map(run)
    };
    Platform::matrix().into_iter().flat_map(of).collect()
}

/// The same trials on some kernels of the matrix: those of a series, of a processor, or all.
pub(super) fn chosen(series: Option<&str>, arch: Option<Arch>, trials: Trials) -> Result<Vec<Run>> {
    let fits = |platform: &Platform| {
        series.is_none_or(|series| platform.series == series)
            && arch.is_none_or(|arch| platform.arch == arch)
    };
    let chosen: Vec<Platform> = Platform::matrix().into_iter().filter(fits).collect();
    ensure!(
        !chosen.is_empty(),
        "no such kernel is tested; those that are: {}",
        Platform::matrix()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    );
    let run = |platform| Run { platform, trials };
    Ok(chosen.into_iter().map(run).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_of_the_matrix_is_booted_and_one_runs_everything() {
        let runs = whole();
        for platform in Platform::matrix() {
            assert!(
                runs.iter().any(|run| run.platform == platform),
                "{platform}"
            );
        }
        let parts: Vec<_> = runs
            .iter()
            .filter(|run| run.trials != Trials::Core)
            .collect();
        assert!(
            parts
                .iter()
                .all(|run| run.platform == Platform::new(Arch::X86_64, "6.12"))
        );
        assert_eq!(parts.len(), 2);
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_refused() {
        assert!(chosen(Some("4.19"), None, Trials::Core).is_err());
        assert_eq!(chosen(Some("7.3"), None, Trials::Core).unwrap().len(), 2);
        assert_eq!(
            chosen(Some("7.3"), Some(Arch::Aarch64), Trials::All)
                .unwrap()
                .len(),
            1
        );
    }
}
