//! What an attempt takes on its way from the ring to the line, step by step.
//!
//! `cargo bench --package portwatch`. The whole, with wake-ups and the kernel's side, is measured by
//! `cargo xtask bench` (docs/PERFORMANCE.md).

use std::hint::black_box;

use clap::Parser as _;
use criterion::{Criterion, criterion_group, criterion_main};
use portwatch::{
    cli::Cli,
    config::Config,
    event::{Attempt, Event},
    explain::{self, Facts},
    output::Printers,
    source::{
        decode::{ClockOffset, decode},
        record::Record,
    },
    users::Users,
};
use portwatch_common::event::{self as wire, KIND_ATTEMPT, known, stage};
use zerocopy::{FromZeros as _, IntoBytes as _};

const EADDRINUSE: i32 = -98;
const CLOCK: ClockOffset = ClockOffset(1_700_000_000_000_000_000);

/// What the kernel's side writes of a bind to 127.0.0.1:8080.
fn raw(ret: i32) -> Vec<u8> {
    let mut record = wire::Attempt::new_zeroed();
    record.kind = KIND_ATTEMPT;
    record.op = wire::op::BIND;
    record.via = wire::via::SYSCALL;
    record.known = known::SOCKADDR
        | known::RET
        | known::FD
        | known::TASK
        | known::SOCKET
        | known::LOCAL
        | known::THRESHOLD;
    record.tgid = 4711;
    record.tid = 4711;
    record.ppid = 1;
    record.comm[..5].copy_from_slice(b"nginx");
    record.start_ns = 1_000_000_000;
    record.cgroup_id = 1;
    record.fd = 3;
    record.family = 2;
    record.sock_type = 1;
    record.protocol = 6;
    record.netns = 4_026_531_840;
    record.unprivileged_port_start = 1024;
    record.local_addr[..4].copy_from_slice(&[127, 0, 0, 1]);
    record.sockaddr_len = 16;
    record.sockaddr[..8].copy_from_slice(&[2, 0, 0x1f, 0x90, 127, 0, 0, 1]);
    record.ret = ret;
    if ret == 0 {
        record.local_port = 8080;
    } else {
        record.stages.reached = stage::GET_PORT | stage::OPERATION;
        record.stages.get_port = i16::try_from(ret).unwrap_or(-1);
        record.stages.operation = record.stages.get_port;
    }
    record.as_bytes().to_vec()
}

fn attempt(ret: i32) -> Attempt {
    match decode(&raw(ret), CLOCK) {
        Ok(Record::Attempt(attempt)) => attempt,
        other => unreachable!("{other:?}"),
    }
}

fn config(arguments: &[&str]) -> Config {
    let typed = Cli::parse_from(["portwatch"].iter().chain(arguments));
    Config::new(&typed.watch, &Users::new()).expect("the arguments are right")
}

fn decoding(criterion: &mut Criterion) {
    let raw = raw(0);
    criterion.bench_function("decode", |bench| {
        bench.iter(|| decode(black_box(&raw), CLOCK));
    });
}

fn filtering(criterion: &mut Criterion) {
    let attempt = attempt(0);
    for (name, arguments) in [
        ("filter none", &[][..]),
        ("filter -P 80", &["-P", "80"][..]),
        (
            "filter expression",
            &["--filter", "(port=80 or port=8000-8100) and comm=ng*"][..],
        ),
    ] {
        let config = config(arguments);
        criterion.bench_function(name, |bench| {
            bench.iter(|| config.filter.passes(black_box(&attempt)));
        });
    }
}

fn explaining(criterion: &mut Criterion) {
    let facts = Facts::default();
    for (name, ret) in [("explain ok", 0), ("explain failed", EADDRINUSE)] {
        let attempt = attempt(ret);
        criterion.bench_function(name, |bench| {
            bench.iter(|| explain::explain(black_box(&attempt), &facts));
        });
    }
}

fn printing(criterion: &mut Criterion) {
    let event = Event::Attempt(attempt(0));
    for format in ["text", "json", "logfmt", "csv", "wide", "ecs"] {
        let config = config(&["-o", format, "--no-header"]);
        let (mut printers, mut users) = (Printers::new(&config), Users::new());
        let mut lines = [Vec::new()];
        criterion.bench_function(&format!("print {format}"), |bench| {
            bench.iter(|| {
                lines[0].clear();
                printers.print(&mut lines, 1, black_box(&event), &mut users)
            });
        });
    }
}

criterion_group!(attempts, decoding, filtering, explaining, printing);
criterion_main!(attempts);
