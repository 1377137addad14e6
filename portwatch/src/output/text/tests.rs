//! Events as they come, and helpers to print them.

mod causes;
mod ends;
mod messages;
mod stream;
mod values;
mod widths;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use jiff::tz::{TimeZone, offset};

use super::*;
use crate::event::{
    Comm, Family, Local, LossReason, Op, Place, Proto, Requested, Start, System, Time, Via,
};

const EACCES: i32 = -13;
const EADDRINUSE: i32 = -98;
const EADDRNOTAVAIL: i32 = -99;
const ECONNREFUSED: i32 = -111;
const EINPROGRESS: i32 = -115;

/// A `connect()` by curl to 127.0.0.1:8080, refused.
fn attempt() -> Attempt {
    Attempt {
        time: Time(1_783_566_245_678_901_234),
        op: Op::Connect,
        via: Some(Via::Syscall),
        tgid: 1234,
        tid: 1235,
        ppid: Some(1),
        process_start: None,
        comm: comm(b"curl"),
        uid: 1000,
        euid: Some(1000),
        gid: Some(1000),
        family: Some(Family::Ipv4),
        proto: Some(Proto::Ip(6)),
        requested: Some(requested("127.0.0.1", 8080)),
        local: None,
        fd: Some(3),
        ret: Some(ECONNREFUSED),
        latency: Some(Duration::from_micros(40)),
        netns: Some(4_026_531_840),
        cgroup_id: Some(1),
        ..crate::event::sample::attempt()
    }
}

/// A `bind()` by nginx to 0.0.0.0:80.
fn bind() -> Attempt {
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Attempt {
        op: Op::Bind,
        tgid: 77,
        comm: comm(b"nginx"),
        uid: 0,
        euid: Some(0),
        requested: Some(requested("0.0.0.0", 80)),
        local: Some(Local {
            ip: address,
            port: Some(80),
        }),
        ret: Some(0),
        ..attempt()
    }
}

/// What the kernel could not tell.
fn unknown() -> Attempt {
    Attempt {
        via: None,
        ppid: None,
        euid: None,
        family: None,
        proto: None,
        requested: None,
        fd: None,
        ret: None,
        latency: None,
        netns: None,
        ..attempt()
    }
}

fn comm(name: &[u8]) -> Comm {
    Comm::cut(name)
}

fn requested(ip: &str, port: u16) -> Requested {
    Requested {
        ip: ip.parse().unwrap(),
        port,
        scope_id: 0,
    }
}

fn local(ip: &str, port: u16) -> Local {
    Local {
        ip: ip.parse().unwrap(),
        port: Some(port),
    }
}

fn ipv6() -> Attempt {
    Attempt {
        family: Some(Family::Ipv6),
        requested: Some(requested("2a00:1450:4001:82b::200e", 443)),
        local: Some(local("2a02:8109:9440:5198::21", 40123)),
        ret: Some(0),
        ..attempt()
    }
}

/// Ordinary traffic of a machine.
fn ordinary() -> Vec<Attempt> {
    vec![
        bind(),
        Attempt {
            tgid: 4_194_304,
            ..attempt()
        },
        Attempt {
            ret: Some(0),
            local: Some(local("127.0.0.1", 54321)),
            ..attempt()
        },
        Attempt {
            ret: Some(EINPROGRESS),
            requested: Some(requested("192.168.100.20", 443)),
            ..attempt()
        },
        Attempt {
            ret: Some(EACCES),
            uid: 33,
            euid: Some(33),
            ..bind()
        },
        Attempt {
            ret: Some(EADDRINUSE),
            requested: Some(requested("192.168.100.200", 50051)),
            ..bind()
        },
        Attempt {
            ret: Some(0),
            proto: Some(Proto::Ip(17)),
            comm: comm(b"systemd-resolve"),
            uid: 991,
            euid: Some(991),
            requested: Some(requested("127.0.0.53", 0)),
            local: Some(local("127.0.0.53", 40123)),
            ..bind()
        },
    ]
}

fn users() -> Users {
    let name_of = |uid| match uid {
        0 => Some("root".into()),
        33 => Some("www-data".into()),
        991 => Some("systemd-resolve".into()),
        1000 => Some("anna".into()),
        _ => None,
    };
    Users::with_lookups(name_of, |_| None)
}

fn printer(width: Option<u16>) -> TextPrinter {
    let timezone = TimeZone::fixed(offset(2));
    TextPrinter::new(TextOptions {
        colour: false,
        width,
        header: true,
        detail: Detail::Short,
        timezone,
    })
}

fn print(printer: &mut TextPrinter, events: impl IntoIterator<Item = Event>) -> String {
    let mut out = Vec::new();
    let mut users = users();
    for (seq, event) in (1..).zip(events) {
        printer.print(&mut out, seq, &event, &mut users).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn attempts(width: Option<u16>, attempts: impl IntoIterator<Item = Attempt>) -> String {
    print(
        &mut printer(width),
        attempts.into_iter().map(Event::Attempt),
    )
}

fn start() -> Start {
    Start {
        system: System::Linux,
        time: Time(0),
        backend: "fentry".into(),
        ring_bytes: Some(4 << 20),
        hooks: vec!["bind_enter".into()],
        missing: vec![],
        degradations: vec![],
        kernel: "6.12.43".into(),
        filters: vec![],
        pid: 99,
    }
}
