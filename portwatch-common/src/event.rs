//! What the ring buffer carries: [`Attempt`] records, and a [`Notice`] when something was lost.

/// First byte range of every record: says which struct follows.
pub const KIND_ATTEMPT: u32 = 1;
/// A [`Notice`] follows.
pub const KIND_NOTICE: u32 = 2;
/// An [`Outcome`] follows.
pub const KIND_OUTCOME: u32 = 3;
/// A [`Notice`] follows: a kernel module was loaded that has functions to hook.
pub const KIND_MODULE: u32 = 4;

/// Length of the kernel's `task_struct.comm`, terminating NUL included (include/linux/sched.h, `TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// Length of `struct sockaddr_in6`, the longest address portwatch decodes (include/uapi/linux/in6.h).
pub const SOCKADDR_LEN: usize = 28;

/// Set in [`Attempt::known`] for each field, or group of fields, that holds a value.
///
/// A field whose bit is clear is zero and means nothing: it could not be read, or this
/// source cannot know it.
pub mod known {
    /// [`super::Attempt::ret`]
    pub const RET: u32 = 1 << 0;
    /// [`super::Attempt::sockaddr`], as many bytes as [`super::Attempt::sockaddr_len`] allows.
    pub const SOCKADDR: u32 = 1 << 1;
    /// `family`, `protocol`, `sock_type`, `netns`, `ifindex`, `options`: a socket was reached and read.
    pub const SOCKET: u32 = 1 << 2;
    /// `local_addr`, `local_port`: the socket's own end after the call.
    pub const LOCAL: u32 = 1 << 3;
    /// [`super::Attempt::fd`]
    pub const FD: u32 = 1 << 4;
    /// `euid`, `ppid`: the task's credentials and parent were read.
    pub const TASK: u32 = 1 << 5;
    /// [`super::Attempt::flags`] of `connect`: whether the call was allowed to wait.
    pub const NONBLOCK: u32 = 1 << 6;
    /// [`super::Attempt::latency_ns`]: the call's entry and its return were both seen.
    pub const LATENCY: u32 = 1 << 7;
    /// [`super::Attempt::effective`]: the address as it was after cgroup BPF programs had run.
    pub const EFFECTIVE: u32 = 1 << 8;
    /// `unprivileged_port_start`
    pub const THRESHOLD: u32 = 1 << 9;
    /// `state_before`, `socket_state_before`, `port_before`, `socket_uid`, `first_port`, `last_port`:
    /// the socket as it was before the call.
    pub const BEFORE: u32 = 1 << 10;
    /// `cap_effective`, `user_ns`, `user_ns_level`: what the caller may do, and where.
    pub const CREDENTIALS: u32 = 1 << 11;
    /// Not a field: the socket was connecting already, so that this is no new attempt.
    pub const REPEAT: u32 = 1 << 12;
    /// Not a field: the system call's own function was never entered: seccomp denied it.
    pub const SECCOMP: u32 = 1 << 13;
    /// `net_user_ns`, `net_user_ns_level`, `net_user_ns_owner`: where the network namespace belongs.
    pub const NET_USER_NS: u32 = 1 << 14;
    /// [`super::Attempt::inode`]: a descriptor leads to the socket.
    pub const INODE: u32 = 1 << 15;
    /// Not a field: the call returned 0 before its SYN was sent, which goes with the first data
    /// (`TCP_FASTOPEN_CONNECT`).
    pub const DEFERRED: u32 = 1 << 16;
}

/// Values of [`Attempt::op`].
pub mod op {
    pub const BIND: u8 = 1;
    pub const CONNECT: u8 = 2;
    /// listen() on a socket that was not bound, which binds it
    pub const LISTEN: u8 = 3;
}

