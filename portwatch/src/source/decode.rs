//! From the ring's bytes to events. Pure: the clock comes in as a number.

#[cfg(test)]
pub(crate) mod sample;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use portwatch_common::event::{
    self as wire, KIND_ATTEMPT, KIND_MODULE, KIND_NOTICE, KIND_OUTCOME, known, lsm, options, stage,
    via,
};
use zerocopy::FromBytes as _;

use super::record::Record;
use crate::{
    errno,
    event::{
        Attempt, AttemptId, Before, Comm, Credentials, End, Ended, Family, Local, Lsm, Op, Options,
        PortRange, Proto, Requested, SocketBefore, Stages, System, Time, Via,
    },
};

const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_RAW: u16 = 3;
/// include/net/tcp_states.h
const TCP_CLOSE: u16 = 7;

/// Nanoseconds from `CLOCK_MONOTONIC` to `CLOCK_REALTIME`.
#[derive(Clone, Copy, Debug)]
pub struct ClockOffset(pub i64);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a record of {len} bytes and kind {kind} in the ring buffer is none that this portwatch writes"
)]
pub struct DecodeError {
    len: usize,
    kind: u32,
}

/// Decodes one record, which lies where a `u64` may, as all of the ring's do.
pub fn decode(bytes: &[u8], clock: ClockOffset) -> Result<Record, DecodeError> {
    let kind = bytes
        .first_chunk()
        .map_or(0, |kind| u32::from_ne_bytes(*kind));
    let unknown = DecodeError {
        len: bytes.len(),
        kind,
    };
    match kind {
        KIND_ATTEMPT => {
            let record = wire::Attempt::ref_from_bytes(bytes).map_err(|_| unknown)?;
            // It is made where it is to be: to move it is to copy half a kilobyte.
            Ok(Record::Attempt(attempt(record, clock)))
        }
        KIND_OUTCOME => {
            let record = wire::Outcome::read_from_bytes(bytes).map_err(|_| unknown)?;
            Ok(Record::Ended(ended(&record, clock)))
        }
        KIND_NOTICE => Ok(Record::Notice),
        KIND_MODULE => Ok(Record::Module),
        _ => Err(unknown),
    }
}

fn ended(record: &wire::Outcome, clock: ClockOffset) -> Ended {
    Ended {
        id: AttemptId {
            start_ns: record.start_ns,
            tid: record.tid,
        },
        time: calendar(record.end_ns, clock),
        latency: Duration::from_nanos(record.end_ns.saturating_sub(record.start_ns)),
        end: match (i32::try_from(record.error), record.state) {
            (Ok(error @ 1..), _) => End::Failed(-error),
            (_, TCP_CLOSE) => End::Abandoned,
            _ => End::Connected,
        },
        reset: record.reset != 0,
    }
}

pub(super) fn calendar(monotonic: u64, clock: ClockOffset) -> Time {
    Time(monotonic.cast_signed().wrapping_add(clock.0))
}

