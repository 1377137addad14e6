//! Booting a test kernel and running one command in it; `cargo xtask vm`.

mod initramfs;
mod machine;
mod modules;
mod terminal;

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::wire::{Job, Kind};

pub(crate) use initramfs::Added;
pub(crate) use machine::{Accelerator, Hardware, Sink};
use machine::{Machine, console_tail, create_console};

use crate::{
    artifact,
    command::root,
    platform::{Arch, Platform},
    setup::{Need, ensure_for, kernels},
};

/// How long a VM may take before it counts as stuck.
pub(crate) const MINUTES: u64 = 65;

/// What `cargo xtask vm` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The kernel's series, such as 6.1 or 7.3
    #[arg(long, value_name = "SERIES", default_value = "6.12")]
    kernel: String,
    /// The processor
    #[arg(long, value_enum, default_value_t = Arch::X86_64)]
    arch: Arch,
    #[command(flatten)]
    hardware: HardwareOptions,
    /// Put a file into the guest, with the shared libraries it needs; without a guest path it
    /// goes to /usr/bin
    #[arg(long = "add", value_name = "HOSTPATH[:GUESTPATH]", value_parser = Added::parse)]
    added: Vec<Added>,
    /// Use the portwatch of the last build, or none, instead of building it
    #[arg(long)]
    no_build: bool,
    /// Give up after so many minutes; by default a terminal has no limit, other runs 65 minutes
    #[arg(long, value_name = "MINUTES")]
    timeout: Option<u64>,
    /// The command to run in the guest and its arguments, after `--`; a shell without one
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HardwareOptions {
    /// Number of CPUs
    #[arg(long, value_name = "N", default_value_t = 2)]
    smp: u32,
    /// Memory, as QEMU takes it
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    mem: String,
    /// How QEMU runs the guest's code
    #[arg(long, value_enum, default_value_t = Accelerator::Tcg)]
    accel: Accelerator,
}

impl From<HardwareOptions> for Hardware {
    fn from(options: HardwareOptions) -> Self {
        let HardwareOptions { smp, mem, accel } = options;
        Self {
            cpus: smp,
            memory: mem,
            accelerator: accel,
        }
    }
}

/// One command in one kernel.
pub(crate) struct Boot {
    pub(crate) platform: Platform,
    pub(crate) hardware: Hardware,
    /// The program that becomes PID 1.
    pub(crate) init: PathBuf,
    pub(crate) added: Vec<Added>,
    pub(crate) job: Job,
    pub(crate) limit: Option<Duration>,
}

impl Boot {
    /// Boots, runs the command, and returns what it wrote; it must succeed.
    pub(crate) fn output(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let status = self.run(&mut |kind, bytes| match kind {
            Kind::Output => {
                text.extend_from_slice(bytes);
                Ok(())
            }
            _ => pass_on(kind, bytes),
        })?;
        ensure!(
            status == 0,
            "{} ended with status {status}",
            self.job.argv.join(" ")
        );
        Ok(text)
    }

    /// Boots, runs the command, and returns its exit status.
    pub(crate) fn run(&self, sink: &mut Sink<'_>) -> Result<u8> {
        let kernel = kernels::obtain(&self.platform)?;
        let parent = root().join("target/vm-runs");
        fs::create_dir_all(&parent).context("cannot create target/vm-runs")?;
        let work = tempfile::tempdir_in(&parent).context("cannot write to target/vm-runs")?;
        let Self {
            init, added, job, ..
        } = self;
        let arch = self.platform.arch;
        let initramfs = initramfs::build(arch, &kernel, init, added, job, work.path())?;
        let console = work.path().join("console.log");
        create_console(&console)?;
        let mut machine =
            Machine::start(&self.hardware, arch, &kernel.image, &initramfs, &console)?;
        let raw = self.job.terminal.and_then(|_| terminal::Raw::enter().ok());
        let attended = machine.attend(self.job.input, self.limit, sink);
        drop(raw);
        let failure = match attended {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => "the VM went down before the command had ended".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let tail = console_tail(&console);
        bail!(
            "{} ({}): {failure}; the end of its console:\n{tail}",
            self.platform,
            kernel.release
        )
    }
}

/// `cargo xtask vm`.
pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let Options {
        kernel,
        arch,
        hardware,
        mut added,
        no_build,
        timeout,
        command,
    } = options;
    let platform = Platform::new(arch, &kernel);
    let (boot, build) = (Need::to_boot(arch), Need::to_build(arch));
    ensure_for(&[boot, if no_build { &[] } else { build }].concat())?;
    let portwatch = if no_build {
        artifact::last_static_portwatch(arch)
    } else {
        Some(artifact::static_portwatch(arch)?)
    };
    added.extend(portwatch.map(|path| Added::new(path, "/usr/bin/portwatch")));
    let job = job(command, &platform);
    let limit = match (timeout, job.terminal) {
        (None, Some(_)) => None,
        (minutes, _) => Some(Duration::from_secs(60 * minutes.unwrap_or(MINUTES))),
    };
    let boot = Boot {
        platform,
        hardware: hardware.into(),
        init: artifact::init(arch)?,
        added,
        job,
        limit,
    };
    boot.run(&mut pass_on).map(ExitCode::from)
}

/// A developer's command: it gets this terminal, or this process's pipes.
fn job(command: Vec<String>, platform: &Platform) -> Job {
    let argv = if command.is_empty() {
        vec!["sh".to_owned()]
    } else {
        command
    };
    let mut variables = vec![("PS1".to_owned(), format!("[{platform}] \\w # "))];
    variables.extend(env::var("TERM").ok().map(|term| ("TERM".to_owned(), term)));
    Job {
        argv,
        env: variables,
        terminal: terminal::size(),
        input: true,
    }
}

/// Prints the guest's output as this program's own.
pub(crate) fn pass_on(kind: Kind, bytes: &[u8]) -> Result<()> {
    let written = if kind == Kind::Error {
        io::stderr().write_all(bytes)
    } else {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    };
    written.context("cannot pass the guest's output on")
}
