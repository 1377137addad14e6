//! From a call, as the script printed it, to an attempt, by the layouts and numbers of the system
//! that it was made on.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::line::{ADDRESS, Call};
use crate::event::{
    Attempt, AttemptId, Before, Comm, Family, Op, Requested, Stages, System, Time, Via,
};

const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;

/// bsd/sys/socket.h; include/linux/socket.h
const fn af_inet6(system: System) -> u16 {
    match system {
        System::Linux => 10,
        System::MacOs(_) => 30,
    }
}

/// `None` of a function that the script does not trace.
pub fn attempt(call: &Call, system: System) -> Option<Attempt> {
    let op = match call.function.as_str() {
        "bind" => Op::Bind,
        "connect" | "connect_nocancel" | "connectx" => Op::Connect,
        _ => return None,
    };
    // A thread of macOS has a number of 64 bits, which are counted up from the start of the system.
    let tid = u32::try_from(call.tid).unwrap_or(call.pid);
    let family = call.address.map(|address| family(&address, system));
    Some(Attempt {
        id: AttemptId {
            start_ns: call.wall_ns.unsigned_abs(),
            tid,
        },
        time: Time(call.wall_ns),
        system,
        op,
        via: Some(Via::Syscall),
        tgid: call.pid,
        tid,
        ppid: Some(call.ppid),
        ancestors: None,
        process_start: None,
        comm: Comm::cut(&call.name),
        process: None,
        uid: call.uid,
        euid: None,
        gid: None,
        family,
        proto: None,
        requested: call
            .address
            .and_then(|address| requested(&address, call.length, family?)),
        address_len: None,
        effective: None,
        local: None,
        fd: Some(call.fd),
        inode: None,
        ret: ret(call),
        latency: Some(Duration::from_nanos(call.latency_ns)),
        netns: None,
        cgroup_id: None,
        cgroup: None,
        ifindex: None,
        ifname: None,
        options: None,
        port_range: None,
        privileged: None,
        repeat: false,
        interrupted: false,
        deferred: false,
        seccomp: false,
        stages: Stages::default(),
        before: Before::default(),
        reset: false,
        cause: None,
    })
}

/// macOS returns -1 and tells the error beside it, Linux returns the error. Negative errors are
/// XNU's own (`ERESTART`, `EJUSTRETURN`): how the call ended is not known then.
fn ret(call: &Call) -> Option<i32> {
    match call.errno {
        0 if call.ret >= 0 => Some(0),
        1..=4095 => Some(-call.errno),
        _ => None,
    }
}

/// macOS has the length in the first byte and the family in the second; Linux has the family in
/// both.
fn family(address: &[u8; ADDRESS], system: System) -> Family {
    let number = match system {
        System::Linux => u16::from_le_bytes([address[0], address[1]]),
        System::MacOs(_) => u16::from(address[1]),
    };
    match number {
        AF_UNSPEC => Family::Unspec,
        AF_INET => Family::Ipv4,
        number if number == af_inet6(system) => Family::Ipv6,
        number => Family::Other(number),
    }
}

/// From the third byte on both have the same layout. What lies beyond the length that was passed
/// was not part of the address.
fn requested(address: &[u8; ADDRESS], length: u32, family: Family) -> Option<Requested> {
    let (_, port, v4, v6, scope) = split(address);
    let port = u16::from_be_bytes(port);
    match family {
        Family::Ipv4 if length >= 8 => Some(Requested {
            ip: Ipv4Addr::from(v4).into(),
            port,
            scope_id: 0,
        }),
        Family::Ipv6 if length >= 24 => Some(Requested {
            ip: Ipv6Addr::from(v6).into(),
            port,
            scope_id: u32::from_le_bytes(scope),
        }),
        _ => None,
    }
}

type Parts = ([u8; 2], [u8; 2], [u8; 4], [u8; 16], [u8; 4]);