/// Values of [`Attempt::via`].
pub mod via {
    /// No hook saw how the attempt came to the kernel.
    pub const UNKNOWN: u8 = 0;
    /// A system call of a 64-bit caller.
    pub const SYSCALL: u8 = 1;
    /// A system call of a 32-bit caller.
    pub const COMPAT32: u8 = 2;
    /// An `io_uring` worker thread.
    pub const IO_URING: u8 = 3;
    /// A kernel thread, or the kernel on behalf of a process (a mount, for one).
    pub const KERNEL: u8 = 4;
    /// sendto() and the like with `MSG_FASTOPEN`, or the first write after `TCP_FASTOPEN_CONNECT`.
    pub const FASTOPEN: u8 = 5;
    /// setsockopt() of SCTP: `SCTP_SOCKOPT_BINDX_ADD`, of which each address is an attempt
    pub const BINDX: u8 = 6;
    /// Likewise, `SCTP_SOCKOPT_CONNECTX` and its kin
    pub const CONNECTX: u8 = 7;
}

/// The stations of a call, in the kernel's order: bits of [`Stages::reached`].
pub mod stage {
    /// The security modules (`security_socket_bind`, `security_socket_connect`)
    pub const LSM: u16 = 1 << 0;
    /// cgroup BPF programs, before (`__cgroup_bpf_run_filter_sock_addr`) or after the operation
    /// (`__cgroup_bpf_run_filter_sk`)
    pub const CGROUP: u16 = 1 << 1;
    /// The protocol's operation (`inet_bind`, `inet_stream_connect` …)
    pub const OPERATION: u16 = 1 << 2;
    /// The choice of a port (`inet_csk_get_port` …)
    pub const GET_PORT: u16 = 1 << 3;
    /// TCP's own connect (`tcp_v4_connect` …)
    pub const CONNECT: u16 = 1 << 4;
    /// Without a field of its own: TCP was in `SYN_SENT`, so the destination was routed
    pub const SYN_SENT: u16 = 1 << 5;
}

/// Values of [`Attempt::lsm`]: the security module that refused.
pub mod lsm {
    /// None refused, or it was not seen which
    pub const UNKNOWN: u8 = 0;
    pub const APPARMOR: u8 = 1;
    pub const BPF: u8 = 2;
    pub const LANDLOCK: u8 = 3;
    pub const SELINUX: u8 = 4;
    pub const SMACK: u8 = 5;
    pub const TOMOYO: u8 = 6;
}

/// What each station returned, as far as it was seen: 0 or a negative errno.
///
/// A station that lets pass is not always noted: a call that fails is what they are for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout,
        zerocopy::IntoBytes
    )
)]
pub struct Stages {
    /// [`stage`] bits: which of the fields below hold a value
    pub reached: u16,
    pub lsm: i16,
    pub cgroup: i16,
    pub operation: i16,
    pub get_port: i16,
    pub connect: i16,
}

/// Bits of [`Attempt::options`]: the socket's options as the call ended.
pub mod options {
    pub const REUSEADDR: u16 = 1 << 0;
    pub const REUSEPORT: u16 = 1 << 1;
    pub const V6ONLY: u16 = 1 << 2;
    pub const FREEBIND: u16 = 1 << 3;
    pub const TRANSPARENT: u16 = 1 << 4;
    pub const BIND_ADDRESS_NO_PORT: u16 = 1 << 5;
    /// `O_NONBLOCK` of this call, with [`super::known::NONBLOCK`].
    pub const NONBLOCK: u16 = 1 << 6;
    pub const BROADCAST: u16 = 1 << 7;
}