fn attempt(record: &wire::Attempt, clock: ClockOffset) -> Attempt {
    let has = |bit: u32| record.known & bit != 0;
    let address = has(known::SOCKADDR).then(|| passed(record));
    let asked = address.and_then(requested);
    Attempt {
        id: AttemptId {
            start_ns: record.start_ns,
            tid: record.tid,
        },
        time: calendar(record.start_ns, clock),
        system: System::Linux,
        op: op_of(record.op),
        via: via_of(record.via),
        tgid: record.tgid,
        tid: record.tid,
        ppid: has(known::TASK).then_some(record.ppid),
        ancestors: None,
        process_start: Some(record.process_start_ns).filter(|&start| start != 0),
        comm: Comm::new(record.comm),
        process: None,
        uid: record.uid,
        euid: has(known::TASK).then_some(record.euid),
        gid: Some(record.gid),
        family: address.and_then(family),
        proto: has(known::SOCKET).then(|| proto(record)),
        requested: asked,
        address_len: address.map(|_| record.sockaddr_len),
        local: has(known::LOCAL).then(|| local(record)),
        fd: has(known::FD).then_some(record.fd),
        inode: has(known::INODE).then_some(record.inode),
        ret: has(known::RET).then(|| errno::to_caller(record.ret)),
        latency: has(known::LATENCY).then(|| Duration::from_nanos(record.latency_ns)),
        netns: has(known::SOCKET).then_some(record.netns),
        cgroup_id: Some(record.cgroup_id),
        cgroup: None,
        ifindex: (has(known::SOCKET) && record.ifindex != 0).then_some(record.ifindex),
        ifname: None,
        effective: has(known::EFFECTIVE)
            .then(|| requested(&record.effective))
            .flatten()
            .filter(|&effective| Some(effective) != asked),
        privileged: has(known::THRESHOLD)
            .then_some(record.unprivileged_port_start)
            .and_then(|start| {
                let port = asked?.port;
                (record.op == wire::op::BIND && port != 0).then_some(u32::from(port) < start)
            }),
        port_range: PortRange::new(record.first_port, record.last_port)
            .filter(|_| has(known::BEFORE)),
        repeat: has(known::REPEAT),
        interrupted: has(known::RET) && errno::is_restart(record.ret),
        deferred: has(known::DEFERRED),
        seccomp: has(known::SECCOMP),
        stages: stages(record),
        before: before(record),
        reset: false,
        cause: None,
        options: (has(known::SOCKET) || has(known::NONBLOCK)).then(|| options_of(record.options)),
    }
}

/// The bytes that the caller passed: as many as it said there are.
fn passed(record: &wire::Attempt) -> &[u8] {
    let len = usize::try_from(record.sockaddr_len).unwrap_or(wire::SOCKADDR_LEN);
    &record.sockaddr[..len.min(wire::SOCKADDR_LEN)]
}

fn family(address: &[u8]) -> Option<Family> {
    Some(match u16::from_ne_bytes(*address.first_chunk()?) {
        AF_UNSPEC => Family::Unspec,
        AF_INET => Family::Ipv4,
        AF_INET6 => Family::Ipv6,
        other => Family::Other(other),
    })
}

/// `struct sockaddr_in` (port at 2, address at 4) or `struct sockaddr_in6` (port at 2,
/// address at 8, scope id at 24), as far as it is there.
fn requested(address: &[u8]) -> Option<Requested> {
    let port = u16::from_be_bytes(*address.get(2..)?.first_chunk()?);
    match family(address)? {
        Family::Ipv4 => Some(Requested {
            ip: IpAddr::V4(Ipv4Addr::from(*address.get(4..)?.first_chunk::<4>()?)),
            port,
            scope_id: 0,
        }),
        Family::Ipv6 => Some(Requested {
            ip: IpAddr::V6(Ipv6Addr::from(*address.get(8..)?.first_chunk::<16>()?)),
            port,
            scope_id: address
                .get(24..)?
                .first_chunk()
                .map_or(0, |id| u32::from_ne_bytes(*id)),
        }),
        Family::Unspec | Family::Other(_) => None,
    }
}

fn stages(record: &wire::Attempt) -> Stages {
    let stages = &record.stages;
    let has = |bit: u16| stages.reached & bit != 0;
    let verdict = |bit: u16, ret: i16| has(bit).then_some(i32::from(ret));
    Stages {
        lsm: verdict(stage::LSM, stages.lsm),
        lsm_name: lsm_of(record.lsm),
        cgroup: verdict(stage::CGROUP, stages.cgroup),
        operation: verdict(stage::OPERATION, stages.operation),
        get_port: verdict(stage::GET_PORT, stages.get_port),
        connect: verdict(stage::CONNECT, stages.connect),
        syn_sent: has(stage::SYN_SENT),
    }
}

const fn lsm_of(value: u8) -> Option<Lsm> {
    match value {
        lsm::APPARMOR => Some(Lsm::Apparmor),
        lsm::BPF => Some(Lsm::Bpf),
        lsm::LANDLOCK => Some(Lsm::Landlock),
        lsm::SELINUX => Some(Lsm::Selinux),
        lsm::SMACK => Some(Lsm::Smack),
        lsm::TOMOYO => Some(Lsm::Tomoyo),
        _ => None,
    }
}

