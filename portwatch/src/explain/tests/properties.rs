//! What holds of any attempt and any facts.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    super::{
        absence::Absence,
        predict::{Caller, Network, Reach, Situation, Subject, predict},
    },
    *,
};
use crate::event::{AttemptId, End, Ended, Lsm, Time, Via};

fn ips() -> impl Strategy<Value = std::net::IpAddr> {
    let special = [
        "0.0.0.0",
        "127.0.0.1",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "2001:db8::1",
    ];
    prop_oneof![
        select(special.to_vec()).prop_map(|ip| ip.parse().unwrap()),
        any::<std::net::IpAddr>(),
    ]
}

/// Numbers that decide something, and others.
fn returns() -> impl Strategy<Value = Option<i32>> {
    option::weighted(0.9, prop_oneof![-140_i32..=1, any::<i32>()])
}

fn ports() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(80), Just(8080), any::<u16>()]
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![Just("nginx.service".to_owned()), any::<String>()]
}

prop_compose! {
    fn socket_options()(bits in any::<[bool; 8]>()) -> Options {
        let [reuseaddr, reuseport, freebind, transparent, bind_address_no_port, v6only, nonblock, broadcast] = bits;
        Options { reuseaddr, reuseport, freebind, transparent, bind_address_no_port, v6only, nonblock, broadcast }
    }
}

prop_compose! {
    fn stations()(
        rets in vec(option::of(-140_i32..=0), 5),
        lsm_name in option::of(select(vec![Lsm::Apparmor, Lsm::Bpf, Lsm::Landlock, Lsm::Selinux, Lsm::Smack, Lsm::Tomoyo])),
        syn_sent in any::<bool>(),
    ) -> Stages {
        Stages { lsm: rets[0], lsm_name, cgroup: rets[1], operation: rets[2], get_port: rets[3], connect: rets[4], syn_sent }
    }
}

prop_compose! {
    fn states()(
        socket in option::of((0_u8..14, 0_u8..5, ports(), option::of(any::<u32>()))),
        net_user_ns in option::of(select(vec![INITIAL, 5])),
        level in option::of(0_u32..3),
        threshold in option::of(0_u32..2000),
        creds in option::of((any::<u64>(), select(vec![INITIAL, 5, 6]))),
    ) -> Before {
        Before {
            socket: socket.map(|(state, socket_state, port, uid)| SocketBefore { state, socket_state, port, uid }),
            net_user_ns,
            net_user_ns_level: level,
            net_user_ns_owner: None,
            unprivileged_port_start: threshold,
            credentials: creds.map(|(cap, ns)| credentials(cap, ns)),
        }
    }
}

fn processes() -> impl Strategy<Value = (Option<Arc<Process>>, Option<Arc<Cgroup>>)> {
    let process = option::of(names()).prop_map(|exe| {
        Arc::new(Process {
            exe: exe.map(|exe| PathBuf::from(format!("/{exe}"))),
            cmdline: None,
        })
    });
    let runtime = option::of(select(vec![
        Runtime::Docker,
        Runtime::CriO,
        Runtime::Lxc,
        Runtime::SystemdNspawn,
    ]));
    let cgroup = (names(), option::of(names()), option::of((runtime, names()))).prop_map(
        |(path, unit, container)| {
            Arc::new(Cgroup {
                path,
                unit,
                container: container.map(|(runtime, id)| Container { runtime, id }),
            })
        },
    );
    (option::of(process), option::of(cgroup))
}

