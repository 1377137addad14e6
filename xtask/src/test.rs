//! `cargo xtask test`: every check there is, and one line that sums it up.

mod lines;
mod summary;
mod tally;

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use xtask::wire::{Job, Kind};

use crate::{
    artifact::{self, KernelTest},
    command::{as_root_with, cargo, shown, which},
    darwin, lint,
    platform::{Arch, Platform},
    setup::{Need, ensure_for, for_guest, path_with_servers},
    vm::{self, Accelerator, Added, Boot, Hardware},
};
use lines::Lines;
use summary::Summary;
use tally::{Counts, Tally};

/// What portwatch must be able to trace with in the VMs, whose kernels allow everything. On this
/// machine the tests ask `portwatch doctor` instead.
const VM_SOURCES: &str = "fexit,kprobe,tracepoint";

/// What `cargo xtask test` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only one part: the unit tests, the check for macOS, the kernel tests here, or those in
    /// the VMs; everything, linting included, by default
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Boot only the kernel of this series, such as 6.12
    #[arg(long, value_name = "SERIES")]
    kernel: Option<String>,
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
        self.only.is_none_or(|only| only == part)
    }

    fn needs(&self) -> Vec<Need> {
        let parts = [
            (Part::Unit, &[Need::Bpf, Need::Peers][..]),
            (Part::Macos, &[Need::Darwin]),
            (Part::Host, &[Need::Bpf, Need::Peers]),
            (Part::Vm, &[Need::Bpf, Need::Peers, Need::Vm]),
        ];
        let wanted = parts.into_iter().filter(|(part, _)| self.wants(*part));
        wanted.flat_map(|(_, needs)| needs).copied().collect()
    }

    fn platforms(&self) -> Vec<Platform> {
        match &self.kernel {
            Some(series) => vec![Platform::new(Arch::X86_64, series)],
            None => vec![
                Platform::new(Arch::X86_64, "6.12"),
                Platform::new(Arch::X86_64, "6.1"),
            ],
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
    if options.only.is_none() {
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
        built = Some(artifact::kernel_test()?);
        Ok(Counts::default())
    });
    let Some(built) = built else { return };
    if options.wants(Part::Host) {
        summary.part("kernel tests here", || host_tests(&built, options));
    }
    if options.wants(Part::Vm) {
        run_vms(&built, options, summary);
    }
}

/// All at once: each waits more than it computes.
fn run_vms(built: &KernelTest, options: &Options, summary: &mut Summary) {
    let mut init: Option<PathBuf> = None;
    summary.part("PID 1 of the VMs", || {
        init = Some(artifact::init()?);
        Ok(Counts::default())
    });
    let Some(init) = &init else { return };
    summary.parts_at_once(options.platforms().into_iter().map(|platform| {
        let name = format!("kernel tests on {platform}");
        (name, move || vm_tests(built, init, &platform, options))
    }));
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
    let variables = [
        ("PORTWATCH_BIN", built.portwatch.as_os_str()),
        ("PATH", path.as_os_str()),
    ];
    let mut test = as_root_with(&built.test, &variables)
        .context("the kernel tests load eBPF programs; `--only unit` runs the others")?;
    test.args(options.kernel_test_arguments());
    reported(tallied(&mut test)?)
}

fn vm_tests(
    built: &KernelTest,
    init: &Path,
    platform: &Platform,
    options: &Options,
) -> Result<Counts> {
    const TEST: &str = "/usr/lib/portwatch/kernel-test";
    const PORTWATCH: &str = "/usr/bin/portwatch";
    let mut argv = vec![TEST.to_owned()];
    argv.extend(options.kernel_test_arguments());
    let variables = [
        ("PORTWATCH_BIN", PORTWATCH),
        ("PORTWATCH_TEST_SOURCES", VM_SOURCES),
        ("RUST_BACKTRACE", "1"),
    ];
    let strace = which("strace").context("strace is missing; run `cargo xtask setup`")?;
    let boot = Boot {
        platform: platform.clone(),
        hardware: Hardware::new(options.accel),
        init: init.to_owned(),
        added: [
            Added::new(&built.test, TEST),
            Added::new(&built.portwatch, PORTWATCH),
            Added::new(strace, "/usr/bin/strace"),
        ]
        .into_iter()
        .chain(for_guest())
        .collect(),
        job: Job {
            argv,
            env: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            terminal: None,
            input: false,
        },
        limit: Some(Duration::from_secs(60 * vm::MINUTES)),
    };
    let mut tally = Tally::default();
    let (mut output, mut errors) = (Lines::of(&platform.series), Lines::of(&platform.series));
    let status = boot.run(&mut |kind, bytes| {
        if kind == Kind::Error {
            return Ok(errors.write(bytes, &mut io::stderr().lock())?);
        }
        tally.read(bytes);
        Ok(output.write(bytes, &mut io::stdout().lock())?)
    })?;
    output.finish(&mut io::stdout().lock())?;
    errors.finish(&mut io::stderr().lock())?;
    let counts = reported(tally.finish())?;
    settled(
        counts,
        status == 0,
        &format!("the kernel tests ended with status {status}"),
    )
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
