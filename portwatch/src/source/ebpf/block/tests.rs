use portwatch_common::{
    event::{self as wire, COMM_LEN, KIND_ATTEMPT, SOCKADDR_LEN, known, op},
    filter::{Caller, Number, Verdict},
};
use proptest::{array, collection::vec, prelude::*, sample::select};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::*;
use crate::{
    event::Attempt,
    filter::{
        Expr, SoFar,
        sample::{self, Somewhere},
    },
    source::{
        decode::{ClockOffset, decode},
        record::Record,
    },
};

/// Who made the call on record.
struct By<'a>(&'a wire::Attempt);

impl Caller for By<'_> {
    fn tgid(&self) -> u32 {
        self.0.tgid
    }

    fn user(&self) -> Number {
        if self.0.known & known::TASK == 0 {
            Number::UNKNOWN
        } else {
            Number::of(self.0.euid)
        }
    }

    fn comm(&self) -> [u32; 4] {
        words(self.0.comm)
    }

    fn is_ruled_out(&self) -> bool {
        false
    }

    fn is_out_of_tree(&self) -> bool {
        false
    }

    fn is_in_cgroup_set(&self) -> bool {
        false
    }

    fn is_in_mntns_set(&self) -> bool {
        false
    }
}

fn verdict(filter: &Filter, keeps_binds: bool, record: &wire::Attempt) -> Verdict {
    let block = compile(Kind::Fexit, filter, keeps_binds);
    if block.is_given() {
        block.judge(&By(record), record)
    } else {
        Verdict::Pass
    }
}

fn decoded(record: &wire::Attempt) -> Attempt {
    match decode(record.as_bytes(), ClockOffset(0)) {
        Ok(Record::Attempt(attempt)) => attempt,
        other => panic!("{other:?}"),
    }
}

fn filter(text: &str) -> Filter {
    let mut filter = Filter::default();
    filter.and(Expr::parse(text, &Somewhere).unwrap());
    filter
}

const ALL_KNOWN: u32 =
    known::RET | known::SOCKADDR | known::SOCKET | known::LOCAL | known::FD | known::TASK;

fn blank() -> wire::Attempt {
    let mut record = wire::Attempt::read_from_bytes(&[0; size_of::<wire::Attempt>()]).unwrap();
    record.kind = KIND_ATTEMPT;
    record
}

/// A bind by TCP to an address and port, of which all is known.
fn bind(ip: [u8; 4], port: u16) -> wire::Attempt {
    let mut record = blank();
    record.op = op::BIND;
    record.known = ALL_KNOWN;
    record.family = 2;
    record.protocol = 6;
    record.sock_type = 1;
    record.netns = 1;
    record.local_port = port;
    record.sockaddr_len = 16;
    record.sockaddr[..2].copy_from_slice(&2_u16.to_ne_bytes());
    record.sockaddr[2..4].copy_from_slice(&port.to_be_bytes());
    record.sockaddr[4..8].copy_from_slice(&ip);
    record
}

#[test]
fn each_field_is_decided() {
    let mut record = bind([10, 0, 0, 1], 80);
    record.ret = -13;
    record.tgid = 7;
    record.euid = 1000;
    record.comm[..5].copy_from_slice(b"nginx");
    for (pass, drop) in [
        ("pid=7", "pid=8"),
        ("user=1000", "user=0"),
        ("comm=nginx", "comm=nginx2"),
        ("comm=ng*", "comm=ngi"),
        ("port=80", "port=81"),
        ("lport=80", "lport=81"),
        ("dport!=80", "dport=80"),
        ("addr=10.0.0.0/8", "addr=127.0.0.0/8"),
        ("addr!=::/0", "addr=::/0"),
        ("family=ipv4", "family=ipv6"),
        ("proto=tcp", "proto=udp"),
        ("op=bind", "op=connect"),
        ("outcome=failed", "outcome=ok"),
        ("errno=EACCES", "errno=EPERM"),
        ("netns=1", "netns=2"),
        ("role=server", "role=client"),
        ("not port=81", "not port=80"),
        ("not port!=80", "not port!=81"),
    ] {
        let verdicts = [pass, drop].map(|text| verdict(&filter(text), false, &record));
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Drop], "{pass}, {drop}");
    }
}