prop_compose! {
    fn attempts()(
        (op, via, proto) in (
            select(vec![Op::Bind, Op::Connect, Op::Listen]),
            option::of(select(vec![Via::Syscall, Via::FastOpen, Via::IoUring, Via::Kernel])),
            option::of(select(vec![TCP, UDP, PING, Proto::Raw, Proto::Ip(132), Proto::Ip(262)])),
        ),
        comm in any::<[u8; 16]>(),
        (process, cgroup) in processes(),
        euid in option::of(select(vec![0_u32, 1000])),
        family in option::of(select(vec![Family::Ipv4, Family::Ipv6, Family::Unspec, Family::Other(1)])),
        requested in option::of((ips(), ports(), 0_u32..3)),
        (local, address_len) in (option::of((ips(), option::of(ports()))), option::of(-1_i32..130)),
        (ret, options, ifindex, privileged) in (returns(), option::of(socket_options()), option::of(1_u32..4), option::of(any::<bool>())),
        (stages, before) in (stations(), states()).boxed(),
        (repeat, seccomp, reset) in any::<(bool, bool, bool)>(),
        (first_port, last_port) in any::<(u16, u16)>(),
        system in select(vec![System::Linux, System::Linux, System::MacOs(Version { major: 10, minor: 13 }), System::MacOs(Version { major: 15, minor: 1 })]),
    ) -> Attempt {
        Attempt {
            address_len, system, op, via, proto, process, cgroup, euid, family, ret, options, ifindex, privileged, repeat, seccomp, reset,
            comm: Comm::new(comm),
            requested: requested.map(|(ip, port, scope_id)| Requested { ip, port, scope_id }),
            port_range: PortRange::new(first_port, last_port),
            local: local.map(|(ip, port)| Local { ip, port }),
            stages: if seccomp { Stages::default() } else { stages },
            before,
            ..sample::attempt()
        }
    }
}

prop_compose! {
    fn holders()(
        ip in ips(),
        port in ports(),
        state in 1_u8..13,
        comm in option::of(any::<[u8; 16]>()),
        missing in missing(),
        unit in option::of(names()),
        kernel in any::<bool>(),
        flags in vec(option::of(any::<bool>()), 3),
        (peer, inode) in (option::of((ips(), ports())), option::of(1_u64..9)),
        (ifindex, queue) in (option::of(1_u32..4), option::of((0_u32..4, 0_u32..4))),
    ) -> Holder {
        Holder {
            process: comm.map_or(missing, |comm| Lookup::Found(HoldingProcess {
                tgid: 1 + u32::from(port),
                fd: None,
                comm: Comm::new(comm),
                exe: None,
                cgroup: unit.map(|unit| Arc::new(Cgroup { path: "/".to_owned(), unit: Some(unit), container: None })),
            })),
            uid: None,
            state: SocketState::from_kernel(state).unwrap(),
            ip, port, peer, kernel, inode,
            since: None,
            bound_by: None,
            reuseaddr: flags[0],
            reuseport: flags[1],
            v6only: flags[2],
            ifindex,
            queue: queue.map(|(waiting, backlog)| AcceptQueue { waiting, backlog }),
        }
    }
}

/// Whatever was not found was not there, or not seen.
fn missing<T: Clone + std::fmt::Debug>() -> impl Strategy<Value = Lookup<T>> {
    let unseen = select(Unseen::ALL.to_vec()).prop_map(Lookup::NotSeen);
    prop_oneof![Just(Lookup::NotThere), unseen]
}

fn interfaces() -> impl Strategy<Value = Option<IfName>> {
    vec(1_u8.., 1..15).prop_map(|name| IfName::new(&name))
}

prop_compose! {
    fn addresses()(
        missing in missing(),
        assigned in option::of((1_u32..4, interfaces(), any::<[bool; 2]>(), interfaces())),
        elsewhere in vec((option::of(1_u32..9), option::of(names())), 0..2),
        (nonlocal_bind, local_table) in any::<(Option<bool>, Option<bool>)>(),
        off in vec(interfaces(), 0..2),
    ) -> Address {
        Address {
            assigned: assigned.map_or(missing, |(ifindex, ifname, [tentative, dad_failed], vrf)| Lookup::Found(Assigned { ifindex, ifname, tentative, dad_failed, vrf })),
            elsewhere: elsewhere.into_iter().map(|(tgid, name)| Elsewhere { netns: 5, tgid, name }).collect(),
            nonlocal_bind,
            local_table,
            ipv6_disabled_on: off.into_iter().flatten().collect(),
        }
    }
}