fn before(record: &wire::Attempt) -> Before {
    let has = |bit: u32| record.known & bit != 0;
    Before {
        socket: has(known::BEFORE).then_some(SocketBefore {
            state: record.state_before,
            socket_state: record.socket_state_before,
            port: record.port_before,
            uid: Some(record.socket_uid),
        }),
        net_user_ns: has(known::NET_USER_NS).then_some(record.net_user_ns),
        net_user_ns_level: has(known::NET_USER_NS).then(|| record.net_user_ns_level.into()),
        net_user_ns_owner: has(known::NET_USER_NS).then_some(record.net_user_ns_owner),
        unprivileged_port_start: has(known::THRESHOLD).then_some(record.unprivileged_port_start),
        credentials: has(known::CREDENTIALS).then_some(Credentials {
            cap_effective: record.cap_effective,
            user_ns: record.user_ns,
            level: Some(record.user_ns_level.into()),
        }),
    }
}

fn local(record: &wire::Attempt) -> Local {
    let ip = ip(record.family, record.local_addr);
    // Of a raw socket the kernel keeps the protocol where others have the port.
    let port = (record.sock_type != SOCK_RAW).then_some(record.local_port);
    Local { ip, port }
}

/// An address of a socket of that family.
pub(super) fn ip(family: u16, bytes: [u8; 16]) -> IpAddr {
    if family == AF_INET6 {
        return Ipv6Addr::from(bytes).into();
    }
    let [a, b, c, d, ..] = bytes;
    Ipv4Addr::new(a, b, c, d).into()
}

fn proto(record: &wire::Attempt) -> Proto {
    if record.sock_type == SOCK_RAW {
        Proto::Raw
    } else {
        Proto::Ip(record.protocol)
    }
}

const fn op_of(value: u8) -> Op {
    match value {
        wire::op::BIND => Op::Bind,
        wire::op::LISTEN => Op::Listen,
        _ => Op::Connect,
    }
}

fn via_of(value: u8) -> Option<Via> {
    match value {
        via::SYSCALL => Some(Via::Syscall),
        via::COMPAT32 => Some(Via::Compat32),
        via::IO_URING => Some(Via::IoUring),
        via::KERNEL => Some(Via::Kernel),
        via::FASTOPEN => Some(Via::FastOpen),
        via::BINDX => Some(Via::Bindx),
        via::CONNECTX => Some(Via::Connectx),
        _ => None,
    }
}