#[test]
fn what_has_no_place_is_left_to_userspace() {
    let record = bind([10, 0, 0, 1], 80);
    for text in [
        "port=1,2,3,4,5,6,7,8,9",
        "comm=a*b",
        "comm=a?",
        "port=1 or port=2",
        "ppid-tree=7",
        "not port=1,!2",
    ] {
        assert_eq!(
            verdict(&filter(text), false, &record),
            Verdict::Pass,
            "{text}"
        );
    }
    // Of the unwanted as many as fit.
    let many = filter("port!=80,1,2,3,4,5,6,7,8");
    assert_eq!(verdict(&many, false, &record), Verdict::Drop);
    // Of two tests of one field what still fits.
    let both = filter("port=80-90 and port=1 and port!=80");
    assert_eq!(verdict(&both, false, &record), Verdict::Drop);
}

#[test]
fn an_empty_filter_gives_nothing_to_decide() {
    assert_eq!(compile(Kind::Fexit, &Filter::default(), false), Block::NONE);
    assert!(!compile(Kind::Fexit, &filter("port=1 or port=2"), true).is_given());
}

#[test]
fn tracepoints_have_all_attempts_of_a_process_or_none() {
    let both = |text| compile(Kind::Tracepoint, &filter(text), false);
    assert_eq!(both("port=80 and outcome=ok and comm=a"), Block::NONE);
    assert_eq!(both("pid=1 and port=80"), both("pid=1"));
    assert!(both("pid=1").is_given());
}

#[test]
fn a_bind_that_succeeds_is_remembered_where_its_port_could_matter() {
    let holder = bind([0, 0, 0, 0], 80);
    for (text, expected) in [
        ("outcome=failed", Verdict::Remember),
        (
            "pid=9 and user=9 and comm=x and op=connect",
            Verdict::Remember,
        ),
        (
            "addr=10.0.0.1 and family=ipv6 and proto=udp",
            Verdict::Remember,
        ),
        ("lport=81", Verdict::Remember),
        ("port=80 and outcome=failed", Verdict::Remember),
        ("dport=80", Verdict::Remember),
        ("user=9 and dport=!80", Verdict::Remember),
        ("port=81", Verdict::Drop),
        ("dport=81", Verdict::Drop),
        ("netns=2", Verdict::Drop),
        ("port=80", Verdict::Pass),
    ] {
        assert_eq!(verdict(&filter(text), true, &holder), expected, "{text}");
    }
    let mut failed = holder;
    failed.ret = -98;
    assert_eq!(verdict(&filter("outcome=ok"), true, &failed), Verdict::Drop);
}

/// An address as callers pass them, whole or cut short.
fn sockaddr() -> impl Strategy<Value = ([u8; SOCKADDR_LEN], i32)> {
    let family = select(vec![0_u16, 1, 2, 2, 2, 10, 10, 10]);
    let ip = select(vec![
        "127.0.0.1",
        "10.0.0.1",
        "::1",
        "::ffff:10.0.0.1",
        "::",
    ]);
    let len = prop_oneof![Just(16), Just(28), -1..30_i32];
    (family, 0_u16..9, ip, len).prop_map(|(family, port, ip, len)| {
        let mut bytes = [0; SOCKADDR_LEN];
        bytes[..2].copy_from_slice(&family.to_ne_bytes());
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        match ip.parse().unwrap() {
            std::net::IpAddr::V4(ip) => bytes[4..8].copy_from_slice(&ip.octets()),
            std::net::IpAddr::V6(ip) => bytes[8..24].copy_from_slice(&ip.octets()),
        }
        (bytes, len)
    })
}

fn comm() -> impl Strategy<Value = [u8; COMM_LEN]> {
    let byte = select(vec![0_u8, b'a', b'b', b'*', 0xFF]);
    prop_oneof![array::uniform16(byte), any::<[u8; COMM_LEN]>()]
}

fn records() -> impl Strategy<Value = wire::Attempt> {
    let task = (1_u32..9, 0_u32..5, 0_u32..5, comm());
    let ret = prop_oneof![
        Just(0),
        Just(-13),
        Just(-115),
        Just(-4),
        -517..-511,
        -4200..10_i32
    ];
    let call = (1_u8..4, ret, sockaddr());
    let protocol = prop_oneof![Just(6_u16), any::<u16>()];
    let socket = (1_u16..5, protocol, 1_u32..5, 0_u16..9);
    (any::<u16>(), task, call, socket).prop_map(
        |(bits, (tgid, uid, euid, comm), (op, ret, (sockaddr, len)), socket)| {
            let mut record = blank();
            record.known = u32::from(bits);
            (record.tgid, record.uid, record.euid, record.comm) = (tgid, uid, euid, comm);
            (record.op, record.ret) = (op, ret);
            (record.sockaddr, record.sockaddr_len) = (sockaddr, len);
            (
                record.sock_type,
                record.protocol,
                record.netns,
                record.local_port,
            ) = socket;
            record
        },
    )
}