prop_compose! {
    fn facts()(
        namespace in option::of(prop_oneof![Just(Namespace::Own), names().prop_map(Namespace::Named), Just(Namespace::Other)]),
        lsms in vec(names(), 0..3),
        (found, unseen) in (vec(holders(), 0..3), option::of(select(Unseen::ALL.to_vec()))),
        address in addresses(),
        missing in missing(),
        route in option::of((0_usize..8, interfaces(), option::of(ips()), option::of(ips()))),
        (threshold, neighbour, creds) in (option::of(0_u32..2000), select(vec![Lookup::Found(Neighbour::Failed), Lookup::Found(Neighbour::Known), Lookup::NotThere, Lookup::NotSeen(Unseen::Time)]), option::of(any::<u64>())),
    ) -> Facts {
        use RouteKind as Kind;
        let kinds = [Kind::Unicast, Kind::Local, Kind::Broadcast, Kind::Multicast, Kind::Blackhole, Kind::Unreachable, Kind::Prohibit, Kind::None];
        Facts {
            namespace, lsms, address, neighbour,
            holders: Holders { found, unseen },
            unprivileged_port_start: threshold,
            credentials: creds.map(|cap| credentials(cap, INITIAL)),
            route: route.map_or(missing, |(kind, interface, gateway, source)| Lookup::Found(Route { kind: kinds[kind], interface, gateway, source })),
            ..Facts::default()
        }
    }
}