pub(super) fn options_of(bits: u16) -> Options {
    let has = |bit: u16| bits & bit != 0;
    Options {
        reuseaddr: has(options::REUSEADDR),
        reuseport: has(options::REUSEPORT),
        freebind: has(options::FREEBIND),
        transparent: has(options::TRANSPARENT),
        bind_address_no_port: has(options::BIND_ADDRESS_NO_PORT),
        v6only: has(options::V6ONLY),
        nonblock: has(options::NONBLOCK),
        broadcast: has(options::BROADCAST),
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes as _;

    use super::*;
    use crate::event::Outcome;

    fn record(address: &[u8]) -> wire::Attempt {
        let mut record = wire::Attempt::read_from_bytes(&[0; size_of::<wire::Attempt>()]).unwrap();
        record.kind = KIND_ATTEMPT;
        record.op = wire::op::BIND;
        record.known = known::SOCKADDR | known::RET;
        record.sockaddr_len = i32::try_from(address.len()).unwrap();
        let len = address.len().min(wire::SOCKADDR_LEN);
        record.sockaddr[..len].copy_from_slice(&address[..len]);
        record
    }

    fn decoded(record: &wire::Attempt) -> Attempt {
        match decode(record.as_bytes(), ClockOffset(1_000)).unwrap() {
            Record::Attempt(attempt) => attempt,
            Record::Notice | Record::Module | Record::Ended(_) => panic!("no attempt"),
        }
    }

    fn ipv4(port: u16, ip: [u8; 4]) -> Vec<u8> {
        let mut address = AF_INET.to_ne_bytes().to_vec();
        address.extend_from_slice(&port.to_be_bytes());
        address.extend_from_slice(&ip);
        address.resize(16, 0);
        address
    }

    #[test]
    fn an_ipv4_address_is_read() {
        let attempt = decoded(&record(&ipv4(80, [127, 0, 0, 1])));
        assert_eq!(
            attempt.requested.unwrap().socket_addr().to_string(),
            "127.0.0.1:80"
        );
        assert_eq!(attempt.family, Some(Family::Ipv4));
    }

    #[test]
    fn an_ipv6_address_is_read_with_its_scope() {
        let mut address = AF_INET6.to_ne_bytes().to_vec();
        address.extend_from_slice(&443u16.to_be_bytes());
        address.extend_from_slice(&[0; 4]);
        address.extend_from_slice(&"fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        address.extend_from_slice(&7u32.to_ne_bytes());
        let attempt = decoded(&record(&address));
        let Requested { ip, port, scope_id } = attempt.requested.unwrap();
        assert_eq!(
            (ip.to_string().as_str(), port, scope_id),
            ("fe80::1", 443, 7)
        );
        let without_scope = decoded(&record(&address[..24]));
        assert_eq!(without_scope.requested.unwrap().scope_id, 0);
    }

    #[test]
    fn an_address_cut_short_says_only_what_it_holds() {
        let whole = ipv4(80, [127, 0, 0, 1]);
        assert_eq!(decoded(&record(&whole[..8])).requested.unwrap().port, 80);
        let cut = decoded(&record(&whole[..7]));
        assert_eq!((cut.family, cut.requested), (Some(Family::Ipv4), None));
        assert_eq!(decoded(&record(&whole[..1])).family, None);
        assert_eq!(decoded(&record(&[])).family, None);
    }

    #[test]
    fn a_negative_length_still_shows_the_address() {
        let mut record = record(&ipv4(80, [127, 0, 0, 1]));
        record.sockaddr_len = -1;
        assert_eq!(decoded(&record).requested.unwrap().port, 80);
    }

    #[test]
    fn what_is_not_known_is_none() {
        let mut record = record(&ipv4(80, [127, 0, 0, 1]));
        record.known = 0;
        let attempt = decoded(&record);
        assert_eq!(
            (
                attempt.requested,
                attempt.family,
                attempt.proto,
                attempt.local,
                attempt.fd,
                attempt.ret
            ),
            (None, None, None, None, None, None)
        );
        assert_eq!(
            (attempt.euid, attempt.ppid, attempt.netns, attempt.latency),
            (None, None, None, None)
        );
        assert_eq!((attempt.options, attempt.via), (None, None));
    }

    #[test]
    fn a_raw_socket_has_no_port() {
        let mut record = record(&ipv4(0, [127, 0, 0, 1]));
        record.known |= known::SOCKET | known::LOCAL;
        record.family = AF_INET;
        record.sock_type = SOCK_RAW;
        record.protocol = 1;
        record.local_port = 1;
        record.local_addr[..4].copy_from_slice(&[127, 0, 0, 1]);
        let attempt = decoded(&record);
        assert_eq!(attempt.proto, Some(Proto::Raw));
        assert_eq!(
            attempt.local,
            Some(Local {
                ip: Ipv4Addr::LOCALHOST.into(),
                port: None
            })
        );
    }

    #[test]
    fn a_deferred_connect_is_pending() {
        let mut record = record(&ipv4(80, [127, 0, 0, 1]));
        record.op = wire::op::CONNECT;
        assert_eq!(decoded(&record).outcome(), Outcome::Ok);
        record.known |= known::DEFERRED;
        assert_eq!(decoded(&record).outcome(), Outcome::Pending);
    }

    #[test]
    fn the_kernels_clock_becomes_the_calendars() {
        let mut record = record(&[]);
        record.start_ns = 5;
        assert_eq!(decoded(&record).time, Time(1_005));
    }

    proptest::proptest! {
        #[test]
        fn no_record_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), kind in 0u32..5) {
            let mut bytes = bytes;
            bytes.resize(size_of::<wire::Attempt>(), 0);
            bytes[..4].copy_from_slice(&kind.to_ne_bytes());
            drop(decode(&bytes, ClockOffset(i64::MAX)));
        }
    }
}
