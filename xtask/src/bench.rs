//! `cargo xtask bench`: what tracing costs in the test kernels, in instructions, and beside other
//! tracers; the tables of docs/PERFORMANCE.md.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use xtask::{
    figures::{Call, Case, Figure},
    wire::Job,
};

use crate::{
    artifact,
    platform::{Arch, MEASURED, Platform},
    setup::{self, Need, ensure_for},
    tables,
    vm::{self, Accelerator, Added, Boot, Hardware},
};

const DOCUMENT: &str = "docs/PERFORMANCE.md";
const PORTWATCH: &str = "/usr/bin/portwatch";
const BENCH: &str = "/usr/bin/bench";
/// bpftrace brings LLVM.
const MEMORY: &str = "3G";
const UNTRACED: &str = "untraced";
/// The whole of what the others do for a line.
pub(crate) const BPFTRACE: &str =
    r#"kretprobe:__sys_bind, kretprobe:__sys_connect { printf("%d %s %d\n", pid, comm, retval); }"#;

/// What `cargo xtask bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these cases, by a part of their names; the tables are printed and not written then
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Only this kernel
    #[arg(long, value_name = "SERIES")]
    kernel: Option<String>,
}

/// `cargo xtask bench`.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure_for(&[Need::Bpf, Need::Vm, Need::Bench])?;
    let cases = cases(&options.cases);
    let wanted = |series: &&str| options.kernel.as_ref().is_none_or(|only| only == *series);
    for series in MEASURED.into_iter().filter(wanted) {
        eprintln!("bench: Linux {series}");
        let figures = measure(series, &cases)?;
        let table = format!(
            "{}\nA failed bind by itself, to a port that was not asked for before:\n\n{}",
            table(&cases, &figures, &Call::IN_A_ROW),
            table(&cases, &figures, &Call::LONE)
        );
        if options.cases.is_empty() {
            tables::rewrite(DOCUMENT, "bench", &BTreeMap::from([(series, table)]))?;
        } else {
            eprintln!("\n{table}");
        }
    }
    Ok(())
}

/// Every case, or those that were asked for and what they are held against.
fn cases(parts: &[String]) -> Vec<Case> {
    let other = |name: &str, argv: &[&str], calls: &[Call]| Case {
        name: name.to_owned(),
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        calls: calls.into(),
        tells: false,
        foreign: true,
    };
    let portwatch = |name: &str, arguments: &[&str], tells| {
        let argv = [&[PORTWATCH], arguments].concat();
        Case {
            tells,
            foreign: false,
            ..other(&format!("portwatch {name}"), &argv, &Call::IN_A_ROW)
        }
    };
    let lone_too = |case: Case| Case {
        calls: [Call::IN_A_ROW, Call::LONE].concat(),
        ..case
    };
    let binds = [Call::Bind, Call::FailedBind];
    let all = [
        lone_too(other(UNTRACED, &[], &[])),
        portwatch("-o text", &["-o", "text"], true),
        lone_too(portwatch("-o json", &["-o", "json"], true)),
        // The last lines wait for more to come.
        portwatch("-o json --buffer", &["-o", "json", "--buffer"], false),
        lone_too(portwatch(
            "-o json --no-explain",
            &["-o", "json", "--no-explain"],
            true,
        )),
        portwatch("--log-file", &["--log-file", "/tmp/log"], false),
        portwatch("-P 80", &["-P", "80"], false),
        portwatch("-P 80 --no-explain", &["-P", "80", "--no-explain"], false),
        portwatch("-P 80 --op bind", &["-P", "80", "--op", "bind"], false),
        portwatch("-x", &["-x"], false),
        portwatch("-x --no-explain", &["-x", "--no-explain"], false),
        lone_too(portwatch(
            "--source kprobe -o json",
            &["--source", "kprobe", "-o", "json"],
            true,
        )),
        lone_too(portwatch(
            "--source tracepoint -o json",
            &["--source", "tracepoint", "-o", "json"],
            true,
        )),
        other("bindsnoop", &["bindsnoop"], &binds),
        other("tcpconnect", &["tcpconnect"], &[Call::Connect]),
        lone_too(other("bpftrace", &["bpftrace", "-e", BPFTRACE], &[])),
    ];
    let asked = |case: &Case| {
        let named = |part: &String| case.name.contains(part.as_str());
        parts.is_empty() || case.name == UNTRACED || parts.iter().any(named)
    };
    all.into_iter().filter(asked).collect()
}

fn measure(series: &str, cases: &[Case]) -> Result<Vec<Figure>> {
    let mut added = setup::tracers();
    added.push(Added::new(
        artifact::static_release_portwatch(Arch::X86_64)?,
        PORTWATCH,
    ));
    added.push(Added::new(artifact::bench()?, BENCH));
    let boot = Boot {
        platform: Platform::new(Arch::X86_64, series),
        hardware: Hardware {
            cpus: 1,
            memory: MEMORY.to_owned(),
            ..Hardware::new(Accelerator::Icount)
        },
        init: artifact::init(Arch::X86_64)?,
        added,
        job: Job {
            argv: vec![BENCH.to_owned(), serde_json::to_string(cases)?],
            env: Vec::new(),
            terminal: None,
            input: false,
        },
        limit: Some(Duration::from_secs(60 * vm::MINUTES)),
    };
    let text = String::from_utf8(boot.output()?)?;
    text.lines()
        .map(|line| serde_json::from_str(line).context("a figure"))
        .collect()
}

/// A row for each case in which such calls were made: what one takes more than untraced, and what of
/// that is the tracer's own.
fn table(cases: &[Case], figures: &[Figure], calls: &[Call]) -> String {
    let find = |case: &str, call| {
        let same = |figure: &&Figure| figure.case == case && figure.call == call;
        figures.iter().find(same)
    };
    let mut text = String::from("| |");
    for call in calls {
        let _ = write!(text, " {} | its own |", call.name());
    }
    text.push_str("\n|---|");
    text.push_str(&"--:|--:|".repeat(calls.len()));
    text.push('\n');
    let made = |case: &&Case| case.calls.iter().any(|call| calls.contains(call));
    for case in cases.iter().filter(made) {
        let _ = write!(text, "| `{}` |", case.name);
        for &call in calls {
            let pair = find(&case.name, call).map_or_else(
                || [String::from("–"), String::from("–")],
                |figure| cells(figure, find(UNTRACED, call)),
            );
            let _ = write!(text, " {} | {} |", pair[0], pair[1]);
        }
        text.push('\n');
    }
    text
}

fn cells(figure: &Figure, untraced: Option<&Figure>) -> [String; 2] {
    let each = |figure: &Figure| figure.instructions / figure.calls;
    match untraced {
        Some(untraced) if figure.case != UNTRACED => {
            let more = each(figure).cast_signed() - each(untraced).cast_signed();
            [
                format!("{more:+}"),
                (figure.tracer / figure.calls).to_string(),
            ]
        }
        _ => [each(figure).to_string(), String::from("–")],
    }
}
