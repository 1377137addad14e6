use super::*;
use crate::{
    event::{Local, SocketBefore, sample::attempt},
    source::ebpf::hooks,
};

/// Hooks that no call of portwatch's own can bring to leave a mark.
const UNTRIED: &[(&str, &str)] = &[
    ("fexit:security_socket_bind", REFUSALS),
    ("fexit:security_socket_connect", REFUSALS),
    ("fexit:__cgroup_bpf_run_filter_sock_addr", PROGRAMS),
    ("fentry:__cgroup_bpf_run_filter_sock_addr", PROGRAMS),
    ("fexit:__cgroup_bpf_run_filter_sk", PROGRAMS),
    ("tp_btf:module_load", "it notes the loading of modules only"),
    ("kretprobe:sctp_do_bind", SCTP),
    ("kretprobe:__sctp_connect", SCTP),
    ("kprobe:sctp_inet_connect", SCTP),
    ("kprobe:sctp_do_bind", SCTP),
    ("kprobe:__sctp_connect", SCTP),
    ("fentry:io_bind", RING),
    ("fentry:io_connect", RING),
    ("fentry:io_listen", RING),
    ("fexit:io_bind", RING),
    ("fexit:io_connect", RING),
    ("fexit:io_listen", RING),
    ("kprobe:io_bind", RING),
    ("kprobe:io_connect", RING),
    ("kprobe:io_listen", RING),
    ("kretprobe:io_bind", RING),
    ("kretprobe:io_connect", RING),
    ("kretprobe:io_listen", RING),
    ("kprobe:security_socket_bind", REFUSALS),
    ("kprobe:security_socket_connect", REFUSALS),
    ("kretprobe:security_socket_bind", REFUSALS),
    ("kretprobe:security_socket_connect", REFUSALS),
    ("kretprobe:__cgroup_bpf_run_filter_sock_addr", PROGRAMS),
    ("kretprobe:__cgroup_bpf_run_filter_sk", PROGRAMS),
    ("tracepoint:syscalls:sys_exit_bind", SECCOMP),
    ("tracepoint:syscalls:sys_exit_connect", SECCOMP),
    (
        "kprobe:tcp_v4_connect",
        "it tells the subflow of a Multipath TCP connect only",
    ),
    (
        "kprobe:tcp_v6_connect",
        "it tells the subflow of a Multipath TCP connect only",
    ),
    ("tp_btf:tcp_receive_reset", FIREWALLS),
    (
        "tracepoint:sched:sched_process_exit",
        "it tells what no return has closed",
    ),
    ("fexit:bpf_lsm_socket_bind", REFUSALS),
    ("fexit:bpf_lsm_socket_connect", REFUSALS),
    ("fexit:apparmor_socket_bind", REFUSALS),
    ("fexit:apparmor_socket_connect", REFUSALS),
    ("fexit:hook_socket_bind", REFUSALS),
    ("fexit:hook_socket_connect", REFUSALS),
    ("fexit:selinux_socket_bind", REFUSALS),
    ("fexit:selinux_socket_connect", REFUSALS),
    ("fexit:smack_socket_bind", REFUSALS),
    ("fexit:smack_socket_connect", REFUSALS),
    ("fexit:tomoyo_socket_bind", REFUSALS),
    ("fexit:tomoyo_socket_connect", REFUSALS),
    ("kretprobe:bpf_lsm_socket_bind", REFUSALS),
    ("kretprobe:bpf_lsm_socket_connect", REFUSALS),
    ("kretprobe:apparmor_socket_bind", REFUSALS),
    ("kretprobe:apparmor_socket_connect", REFUSALS),
    ("kretprobe:hook_socket_bind", REFUSALS),
    ("kretprobe:hook_socket_connect", REFUSALS),
    ("kretprobe:selinux_socket_bind", REFUSALS),
    ("kretprobe:selinux_socket_connect", REFUSALS),
    ("kretprobe:smack_socket_bind", REFUSALS),
    ("kretprobe:smack_socket_connect", REFUSALS),
    ("kretprobe:tomoyo_socket_bind", REFUSALS),
    ("kretprobe:tomoyo_socket_connect", REFUSALS),
    ("kretprobe:__ia32_sys_connect", COMPAT),
    ("kretprobe:__ia32_compat_sys_socketcall", COMPAT),
];
const REFUSALS: &str = "it notes refusals only";
const SCTP: &str = "trying it would have the module loaded";
const FIREWALLS: &str = "a firewall may refuse without a reset";
const PROGRAMS: &str = "it is called only where such a program is attached";
const SECCOMP: &str = "it notes what seccomp denies only";
const RING: &str = "only io_uring comes by it";
const COMPAT: &str = "only 32-bit programs come by it";

fn names(kind: Kind) -> Vec<String> {
    hooks::every(kind)
        .map(|hook| hook.attach.to_string())
        .collect()
}

#[test]
fn every_hook_is_tried_or_cannot_be() {
    for kind in Kind::ALL {
        let signs = of(kind, &names(kind));
        for name in names(kind) {
            let tried = signs.iter().any(|sign| sign.hook == name);
            let cannot = UNTRIED.iter().any(|(hook, _)| *hook == name);
            assert!(tried || cannot, "{}: {name}", kind.name());
        }
    }
}

#[test]
fn every_sign_is_that_of_a_hook() {
    for kind in Kind::ALL {
        let all = match kind {
            Kind::Fexit => FEXIT,
            Kind::Kprobe => KPROBE,
            Kind::Tracepoint => TRACEPOINT,
        };
        for sign in all {
            assert!(names(kind).contains(&sign.hook.to_owned()), "{}", sign.hook);
        }
    }
}

