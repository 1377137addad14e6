//! A record for the tests of what lies above, which cannot make one.

use portwatch_common::event::{self as wire, KIND_ATTEMPT, known};
use zerocopy::{FromZeros as _, IntoBytes as _};

/// What the kernel's side writes of a bind to 127.0.0.1:8080 by this thread that succeeds.
pub(crate) fn own_bind() -> Vec<u8> {
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
        | known::THRESHOLD
        | known::INODE;
    record.tgid = std::process::id();
    record.tid = rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs();
    record.ppid = std::os::unix::process::parent_id();
    record.process_start_ns = own_start();
    let comm = std::fs::read("/proc/thread-self/comm").unwrap();
    let comm = comm.trim_ascii_end();
    record.comm[..comm.len()].copy_from_slice(comm);
    record.start_ns = crate::source::ebpf::clock_ns();
    record.cgroup_id = 1;
    record.fd = 3;
    record.inode = 4711;
    record.family = 2;
    record.sock_type = 1;
    record.protocol = 6;
    record.netns = 4_026_531_840;
    record.unprivileged_port_start = 1024;
    record.local_addr[..4].copy_from_slice(&[127, 0, 0, 1]);
    record.local_port = 8080;
    record.sockaddr_len = 16;
    record.sockaddr[..8].copy_from_slice(&[2, 0, 0x1f, 0x90, 127, 0, 0, 1]);
    record.as_bytes().to_vec()
}

/// When this process began, nanoseconds since boot, as far as /proc tells: in hundredths of a second.
fn own_start() -> u64 {
    const TICK_NS: u64 = 10_000_000;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    // Field 3 is the first after the name, field 22 is `starttime`.
    let ticks: u64 = after_name
        .split_ascii_whitespace()
        .nth(22 - 3)
        .unwrap()
        .parse()
        .unwrap();
    ticks * TICK_NS
}