/// What may have been looked up of what a record does not tell.
fn look_ups() -> impl Strategy<Value = Attempt> {
    sample::attempts()
}

fn look_up(attempt: &mut Attempt, found: Attempt) {
    if attempt.proto.is_none() {
        (attempt.proto, attempt.local, attempt.netns) = (found.proto, found.local, found.netns);
    }
    attempt.euid = attempt.euid.or(found.euid);
    (attempt.cgroup, attempt.ancestors) = (found.cgroup, found.ancestors);
}

/// Some tests that must all hold, and what else an expression may be.
fn filters() -> impl Strategy<Value = Filter> {
    let negated = sample::test().prop_map(|test| Expr::Not(Box::new(Expr::Is(test))));
    let term = prop_oneof![
        4 => sample::test().prop_map(Expr::Is),
        2 => negated,
        1 => sample::expr()
    ];
    vec(term, 1..4).prop_map(|terms| {
        let mut filter = Filter::default();
        for term in terms {
            filter.and(term);
        }
        filter
    })
}

/// How far an attempt on record has come.
fn so_far(attempt: &Attempt) -> SoFar {
    if attempt.is_open() {
        SoFar::Open
    } else {
        SoFar::Returned
    }
}

/// Tests of which the programs can decide everything.
fn decidable() -> impl Strategy<Value = Test> {
    let undecided = |field: &Field| {
        matches!(
            field,
            Field::PpidTree | Field::Cgroup | Field::Container | Field::Unit | Field::Comm
        )
    };
    let fields: Vec<_> = Field::ALL.into_iter().filter(|it| !undecided(it)).collect();
    select(fields).prop_flat_map(sample::test_of)
}

proptest! {
    #[test]
    fn what_passes_the_filter_passes_in_the_kernel(
        filter in filters(),
        record in records(),
        found in look_ups(),
        keeps_binds in any::<bool>(),
    ) {
        let mut attempt = decoded(&record);
        look_up(&mut attempt, found);
        if filter.judge(&attempt, so_far(&attempt)) != Some(false) {
            prop_assert_eq!(verdict(&filter, keeps_binds, &record), Verdict::Pass, "{}", filter);
        }
    }

    #[test]
    fn what_is_known_is_decided_in_the_kernel(test in decidable(), mut record in records()) {
        record.known |= ALL_KNOWN;
        let mut filter = Filter::default();
        filter.and(Expr::Is(test));
        let attempt = decoded(&record);
        let so_far = if record.op == op::CONNECT && attempt.outcome() == Outcome::Pending {
            // Also of a repeated one, of which userspace knows better.
            SoFar::Open
        } else {
            SoFar::Returned
        };
        let expected = match filter.judge(&attempt, so_far) {
            Some(false) => Verdict::Drop,
            Some(true) | None => Verdict::Pass,
        };
        prop_assert_eq!(verdict(&filter, false, &record), expected, "{}", filter);
    }

    #[test]
    fn whose_port_a_shown_failure_meets_is_not_dropped(
        filter in filters(),
        record in records(),
        found in look_ups(),
        mut holder in records(),
    ) {
        let mut attempt = decoded(&record);
        look_up(&mut attempt, found);
        holder.known |= ALL_KNOWN;
        (holder.op, holder.ret, holder.sock_type) = (op::BIND, 0, 1);
        let met = (attempt.requested.map(|asked| asked.port), attempt.netns);
        if let (Some(port @ 1..), Some(netns)) = met {
            (holder.local_port, holder.netns) = (port, netns);
            let needed = filter.judge(&attempt, so_far(&attempt)) != Some(false);
            prop_assert!(!needed || verdict(&filter, true, &holder) != Verdict::Drop, "{}", filter);
        }
    }

    #[test]
    fn a_name_is_the_same_to_both(pattern in r"[ab*\\]{0,6}|[é\u{FFFD}a]{0,3}\*?", comm in comm()) {
        prop_assume!(!pattern.is_empty());
        let glob = Glob::new(&pattern);
        let shown = wire::Attempt { comm, ..blank() };
        if let Some(bits) = name(&Value::Comm(glob.clone())) {
            let has = (0..4).all(|at| (words(comm)[at] ^ bits.value[at]) & bits.mask[at] == 0);
            prop_assert_eq!(has, glob.matches(decoded(&shown).comm.as_bytes()), "{}", pattern);
        }
    }
}
