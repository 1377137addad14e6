//! What ends a call before its protocol is asked.

use libc::{EACCES, EAFNOSUPPORT, EBADF, EFAULT, EINVAL, ENOTSOCK, EPERM};
use portwatch::event::{
    Code,
    Confidence::{Checked, Derived, Likely, Observed},
    Op::{self, Bind, Connect},
};

use super::{Answer, Row, Since};

pub(crate) const CALLS: &[Row] = &[
    Row::new(
        "bind: a descriptor that is not open",
        Bind,
        -EBADF,
        Code::BadDescriptor,
        Derived,
    ),
    Row::new(
        "connect: a descriptor that is not open",
        Connect,
        -EBADF,
        Code::BadDescriptor,
        Derived,
    ),
    Row::new(
        "bind: a descriptor of a file",
        Bind,
        -ENOTSOCK,
        Code::NotASocket,
        Derived,
    ),
    Row::new(
        "connect: a descriptor of a file",
        Connect,
        -ENOTSOCK,
        Code::NotASocket,
        Derived,
    ),
    Row::new(
        "bind: a pointer to nothing",
        Bind,
        -EFAULT,
        Code::BadPointer,
        Derived,
    ),
    Row::new(
        "connect: a pointer to nothing",
        Connect,
        -EFAULT,
        Code::BadPointer,
        Derived,
    ),
    length("bind: an address longer than any", Bind),
    length("connect: a length below zero", Connect),
    length("bind: half an IPv4 address", Bind),
    length("connect: half an IPv4 address", Connect),
    length("bind: half an IPv6 address, UDP", Bind),
    length("connect: half an IPv6 address, UDP", Connect),
    Row::new(
        "bind: an IPv4 address for an IPv6 socket",
        Bind,
        -EINVAL,
        Code::WrongFamily,
        Derived,
    ),
    family("bind: an IPv6 address for an IPv4 socket", Bind),
    family("connect: an IPv6 address for an IPv4 socket", Connect),
];

const fn length(case: &'static str, op: Op) -> Row {
    Row::new(case, op, -EINVAL, Code::BadAddressLength, Derived)
}

const fn family(case: &'static str, op: Op) -> Row {
    Row::new(case, op, -EAFNOSUPPORT, Code::WrongFamily, Derived)
}

const LANDLOCK: Since = Since {
    major: 6,
    minor: 7,
    what: "Landlock knows the network",
};
const TRAMPOLINES: Since = Since {
    major: 6,
    minor: 4,
    what: "BPF trampolines on aarch64",
};

/// tracepoint does not see who refused.
pub(crate) const DENIALS: &[Row] = &[
    bind(
        "bind: Landlock, no port allowed",
        -EACCES,
        Code::LandlockDenied,
    )
    .since(LANDLOCK),
    connect(
        "connect: Landlock, no port allowed",
        -EACCES,
        Code::LandlockDenied,
    )
    .since(LANDLOCK),
    // It looks at the arguments before its rules.
    length("connect: Landlock, and half an IPv4 address", Connect).since(LANDLOCK),
    Row::new(
        "bind: Landlock, and an IPv6 address for an IPv4 socket",
        Bind,
        -EINVAL,
        Code::WrongFamily,
        Derived,
    )
    .since(LANDLOCK),
    eperm(
        "bind: a BPF program at the security hook",
        Bind,
        Code::BpfLsmDenied,
    )
    .since_on_aarch64(TRAMPOLINES),
    eperm(
        "connect: a BPF program at the security hook",
        Connect,
        Code::BpfLsmDenied,
    )
    .since_on_aarch64(TRAMPOLINES),
    bind(
        "bind: an AppArmor profile without network",
        -EACCES,
        Code::ApparmorDenied,
    ),
    connect(
        "connect: an AppArmor profile without network",
        -EACCES,
        Code::ApparmorDenied,
    ),
    eperm("bind: a cgroup BPF program", Bind, Code::CgroupBpfDenied),
    eperm(
        "bind: a cgroup BPF program that sees the port",
        Bind,
        Code::CgroupBpfDenied,
    ),
    eperm(
        "connect: a cgroup BPF program",
        Connect,
        Code::CgroupBpfDenied,
    ),
    seccomp("bind: a seccomp filter", Bind),
    seccomp("connect: a seccomp filter", Connect),
];

const fn bind(case: &'static str, ret: i32, code: Code) -> Row {
    Row::new(case, Bind, ret, code, Observed).otherwise(Code::Unexplained, Observed)
}

const fn connect(case: &'static str, ret: i32, code: Code) -> Row {
    Row::new(case, Connect, ret, code, Observed).otherwise(Code::LsmDenied, Checked)
}

const fn eperm(case: &'static str, op: Op, code: Code) -> Row {
    Row::new(case, op, -EPERM, code, Observed).otherwise(Code::CgroupBpfDenied, Likely)
}

const fn seccomp(case: &'static str, op: Op) -> Row {
    Row::new(case, op, -EPERM, Code::SeccompDenied, Observed).else_all(Answer::Unseen)
}