/// Whatever is written is one line of printable text.
fn check(cause: &Cause) -> Result<(), TestCaseError> {
    let Cause {
        code,
        text,
        fixes,
        confidence,
        evidence,
        next,
        holders: _,
        holders_unseen: _,
        candidates,
    } = cause;
    prop_assert_eq!(*confidence == Confidence::Likely, candidates.len() > 1);
    prop_assert!(
        candidates
            .first()
            .is_none_or(|likeliest| likeliest.code == *code)
    );
    let fixes = fixes.iter().flat_map(|fix| {
        [Some(&fix.what), fix.command.as_ref(), fix.opens.as_ref()]
            .into_iter()
            .flatten()
    });
    for text in [text].into_iter().chain(evidence).chain(next).chain(fixes) {
        prop_assert!(
            !text.is_empty() && !text.chars().any(char::is_control),
            "{text:?}"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_failure_has_a_cause_and_every_text_is_harmless(attempt in attempts(), facts in facts()) {
        let cause = explain(&attempt, &facts);
        prop_assert!(cause.is_some() || attempt.outcome() != Outcome::Failed);
        prop_assert!(cause.is_none() || attempt.ret.is_some());
        if let Some(cause) = cause {
            check(&cause)?;
        }
    }

    #[test]
    fn every_failed_outcome_has_a_cause(attempt in attempts(), facts in facts(), error in -4095..0_i32, reset: bool) {
        let ended = Ended { id: AttemptId::default(), time: Time(0), latency: Duration::from_secs(1), end: End::Failed(error), reset };
        let outcome = OutcomeOf { seq: 1, attempt, ended, lasted: false, cause: None };
        let cause = explain_outcome(&outcome, &facts);
        prop_assert!(cause.is_some());
        check(&cause.unwrap())?;
    }

    #[test]
    fn an_ordinary_success_has_no_cause(attempt in attempts(), facts in facts(), port in 1024_u16..) {
        let ordinary = with(attempt, |attempt| {
            attempt.ret = Some(0);
            attempt.options = Some(Options::default());
            attempt.requested = attempt.requested.map(|asked| Requested { port, ..asked });
        });
        let facts = Facts { address: Address::default(), ..facts };
        prop_assert_eq!(explain(&ordinary, &facts), None);
    }

    /// Without a verdict of its own, and without anything looked up, no cause claims to be more
    /// than what the error number proves.
    #[test]
    fn what_was_not_seen_is_not_claimed(attempt in attempts()) {
        let blind = unseen(with(attempt, |attempt| attempt.seccomp = false));
        if let Some(cause) = explain(&blind, &Facts::default()) {
            let verdicts = [
                Code::SeccompDenied, Code::CgroupBpfDenied, Code::LandlockDenied, Code::ApparmorDenied,
                Code::SelinuxDenied, Code::LsmDenied, Code::LowPortNoCapability, Code::RejectedByFirewall,
                Code::IpsecBlocked, Code::RouteProhibited, Code::PacketDenied,
            ];
            let is_claimed = cause.confidence != Confidence::Likely;
            prop_assert!(!(is_claimed && verdicts.contains(&cause.code)), "{cause:?}");
        }
    }
}

/// A bind that something stands in the way of, or another attempt that failed; and facts any of which
/// may be cut off, for any reason.
fn in_doubt() -> impl Strategy<Value = (Attempt, Facts)> {
    // Boxed: the types of all that is made up do not fit on a thread's stack together.
    let attempts = prop_oneof![plain_binds().boxed(), failures().boxed()];
    let cuts = (any::<[bool; 3]>(), select(Unseen::ALL.to_vec()));
    (attempts, facts().boxed(), any::<bool>(), cuts).prop_map(
        |(attempt, mut facts, in_the_way, (cuts, why))| {
            let asked = attempt.requested.filter(|_| in_the_way);
            for holder in facts.holders.found.iter_mut().filter(|_| asked.is_some()) {
                holder.port = PORT;
                holder.ip = asked.map_or(holder.ip, |asked| asked.ip);
            }
            (attempt, cut(facts, cuts, why))
        },
    )
}

fn plain_binds() -> impl Strategy<Value = Attempt> {
    let addresses = select(vec!["0.0.0.0", "127.0.0.1", "192.0.2.1", "::", "::1"]);
    let protos = select(vec![TCP, UDP]);
    (addresses, protos, select(vec![EADDRINUSE, EADDRNOTAVAIL])).prop_map(|(ip, proto, ret)| {
        with(bind(ip, PORT, ret), |attempt| attempt.proto = Some(proto))
    })
}

fn failures() -> impl Strategy<Value = Attempt> {
    let errnos = select(vec![EADDRINUSE, EADDRNOTAVAIL, -101, -111, -113]);
    (attempts(), errnos).prop_map(|(attempt, ret)| {
        with(attempt, |attempt| {
            attempt.system = System::Linux;
            attempt.ret = Some(ret);
            attempt.requested = attempt.requested.map(|asked| Requested {
                port: PORT,
                ..asked
            });
        })
    })
}

const PORT: u16 = 8080;

fn cut(mut facts: Facts, [holders, processes, address]: [bool; 3], why: Unseen) -> Facts {
    if holders {
        facts.holders.unseen = Some(why);
    }
    if processes {
        for holder in &mut facts.holders.found {
            holder.process = Lookup::NotSeen(why);
            holder.kernel = false;
        }
    }
    if address {
        facts.address.assigned = Lookup::NotSeen(why);
    }
    facts
}

/// Whether the look-up that tells it was complete and permitted.
fn is_proven(absence: Absence, facts: &Facts) -> bool {
    match absence {
        Absence::Holder => facts.holders.unseen.is_none(),
        Absence::Process => {
            let mut holders = facts.holders.found.iter();
            holders.any(|holder| holder.kernel || holder.process.is_not_there())
        }
        Absence::Address => facts.address.assigned.is_not_there(),
    }
}

fn situations() -> impl Strategy<Value = Situation> {
    let calls = (
        select(vec![Op::Bind, Op::Connect]),
        select(vec![TCP, UDP]),
        ips(),
    );
    (in_doubt().boxed(), calls, socket_options()).prop_map(
        |((_, facts), (op, proto, ip), options)| Situation {
            system: System::Linux,
            op,
            proto,
            to: Requested {
                ip,
                port: PORT,
                scope_id: 0,
            },
            options,
            device: None,
            caller: Caller {
                comm: comm("server"),
                tgid: 0,
                process: None,
                cgroup: None,
            },
            subject: Subject {
                euid: 0,
                cap_effective: Some(ALL_CAPS),
                user_ns: Some(INITIAL),
                seccomp: Some(false),
                cgroup_programs: Some(false),
            },
            network: Network {
                netns: Some(2),
                user_ns: Some(INITIAL),
                reach: Reach::Same,
                unprivileged_port_start: Some(1024),
                ipv6: true,
            },
            facts,
        },
    )
}

proptest! {
    /// Whatever was cut off, refused or missing, what is told to be absent was proven to be.
    #[test]
    fn an_absence_that_was_not_proven_is_not_told((attempt, facts) in in_doubt(), error in -140..0_i32) {
        let ended = Ended { id: AttemptId::default(), time: Time(0), latency: Duration::from_secs(1), end: End::Failed(error), reset: false };
        let outcome = OutcomeOf { seq: 1, attempt: attempt.clone(), ended, lasted: false, cause: None };
        let causes = [explain(&attempt, &facts), explain_outcome(&outcome, &facts)];
        for cause in causes.into_iter().flatten() {
            for absence in Absence::told(&cause) {
                prop_assert!(is_proven(absence, &facts), "{absence:?} in {cause:?}");
            }
        }
    }

    /// The same of what is predicted.
    #[test]
    fn an_absence_that_was_not_proven_is_not_predicted(situation in situations()) {
        let prediction = predict(&situation);
        let by_checks = prediction.checks.iter().flat_map(|check| Absence::in_words(&check.detail));
        let by_cause = prediction.cause.iter().flat_map(|cause| Absence::told(cause));
        let facts = &situation.facts;
        for absence in by_checks.chain(by_cause) {
            // A bind to an address of IPv4 is decided by the route to it.
            let by_route = absence == Absence::Address && facts.route.is_found();
            prop_assert!(by_route || is_proven(absence, facts), "{absence:?} in {prediction:?}");
        }
    }
}

/// What is held against the list is on it: a complete look tells what it did not find.
#[test]
fn an_absence_that_was_proven_is_told() {
    let held = |process, inode| Holder {
        process,
        inode,
        ..holder("0.0.0.0", 80, SocketState::Listen)
    };
    let nothing = Facts {
        holders: Holders::all(Vec::new()),
        ..Facts::default()
    };
    let nobodys = Facts {
        holders: Holders::all(vec![held(Lookup::NotThere, Some(1))]),
        ..Facts::default()
    };
    let left = Facts {
        holders: Holders::all(vec![held(Lookup::NotThere, None)]),
        ..Facts::default()
    };
    for (facts, absence) in [
        (nothing, Absence::Holder),
        (nobodys, Absence::Process),
        (left, Absence::Process),
    ] {
        let cause = explain(&bind("0.0.0.0", 80, EADDRINUSE), &facts).unwrap();
        assert!(Absence::told(&cause).contains(&absence), "{cause:?}");
    }
}

proptest! {
    /// Be it by the same call again, or by another one.
    #[test]
    fn a_repeated_failure_has_the_cause_that_it_has_by_itself(
        (attempt, facts) in in_doubt(),
        other in attempts(),
        in_use in any::<bool>(),
        (time, start_ns, latency, inode) in any::<(i64, u64, Duration, u32)>(),
        taken in option::of(any::<i64>()),
    ) {
        let first = Attempt { ret: if in_use { Some(-98) } else { attempt.ret }, ..attempt };
        let again = Attempt {
            id: AttemptId { start_ns, ..first.id },
            time: Time(time),
            latency: Some(latency),
            inode: Some(inode),
            ..first.clone()
        };
        let facts = Arc::new(Facts { taken: taken.map(Time), ..facts });
        let mut repeats = Repeats::default();
        for attempt in [&first, &again, &other, &again] {
            let cause = repeats.explain(attempt, &facts);
            prop_assert_eq!(cause, explain(attempt, &facts).map(Arc::from));
        }
    }
}