/// One call, from entry to return.
///
/// 240 bytes, of which every one is written before the record is submitted: ring memory is not zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout,
        zerocopy::IntoBytes
    )
)]
pub struct Attempt {
    /// [`KIND_ATTEMPT`]
    pub kind: u32,
    /// [`known`] bits
    pub known: u32,
    /// `CLOCK_MONOTONIC` at entry, nanoseconds (`bpf_ktime_get_ns`)
    pub start_ns: u64,
    /// From entry to return, nanoseconds
    pub latency_ns: u64,
    /// cgroup v2 id of the caller (`bpf_get_current_cgroup_id`)
    pub cgroup_id: u64,
    /// Thread group id and thread id, initial pid namespace
    pub tgid: u32,
    pub tid: u32,
    /// Thread group id of the parent
    pub ppid: u32,
    /// Real ids, initial user namespace
    pub uid: u32,
    pub gid: u32,
    /// Effective user id, initial user namespace
    pub euid: u32,
    /// The call's result: 0 or a negative errno
    pub ret: i32,
    /// The descriptor as it was passed
    pub fd: i32,
    /// The address length as it was passed
    pub sockaddr_len: i32,
    /// Inode of the socket's network namespace
    pub netns: u32,
    /// `SO_BINDTODEVICE`, 0 where there is none
    pub ifindex: u32,
    /// `sk_uid`: who made the socket, a uid of the initial user namespace
    pub socket_uid: u32,
    /// The socket's `AF_*`
    pub family: u16,
    /// The socket's `IPPROTO_*`; `IPPROTO_MPTCP` is 262
    pub protocol: u16,
    /// The socket's `SOCK_*`
    pub sock_type: u16,
    /// Host byte order
    pub local_port: u16,
    /// [`options`] bits
    pub options: u16,
    /// [`op`]
    pub op: u8,
    /// [`via`]
    pub via: u8,
    /// The address that was passed, as it lay in the caller's memory, zero filled
    pub sockaddr: [u8; SOCKADDR_LEN],
    /// Network byte order; the first 4 bytes for `AF_INET`
    pub local_addr: [u8; 16],
    /// NUL terminated
    pub comm: [u8; COMM_LEN],
    /// The address that reached the protocol
    pub effective: [u8; SOCKADDR_LEN],
    pub stages: Stages,
    /// When the thread group began, `CLOCK_BOOTTIME`, nanoseconds; 0 where that is not known
    pub process_start_ns: u64,
    /// `CapEff`
    pub cap_effective: u64,
    /// Inode of the caller's user namespace
    pub user_ns: u32,
    /// Inode of the user namespace that owns the socket's network namespace
    pub net_user_ns: u32,
    /// Who made that user namespace: a uid of the initial user namespace
    pub net_user_ns_owner: u32,
    /// `net.ipv4.ip_unprivileged_port_start` of the socket's network namespace
    pub unprivileged_port_start: u32,
    /// Inode of the socket's file, as in `socket:[4711]`
    pub inode: u32,
    /// `sk_state` (`TCP_*`, include/net/tcp_states.h)
    pub state_before: u8,
    /// `socket.state` (`SS_*`, include/uapi/linux/net.h)
    pub socket_state_before: u8,
    /// The local port, host byte order
    pub port_before: u16,
    /// How deep the caller's user namespace, and `net_user_ns`, lie below the initial one, which
    /// has 0; at most 32 (kernel/user_namespace.c)
    pub user_ns_level: u8,
    pub net_user_ns_level: u8,
    /// [`lsm`]
    pub lsm: u8,
    /// 0
    pub reserved: u8,
    /// `IP_LOCAL_PORT_RANGE`, both ends included, with [`known::BEFORE`]; 0 for an end without a limit
    pub first_port: u16,
    pub last_port: u16,
}

const _: () = assert!(size_of::<Attempt>() == 240);
const _: () = assert!(align_of::<Attempt>() == 8);

/// Something was lost for another reason than a full ring: read the counters now.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout,
        zerocopy::IntoBytes
    )
)]
pub struct Notice {
    /// [`KIND_NOTICE`] or [`KIND_MODULE`]
    pub kind: u32,
    /// Index of the counter that moved ([`crate::settings::loss`]); of a module, 0
    pub counter: u32,
}

const _: () = assert!(size_of::<Notice>() == 8);

/// How a connect that was pending ended.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout,
        zerocopy::IntoBytes
    )
)]
pub struct Outcome {
    /// [`KIND_OUTCOME`]
    pub kind: u32,
    /// The socket's error, a positive errno; 0 where it has none
    pub error: u32,
    /// Together with `tid`: which [`Attempt`]
    pub start_ns: u64,
    /// `CLOCK_MONOTONIC`, nanoseconds
    pub end_ns: u64,
    pub tid: u32,
    /// `TCP_*` that the socket went to: established or closed
    pub state: u16,
    /// Not 0: a reset (`RST`) came before
    pub reset: u16,
}

const _: () = assert!(size_of::<Outcome>() == 32);
