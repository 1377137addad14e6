//! `cargo xtask load`: what portwatch can take, what it takes at rest, and how fast it starts, beside
//! other tracers; here and in the test kernels. The tables of docs/PERFORMANCE.md.

mod report;

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result};
use xtask::{
    trial::{Load, Order, Outcome, Trial},
    wire::Job,
};

use crate::{
    artifact,
    bench::BPFTRACE,
    command::{as_root, output},
    platform::{Arch, MEASURED, Platform},
    setup::{self, Need, ensure_for},
    tables,
    vm::{self, Accelerator, Added, Boot, Hardware},
};

const DOCUMENT: &str = "docs/PERFORMANCE.md";
const PORTWATCH: &str = "/usr/bin/portwatch";
const LOAD: &str = "/usr/bin/load";
/// bpftrace brings LLVM.
const MEMORY: &str = "3G";
/// The name of this machine among the kernels.
const HERE: &str = "here";
const UNTRACED: &str = "untraced";

const HELD: Duration = Duration::from_secs(30);
const AT_REST: Duration = Duration::from_mins(1);
const STARTS: usize = 20;
/// What nobody reads.
const FLOOD: Load = Load {
    rate: 100_000,
    time: Duration::from_secs(30),
};
/// Binds that fail at once.
const FAILURES: u64 = 50_000;
/// Attempts a second of the soak.
const SOAK: u64 = 2_000;

/// What `cargo xtask load` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these tracers, by a part of their names, or these trials (held, soak, stalled, flood, rest,
    /// start); the tables are printed and not written then
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Only this kernel, or `here` for this machine
    #[arg(long, value_name = "SERIES")]
    kernel: Option<String>,
    /// How long the soak is
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    soak: u64,
}

/// `cargo xtask load`.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure_for(&[Need::Bpf, Need::Vm, Need::Bench, Need::Peers])?;
    let wanted = |place: &&str| options.kernel.as_ref().is_none_or(|only| only == *place);
    for place in [HERE].into_iter().chain(MEASURED).filter(wanted) {
        eprintln!("load: {place}");
        let before = host_load()?;
        let outcomes = match place {
            HERE => here(options)?,
            series => in_vm(series, options)?,
        };
        let text = format!(
            "{} The load average of the machine was {before} before and {} after.\n\n{}",
            report::hardware(place == HERE),
            host_load()?,
            report::tables(&outcomes)
        );
        if options.cases.is_empty() {
            tables::rewrite(DOCUMENT, "load", &BTreeMap::from([(place, text)]))?;
        } else {
            eprintln!("\n{text}");
        }
    }
    Ok(())
}

fn here(options: &Options) -> Result<Vec<Outcome>> {
    let portwatch = artifact::static_release_portwatch(Arch::X86_64)?;
    let portwatch = portwatch.to_str().context("a path that is no UTF-8")?;
    let orders = orders(portwatch, options);
    let mut load = as_root(artifact::load()?)?;
    outcomes(&output(load.arg(serde_json::to_string(&orders)?))?)
}

fn in_vm(series: &str, options: &Options) -> Result<Vec<Outcome>> {
    // Without strace, which stops a process for each call: in emulation it comes to no end.
    let mut added = setup::tracers();
    added.push(Added::new(
        artifact::static_release_portwatch(Arch::X86_64)?,
        PORTWATCH,
    ));
    added.push(Added::new(artifact::load()?, LOAD));
    let orders = orders(PORTWATCH, options);
    let boot = Boot {
        platform: Platform::new(Arch::X86_64, series),
        hardware: Hardware {
            memory: MEMORY.to_owned(),
            ..Hardware::new(Accelerator::Tcg)
        },
        init: artifact::init(Arch::X86_64)?,
        added,
        job: Job {
            argv: vec![LOAD.to_owned(), serde_json::to_string(&orders)?],
            env: Vec::new(),
            terminal: None,
            input: false,
        },
        limit: Some(Duration::from_mins(vm::MINUTES + options.soak)),
    };
    outcomes(&String::from_utf8(boot.output()?)?)
}

fn outcomes(text: &str) -> Result<Vec<Outcome>> {
    text.lines()
        .map(|line| serde_json::from_str(line).context("an outcome"))
        .collect()
}

/// Everything, or what was asked for.
fn orders(portwatch: &str, options: &Options) -> Vec<Order> {
    let order = |name: &str, argv: &[&str], clean: Option<&str>, trial| Order {
        name: name.to_owned(),
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        clean: clean.map(str::to_owned),
        trial,
    };
    let own = |arguments: &[&str], trial| {
        let name = format!("portwatch {}", arguments.join(" "));
        let clean = if arguments.contains(&"json") {
            r#""lost":0"#
        } else {
            "nothing was lost"
        };
        order(
            &name,
            &[&[portwatch], arguments].concat(),
            Some(clean),
            trial,
        )
    };
    let other = |name: &str, argv: &[&str]| order(name, argv, None, Trial::Held(HELD));
    let soak = Load {
        rate: SOAK,
        time: Duration::from_mins(options.soak),
    };
    // How a line looks costs the same whatever the source.
    let held = [
        ("fexit", "text"),
        ("fexit", "json"),
        ("kprobe", "json"),
        ("tracepoint", "text"),
        ("tracepoint", "json"),
    ]
    .map(|(source, format)| own(&["--source", source, "-o", format], Trial::Held(HELD)));
    let json = ["-o", "json"];
    let mut all = vec![other(UNTRACED, &[])];
    all.extend(held);
    all.extend([
        other("bindsnoop", &["bindsnoop"]),
        other("bpftrace", &["bpftrace", "-e", BPFTRACE]),
        other("strace", &STRACE),
        own(&json, Trial::Flood(FAILURES)),
        own(&["-o", "json", "--no-explain"], Trial::Flood(FAILURES)),
        own(&json, Trial::Rest(AT_REST)),
        own(&json, Trial::Start(STARTS)),
        own(
            &["--source", "tracepoint", "-o", "json"],
            Trial::Start(STARTS),
        ),
        own(&json, Trial::Stalled(FLOOD)),
        own(&json, Trial::Soak(soak)),
    ]);
    let parts = &options.cases;
    let is_named = |order: &Order, part: &String| {
        order.name.contains(part.as_str()) || order.trial.name() == part
    };
    let named = |order: &Order| parts.is_empty() || parts.iter().any(|it| is_named(order, it));
    all.into_iter().filter(named).collect()
}

/// It is attached to the process that makes the calls, and follows its threads.
const STRACE: [&str; 9] = [
    "strace",
    "-f",
    "-qq",
    "-e",
    "trace=bind",
    "-o",
    "/proc/self/fd/1",
    "-p",
    "PID",
];

/// The one of the last minute.
fn host_load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}
