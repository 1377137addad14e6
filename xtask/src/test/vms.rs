//! The kernel tests in VMs.

use std::{
    collections::{HashMap, hash_map::Entry},
    env, io,
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use xtask::wire::{Job, Kind};

use super::{
    Options,
    lines::Lines,
    plan::Run,
    reported, settled,
    summary::Summary,
    tally::{Counts, Tally},
};
use crate::{
    artifact::{self, KernelTest},
    platform::{Arch, Platform},
    setup::{
        for_guest,
        kernels::{self, Missing},
    },
    vm::{self, Added, Boot, Hardware},
};

const TEST: &str = "/usr/lib/portwatch/kernel-test";
const PORTWATCH: &str = "/usr/bin/portwatch";

/// The programs that a VM is booted with.
struct Programs {
    tests: KernelTest,
    init: PathBuf,
}

/// Boots what is asked for, as many VMs at once as there are processors.
pub(super) fn run(built: &KernelTest, options: &Options, summary: &mut Summary) {
    let mut runs = Vec::new();
    summary.part("kernels of the VMs", || {
        runs = options.vms()?;
        Ok(Counts::default())
    });
    leave_out_missing(&mut runs, summary);
    let mut programs = HashMap::new();
    for run in &runs {
        if let Entry::Vacant(place) = programs.entry(run.platform.arch) {
            place.insert(build(run.platform.arch, built, summary));
        }
    }
    // A build that failed is a failure of its own.
    let programs = |arch| programs.get(&arch).and_then(Option::as_ref);
    let bootable = runs.iter().filter_map(|run| {
        let programs = programs(run.platform.arch)?;
        Some((run.name(), move || tests(programs, run, options)))
    });
    summary.parts_at_once(bootable);
}

/// The same build for this machine and for VMs of its processor.
fn build(arch: Arch, built: &KernelTest, summary: &mut Summary) -> Option<Programs> {
    let mut programs = None;
    summary.part(&format!("programs of the VMs, {arch}"), || {
        programs = Some(Programs {
            tests: match arch {
                Arch::X86_64 => built.clone(),
                Arch::Aarch64 => artifact::kernel_test(arch)?,
            },
            init: artifact::init(arch)?,
        });
        Ok(Counts::default())
    });
    programs
}

fn leave_out_missing(runs: &mut Vec<Run>, summary: &mut Summary) {
    let platforms: Vec<Platform> = runs.iter().map(|run| run.platform.clone()).collect();
    for Missing { platform, reason } in kernels::ensure(&platforms) {
        for run in runs.extract_if(.., |run| run.platform == platform) {
            summary.missing(run.name(), &reason, is_ci() && run.is_required());
        }
    }
}

/// Set where a forge runs the tests.
fn is_ci() -> bool {
    env::var_os("CI").is_some()
}

fn tests(programs: &Programs, run: &Run, options: &Options) -> Result<Counts> {
    let mut tally = Tally::default();
    let label = run.label();
    let (mut output, mut errors) = (Lines::of(&label), Lines::of(&label));
    let status = boot(programs, run, options).run(&mut |kind, bytes| {
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

fn boot(programs: &Programs, run: &Run, options: &Options) -> Boot {
    let Programs { tests, init } = programs;
    let added = [
        Added::new(&tests.test, TEST),
        Added::new(&tests.portwatch, PORTWATCH),
    ];
    Boot {
        platform: run.platform.clone(),
        hardware: Hardware::new(options.accel),
        init: init.clone(),
        added: added
            .into_iter()
            .chain(for_guest(run.platform.arch))
            .collect(),
        job: Job {
            argv: [TEST.to_owned()]
                .into_iter()
                .chain(options.kernel_test_arguments())
                .collect(),
            env: environment(run),
            terminal: None,
            input: false,
        },
        limit: Some(Duration::from_secs(60 * vm::MINUTES)),
    }
}

fn environment(run: &Run) -> Vec<(String, String)> {
    let fixed = [
        ("PORTWATCH_BIN", PORTWATCH),
        ("PORTWATCH_TEST_SOURCES", run.sources()),
        ("RUST_BACKTRACE", "1"),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let trials = run.trials.variable();
    let trials = trials.map(|(name, value)| (name.to_owned(), value));
    fixed.into_iter().chain(trials).collect()
}