/// All that any source would say of each call, where loopback is up.
fn answered() -> Vec<Trial> {
    let trial = |call, ret: i32, proto: u16| {
        let mut record = Attempt {
            ret: Some(ret),
            proto: Some(Proto::Ip(proto)),
            local: Some(Local {
                ip: [127, 0, 0, 1].into(),
                port: Some(40_000),
            }),
            ..attempt()
        };
        record.stages.operation = Some(ret);
        record.stages.connect = Some(0);
        record.before.socket = Some(SocketBefore {
            state: 7,
            socket_state: 1,
            port: 0,
            uid: Some(0),
        });
        Trial {
            call,
            ret,
            record: Some(record),
            ended: true,
        }
    };
    vec![
        trial(BindNowhere, EBADF, 0),
        trial(ConnectNowhere, EBADF, 0),
        trial(Bind(Tcp4), 0, 6),
        trial(Bind(Tcp6), 0, 6),
        trial(Bind(Mptcp), 0, IPPROTO_MPTCP),
        trial(Connect(Tcp4), EINPROGRESS, 6),
        trial(Connect(Tcp6), EINPROGRESS, 6),
        trial(Connect(Udp4), 0, 17),
        trial(ListenRefused, EINVAL, 6),
    ]
}

fn accused(kind: Kind, trials: &[Trial]) -> Vec<&'static str> {
    let signs = of(kind, &names(kind));
    silent(&signs, trials)
        .iter()
        .map(|sign| sign.hook)
        .collect()
}

/// The hooks that are accused when something is missing of one call's record.
fn accused_without(kind: Kind, call: Call, take: impl FnOnce(&mut Attempt)) -> Vec<&'static str> {
    let mut trials = answered();
    let trial = trials.iter_mut().find(|trial| trial.call == call).unwrap();
    take(trial.record.as_mut().unwrap());
    accused(kind, &trials)
}

#[test]
fn hooks_that_answer_are_not_accused() {
    for kind in Kind::ALL {
        assert_eq!(accused(kind, &answered()), [""; 0], "{}", kind.name());
    }
}

#[test]
fn every_sign_is_missed_when_it_is_missing() {
    for kind in Kind::ALL {
        for sign in of(kind, &names(kind)) {
            let mut trials = answered();
            let trial = trials.iter_mut().find(|trial| trial.call == sign.call);
            let trial = trial.unwrap();
            // As little as the hooks that it rests on leave.
            let rest = trial.record.take().unwrap();
            trial.ended = false;
            if !(sign.due)(trial) {
                trial.record = Some(Attempt {
                    ret: None,
                    local: None,
                    ..rest
                });
                let stages = &mut trial.record.as_mut().unwrap().stages;
                stages.operation = None;
                stages.connect = stages.connect.filter(|_| sign.hook.starts_with("tp_btf"));
            }
            let name = sign.hook;
            assert!(accused(kind, &trials).contains(&name), "{name}");
        }
    }
}

#[test]
fn the_hook_that_is_missing_is_named_and_no_other() {
    let without_entry = accused_without(Kind::Fexit, Connect(Tcp4), |it| {
        it.before.socket = None;
        it.stages.operation = None;
        it.stages.connect = None;
    });
    assert_eq!(without_entry, ["fentry:inet_stream_connect"]);
    let without_tcp = accused_without(Kind::Fexit, Connect(Tcp6), |it| it.stages.connect = None);
    assert_eq!(without_tcp, ["fexit:tcp_v6_connect"]);
    let without_return = accused_without(Kind::Kprobe, BindNowhere, |it| it.ret = None);
    assert_eq!(without_return, ["kretprobe:__sys_bind"]);
    let as_subflow = accused_without(Kind::Kprobe, Bind(Mptcp), |it| {
        it.proto = Some(Proto::Ip(6));
    });
    assert_eq!(as_subflow, ["kprobe:mptcp_bind"]);
}

#[test]
fn an_end_that_is_not_told_accuses_the_state_alone() {
    let mut trials = answered();
    for trial in &mut trials {
        trial.ended = false;
    }
    assert_eq!(
        accused(Kind::Fexit, &trials),
        ["tp_btf:inet_sock_set_state"]
    );
}

/// A refusal before the protocol, by whomever, says nothing of the hooks behind it.
#[test]
fn what_the_kernel_did_not_come_by_is_not_accused() {
    for kind in Kind::ALL {
        let denied: Vec<_> = answered()
            .into_iter()
            .map(|trial| Trial {
                ret: -13,
                record: None,
                ended: false,
                ..trial
            })
            .collect();
        assert_eq!(accused(kind, &denied), [""; 0], "{}", kind.name());
        assert_eq!(accused(kind, &[]), [""; 0], "{}", kind.name());
    }
}

/// Without loopback there is no address to bind, and connects are refused for their family.
#[test]
fn without_loopback_the_hooks_are_tried_all_the_same() {
    let mut trials = answered();
    trials.retain(|trial| trial.call != ListenRefused);
    for trial in &mut trials {
        trial.ret = match trial.call {
            Bind(_) => EADDRNOTAVAIL,
            Connect(_) => EAFNOSUPPORT,
            _ => trial.ret,
        };
        trial.record = None;
    }
    let accused = accused(Kind::Fexit, &trials);
    for hook in [
        "fexit:inet_bind",
        "fexit:inet6_bind",
        "fentry:inet_stream_connect",
    ] {
        assert!(accused.contains(&hook), "{hook}");
    }
}
