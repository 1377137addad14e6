//! `cargo xtask test`: every check there is, and one line that sums it up.

mod lines;
mod plan;
mod summary;
mod tally;
mod vms;

use std::{
    ffi::OsStr,
    io::{self, Read as _, Write as _},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::{
    artifact::{self, KernelTest},
    command::{as_root_with, cargo, shown},
    darwin, lint,
    platform::Arch,
    setup::{Need, ensure_for, path_with_servers},
    vm::Accelerator,
};
use plan::{Run, Trials};
use summary::Summary;
use tally::{Counts, Tally};

/// What `cargo xtask test` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only one part: the unit tests, the check for macOS, the kernel tests here, or those in
    /// the VMs; everything, linting included, by default
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Run what takes less than eight minutes: the unit tests, and the core of the kernel tests here and on
    /// one kernel
    #[arg(long)]
    quick: bool,
    /// Boot only kernels of this series, such as 6.12, and run all the kernel tests there
    #[arg(long, value_name = "SERIES")]
    kernel: Option<String>,
    /// Boot only kernels for this processor
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// How QEMU runs the guests' code
    #[arg(long, value_enum, default_value_t = Accelerator::Tcg)]
    accel: Accelerator,
    /// Run only the kernel tests whose names contain this
    filter: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Unit,
    Macos,
    Host,
    Vm,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        let by_default = part != Part::Macos || !self.quick;
        self.only.map_or(by_default, |only| only == part)
    }

    fn needs(&self) -> Vec<Need> {
        let parts = [
            (Part::Unit, &[Need::Bpf, Need::Peers][..]),
            (Part::Macos, &[Need::Darwin]),
            (Part::Host, &[Need::Bpf, Need::Peers]),
            (Part::Vm, &[Need::Peers]),
        ];
        let wanted = parts.into_iter().filter(|(part, _)| self.wants(*part));
        let booted = Arch::value_variants()
            .iter()
            .filter(|arch| self.wants(Part::Vm) && self.boots(**arch));
        let for_vms = booted.flat_map(|&arch| [Need::to_build(arch), Need::to_boot(arch)]);
        let wanted = wanted.map(|(_, needs)| needs);
        wanted.chain(for_vms).flatten().copied().collect()
    }

    /// Whoever names a kernel or a test wants that; else each kernel has its share.
    fn vms(&self) -> Result<Vec<Run>> {
        const CURRENT: &str = "6.12";
        let series = self.kernel.as_deref();
        if self.quick {
            let arch = self.arch.unwrap_or(Arch::X86_64);
            return plan::chosen(series.or(Some(CURRENT)), Some(arch), Trials::Core);
        }
        if series.is_some() || self.arch.is_some() || self.filter.is_some() {
            return plan::chosen(series, self.arch, Trials::All);
        }
        Ok(plan::whole())
    }

    fn boots(&self, arch: Arch) -> bool {
        let runs = self.vms().unwrap_or_default();
        runs.iter().any(|run| run.platform.arch == arch)
    }

    fn trials_here(&self) -> Trials {
        if self.quick {
            Trials::Core
        } else {
            Trials::All
        }
    }

    fn kernel_test_arguments(&self) -> Vec<String> {
        let threads = "--test-threads=1".to_owned();
        [threads].into_iter().chain(self.filter.clone()).collect()
    }
}

/// `cargo xtask test`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut summary = Summary::default();
    summary.part("set-up", || {
        ensure_for(&options.needs())?;
        Ok(Counts::default())
    });
    // Without what it lacks, all the rest would fail too, with less clear messages.
    if !summary.failed() {
        run_parts(options, &mut summary);
    }
    summary.print()?;
    Ok(if summary.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn run_parts(options: &Options, summary: &mut Summary) {
    if options.only.is_none() && !options.quick {
        summary.part("lint", || lint::run_all().map(|()| Counts::default()));
    }
    if options.wants(Part::Unit) {
        summary.part("unit, CLI and snapshot tests", unit_tests);
    }
    if options.wants(Part::Macos) {
        summary.part("check for macOS", || {
            darwin::check().map(|()| Counts::default())
        });
    }
    if !options.wants(Part::Host) && !options.wants(Part::Vm) {
        return;
    }
    let mut built = None;
    summary.part("static build", || {
        built = Some(artifact::kernel_test(Arch::X86_64)?);
        Ok(Counts::default())
    });
    let Some(built) = built else { return };
    if options.wants(Part::Host) {
        summary.part("kernel tests here", || host_tests(&built, options));
    }
    if options.wants(Part::Vm) {
        vms::run(&built, options, summary);
    }
}

fn unit_tests() -> Result<Counts> {
    let mut test = cargo();
    test.args(["test", "--workspace", "--exclude", "portwatch-ebpf"])
        .arg("--no-fail-fast");
    let mut counts = tallied(&mut test)?;
    // The one of the kernel tests that needs neither root nor a kernel to trace.
    let mut documents = cargo();
    documents.args(["test", "--package", "portwatch", "--test", "kernel", "--"]);
    counts += tallied(documents.arg("documents::"))?;
    Ok(counts)
}

fn host_tests(built: &KernelTest, options: &Options) -> Result<Counts> {
    let path = path_with_servers()?;
    let trials = options.trials_here().variable();
    let mut variables = vec![
        ("PORTWATCH_BIN", built.portwatch.as_os_str()),
        ("PATH", path.as_os_str()),
    ];
    variables.extend(
        trials
            .iter()
            .map(|(name, value)| (*name, OsStr::new(value))),
    );
    let mut test = as_root_with(&built.test, &variables)
        .context("the kernel tests load eBPF programs; `--only unit` runs the others")?;
    test.args(options.kernel_test_arguments());
    reported(tallied(&mut test)?)
}

/// Runs a test command: its output streams through, and is counted on the way.
fn tallied(command: &mut Command) -> Result<Counts> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}` cannot be started", shown(command)))?;
    let mut output = child.stdout.take().context("no output pipe")?;
    let mut tally = Tally::default();
    let mut buffer = [0; 4096];
    loop {
        let count = output.read(&mut buffer).context("the output broke off")?;
        if count == 0 {
            break;
        }
        tally.read(&buffer[..count]);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&buffer[..count])?;
        stdout.flush()?;
    }
    let status = child.wait()?;
    let message = format!("`{}` failed: {status}", shown(command));
    settled(tally.finish(), status.success(), &message)
}

/// Counted failures speak for themselves; a failure that no count shows is an error.
fn settled(counts: Counts, success: bool, message: &str) -> Result<Counts> {
    ensure!(success || counts.failed > 0, "{message}");
    Ok(counts)
}

/// A program that did not get to its closing line has tested nothing, whatever it returned.
fn reported(counts: Counts) -> Result<Counts> {
    ensure!(
        counts.programs > 0,
        "the kernel tests did not report their result"
    );
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_no_count_shows_is_an_error() {
        let mut counts = Counts::default();
        assert!(settled(counts, false, "it broke off").is_err());
        assert!(settled(counts, true, "").is_ok());
        counts.failed = 1;
        assert!(settled(counts, false, "").is_ok());
    }

    #[test]
    fn silence_is_no_result() {
        assert!(reported(Counts::default()).is_err());
    }
}