fn split(address: &[u8; ADDRESS]) -> Parts {
    let mut parts: Parts = Default::default();
    parts.0.copy_from_slice(&address[..2]);
    parts.1.copy_from_slice(&address[2..4]);
    parts.2.copy_from_slice(&address[4..8]);
    parts.3.copy_from_slice(&address[8..24]);
    parts.4.copy_from_slice(&address[24..]);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        errno::Errno,
        event::{Outcome, Version},
    };

    const MAC: System = System::MacOs(Version {
        major: 14,
        minor: 0,
    });

    fn call(hex: &[u8], length: u32, ret: i64, errno: i32) -> Call {
        let mut address = [0; ADDRESS];
        address[..hex.len()].copy_from_slice(hex);
        Call {
            function: "bind".to_owned(),
            wall_ns: 5,
            latency_ns: 7,
            pid: 10,
            ppid: 1,
            tid: 77,
            uid: 501,
            fd: 3,
            length,
            address: Some(address),
            passed: true,
            ret,
            errno,
            name: b"httpd".to_vec(),
        }
    }

    #[test]
    fn the_same_bytes_mean_something_else_on_each_system() {
        let linux = call(&[2, 0, 0, 80, 127, 0, 0, 1], 16, -98, 98);
        let there = attempt(&linux, System::Linux).unwrap();
        assert_eq!(
            there.requested.unwrap().socket_addr().to_string(),
            "127.0.0.1:80"
        );
        assert_eq!(there.errno(), Some(Errno::EADDRINUSE));
        let darwin = call(&[16, 2, 0, 80, 127, 0, 0, 1], 16, -1, 48);
        let here = attempt(&darwin, MAC).unwrap();
        assert_eq!(here.requested, there.requested);
        assert_eq!(
            (here.errno(), here.ret),
            (Some(Errno::EADDRINUSE), Some(-48))
        );
        assert_eq!(attempt(&linux, MAC).unwrap().family, Some(Family::Unspec));
    }

    #[test]
    fn ipv6_has_another_number_on_each_system() {
        let mut bytes = [0; ADDRESS];
        bytes[..4].copy_from_slice(&[28, 30, 0x1f, 0x90]);
        (bytes[8], bytes[9], bytes[23], bytes[24]) = (0xfe, 0x80, 1, 4);
        let asked = attempt(&call(&bytes, 28, 0, 0), MAC)
            .unwrap()
            .requested
            .unwrap();
        assert_eq!(
            (asked.ip.to_string(), asked.port, asked.scope_id),
            ("fe80::1".into(), 8080, 4)
        );
        (bytes[0], bytes[1]) = (10, 0);
        let linux = attempt(&call(&bytes, 28, 0, 0), System::Linux).unwrap();
        assert_eq!(linux.requested, Some(asked));
        assert_eq!(
            attempt(&call(&bytes, 20, -22, 22), System::Linux)
                .unwrap()
                .requested,
            None
        );
    }

    #[test]
    fn errors_are_darwins_and_its_own_are_not_known() {
        let outcome = |ret, errno| {
            let attempt = attempt(&call(&[16, 2], 16, ret, errno), MAC).unwrap();
            (attempt.outcome(), attempt.ret)
        };
        assert_eq!(outcome(0, 0), (Outcome::Ok, Some(0)));
        assert_eq!(outcome(-1, 13), (Outcome::Failed, Some(-13)));
        assert_eq!(outcome(-1, 36), (Outcome::Pending, Some(-36)));
        assert_eq!(outcome(-1, -1), (Outcome::Pending, None));
        assert_eq!(outcome(-1, 0), (Outcome::Pending, None));
    }

    proptest! {
        #[test]
        fn every_address_is_decoded(bytes: [u8; ADDRESS], length: u32, ret: i64, errno: i32, tid: u64) {
            for system in [System::Linux, MAC] {
                let call = Call { tid, ..call(&bytes, length, ret, errno) };
                prop_assert!(attempt(&call, system).is_some());
            }
        }
    }
}
