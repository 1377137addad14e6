//! What userspace sets before the programs load, and the names and sizes of the maps.

use crate::filter::Block;

/// Name of the global that holds [`Settings`].
pub const SETTINGS: &str = "SETTINGS";
/// Name of the ring buffer map.
pub const EVENTS: &str = "EVENTS";
/// Name of the hash map of calls that have begun and not yet returned, where threads cannot hold them.
pub const INFLIGHT: &str = "INFLIGHT";
/// Name of the LRU hash map of connects whose end is still to come, by `struct sock`.
pub const PENDING: &str = "PENDING";
/// Name of the hash map of how far threads' calls have come, where threads cannot hold that.
pub const MARKED: &str = "MARKED";
/// Name of the array whose one slot is not 0 from when on the filter counts.
pub const ARMED: &str = "ARMED";
/// Name of the hash map of cgroups, by id, whose attempts no filter lets pass.
pub const RULED_OUT: &str = "RULED_OUT";
/// Name of the hash map of processes, by number and start, that are in none of the wanted trees.
pub const OUT_OF_TREE: &str = "OUT_OF_TREE";
/// Name of the hash map of wanted cgroups, by id: the user's own, in its place.
pub const CGROUP_SET: &str = "CGROUP_SET";
/// Name of the hash map of wanted mount namespaces, by inode: the user's own, in its place.
pub const MNTNS_SET: &str = "MNTNS_SET";
/// Name of the per-CPU array of loss counters, indexed by [`loss`].
pub const LOSSES: &str = "LOSSES";
/// Name of the per-CPU array of runs that were skipped without a loss, indexed by [`witnessed`].
pub const WITNESSED: &str = "WITNESSED";

/// Bytes of the ring buffer at least: a power of two. 512 KiB hold 2,114 attempts.
pub const EVENTS_BYTES: u32 = 512 * 1024;
/// Calls that can be under way at once, machine-wide, where threads cannot hold them.
pub const INFLIGHT_ENTRIES: u32 = 8192;

/// Entries of the map of pending connects, beside [`LRU_NODES_OF_A_CPU`] for each CPU and one for each
/// attempt that the ring holds.
///
/// The map evicts the oldest and tells nobody. So there is room for more than userspace waits for:
/// what is evicted was forgotten there, and counted, before. 16,384 are waited for; 8,192 calls have
/// not returned and are not known there; those in the ring are not read yet.
pub const PENDING_ENTRIES: u32 = 16384 + INFLIGHT_ENTRIES;

/// Free entries that a CPU may keep from the others (`LOCAL_FREE_TARGET`, kernel/bpf/bpf_lru_list.c).
pub const LRU_NODES_OF_A_CPU: u32 = 128;

/// Cgroups, and processes, that are ruled out at once; beyond that the least used are asked for again.
pub const RULED_OUT_ENTRIES: u32 = 4096;

/// Indices of [`LOSSES`].
pub mod loss {
    /// The ring buffer had no room for a finished attempt.
    pub const RING_FULL: u32 = 0;
    /// There was no room, or no memory, for a call that began.
    pub const INFLIGHT_FULL: u32 = 1;
    /// The pending map took no entry: how this connect ends will not be told.
    pub const PENDING_FULL: u32 = 2;
    pub const COUNT: u32 = 3;
}

/// Indices of [`WITNESSED`]: the programs that were skipped.
pub mod witnessed {
    pub const INET_BIND: u32 = 0;
    pub const INET6_BIND: u32 = 1;
    pub const MPTCP_BIND: u32 = 2;
    /// The first of the two programs at where a system call begins or returns
    pub const BIND_ENTERS: u32 = 3;
    pub const BIND_EXITS: u32 = 4;
    pub const CONNECT_ENTERS: u32 = 5;
    pub const CONNECT_EXITS: u32 = 6;
    pub const COUNT: u32 = 7;
    /// Their names, by index
    pub const PROGRAMS: [&str; COUNT as usize] = [
        "fx_inet_bind",
        "fx_inet6_bind",
        "fx_mptcp_bind",
        "tp_bind_enter",
        "tp_bind_exit",
        "tp_conn_enter",
        "tp_conn_exit",
    ];
}

/// Where a kernel field lies: a byte offset from the start of its struct, or [`Settings::ABSENT`].
pub type Offset = u32;

/// Offsets of the kernel fields that the programs read, resolved from the running kernel's BTF.
///
/// The names are the kernel's (include/net/sock.h, include/net/inet_sock.h, include/linux/sched.h, include/linux/cred.h …).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `struct socket.sk`
    pub socket_sk: Offset,
    /// `struct sock.__sk_common.skc_family`, u16
    pub skc_family: Offset,
    /// `skc_num`, u16, host byte order: the local port
    pub skc_num: Offset,
    /// `skc_rcv_saddr`, the bound IPv4 address
    pub skc_rcv_saddr: Offset,
    /// `skc_v6_rcv_saddr`, the bound IPv6 address
    pub skc_v6_rcv_saddr: Offset,
    /// `skc_bound_dev_if`, i32
    pub skc_bound_dev_if: Offset,
    /// `skc_net.net`, pointer to `struct net`
    pub skc_net: Offset,
    /// `sk_protocol`, with its width in bytes (1 until 5.5, 2 since)
    pub sk_protocol: Offset,
    pub sk_protocol_size: u32,
    /// `sk_type`, u16
    pub sk_type: Offset,
    /// `struct inet_sock.inet_saddr`: the source address that the kernel chose
    pub inet_saddr: Offset,
    /// `struct inet_sock.pinet6`, pointer to `struct ipv6_pinfo`
    pub inet_pinet6: Offset,
    /// `struct ipv6_pinfo.saddr`
    pub ipv6_saddr: Offset,
    /// `struct net.ns.inum`, u32
    pub net_inum: Offset,
    /// `struct task_struct.real_parent`
    pub task_real_parent: Offset,
    /// `struct task_struct.tgid`
    pub task_tgid: Offset,
    /// `struct task_struct.pid`
    pub task_pid: Offset,
    /// `struct task_struct.group_leader` and `.start_boottime`, u64 nanoseconds (`real_start_time` until 5.4)
    pub task_group_leader: Offset,
    pub task_start_boottime: Offset,
    /// `struct task_struct.flags`, u32, and `.stack`, its lowest address
    pub task_flags: Offset,
    pub task_stack: Offset,
    /// `struct task_struct.nsproxy`, `struct nsproxy.mnt_ns`, `struct mnt_namespace.ns.inum`, u32
    pub task_nsproxy: Offset,
    pub nsproxy_mnt_ns: Offset,
    pub mnt_ns_inum: Offset,
    /// `struct task_struct.cred`
    pub task_cred: Offset,
    /// `struct cred.euid`
    pub cred_euid: Offset,
    /// In `struct task_struct.thread_info`, u32: on x86 `status`, on aarch64 the lower half of `flags`
    /// (arch/*/include/asm/thread_info.h)
    pub thread_status: Offset,
    /// The bit of it that says that the system call under way is a 32-bit one (`TS_COMPAT`, `TIF_32BIT`)
    pub thread_status_compat: u32,
    /// `struct module.name`
    pub module_name: Offset,
    /// `sk_err`, i32
    pub sk_err: Offset,
    /// `sk_uid`, u32
    pub sk_uid: Offset,
    /// `skc_state`, u8
    pub skc_state: Offset,
    /// `skc_daddr`, `skc_dport`, `skc_v6_daddr`: the far end, network byte order
    pub skc_daddr: Offset,
    pub skc_dport: Offset,
    pub skc_v6_daddr: Offset,
    /// `struct sock.sk_socket`
    pub sk_socket: Offset,
    /// `struct socket.state`, u32, and `struct socket.file`
    pub socket_state: Offset,
    pub socket_file: Offset,
    /// `struct file.f_inode`, and `struct inode.i_ino`, an unsigned long
    pub file_inode: Offset,
    pub inode_ino: Offset,
    /// `struct inode.i_mode`, u16
    pub inode_mode: Offset,
    /// `struct net.user_ns`, `struct net.ipv4.sysctl_ip_prot_sock` (i32)
    pub net_user_ns: Offset,
    pub net_prot_sock: Offset,
    /// `struct user_namespace.ns.inum`, u32, `.level`, i32, and `.owner`, u32
    pub user_ns_inum: Offset,
    pub user_ns_level: Offset,
    pub user_ns_owner: Offset,
    /// `struct cred.cap_effective`, 64 bits, and `struct cred.user_ns`
    pub cred_cap_effective: Offset,
    pub cred_user_ns: Offset,
    /// The byte with the bits of `struct sock_common`, and their masks in it
    pub sk_flags: Offset,
    pub reuse: u32,
    pub reuseport: u32,
    pub ipv6only: u32,
    /// The byte of `skc_flags` with `SOCK_BROADCAST`, and its mask
    pub skc_flags: Offset,
    pub broadcast: u32,
    /// `struct inet_sock.local_port_range`, u32: the first port, the last one in the upper half
    pub inet_local_port_range: Offset,
    /// The four bytes with the bits of `struct inet_sock`, and their masks in them
    pub inet_flags: Offset,
    pub freebind: u32,
    pub transparent: u32,
    pub bind_address_no_port: u32,
    /// In `struct io_kiocb`: `cqe.res`, i32, and `async_data`, a pointer to what has the address; absent
    /// where it may have none (with `struct io_async_connect`, until 6.8)
    pub ring_result: Offset,
    pub ring_async_data: Offset,
    /// In what lies at the start of `struct io_kiocb`: `struct io_connect.addr`, in the caller's memory, and
    /// `.addr_len`, i32, and `.in_progress`, a byte; `struct io_bind.addr_len`, i32
    pub ring_connect_addr: Offset,
    pub ring_connect_len: Offset,
    pub ring_in_progress: Offset,
    pub ring_bind_len: Offset,
}

impl Offsets {
    /// No kernel memory is read at all: for kernels without BTF, and for those that forbid it.
    pub const ABSENT: Self = Self {
        socket_sk: Settings::ABSENT,
        skc_family: Settings::ABSENT,
        skc_num: Settings::ABSENT,
        skc_rcv_saddr: Settings::ABSENT,
        skc_v6_rcv_saddr: Settings::ABSENT,
        skc_bound_dev_if: Settings::ABSENT,
        skc_net: Settings::ABSENT,
        sk_protocol: Settings::ABSENT,
        sk_protocol_size: 0,
        sk_type: Settings::ABSENT,
        inet_saddr: Settings::ABSENT,
        inet_pinet6: Settings::ABSENT,
        ipv6_saddr: Settings::ABSENT,
        net_inum: Settings::ABSENT,
        task_real_parent: Settings::ABSENT,
        task_tgid: Settings::ABSENT,
        task_pid: Settings::ABSENT,
        task_group_leader: Settings::ABSENT,
        task_start_boottime: Settings::ABSENT,
        task_flags: Settings::ABSENT,
        task_stack: Settings::ABSENT,
        task_nsproxy: Settings::ABSENT,
        nsproxy_mnt_ns: Settings::ABSENT,
        mnt_ns_inum: Settings::ABSENT,
        task_cred: Settings::ABSENT,
        cred_euid: Settings::ABSENT,
        thread_status: Settings::ABSENT,
        thread_status_compat: 0,
        module_name: Settings::ABSENT,
        sk_err: Settings::ABSENT,
        sk_uid: Settings::ABSENT,
        skc_state: Settings::ABSENT,
        skc_daddr: Settings::ABSENT,
        skc_dport: Settings::ABSENT,
        skc_v6_daddr: Settings::ABSENT,
        sk_socket: Settings::ABSENT,
        socket_state: Settings::ABSENT,
        socket_file: Settings::ABSENT,
        file_inode: Settings::ABSENT,
        inode_ino: Settings::ABSENT,
        inode_mode: Settings::ABSENT,
        net_user_ns: Settings::ABSENT,
        net_prot_sock: Settings::ABSENT,
        user_ns_inum: Settings::ABSENT,
        user_ns_level: Settings::ABSENT,
        user_ns_owner: Settings::ABSENT,
        cred_cap_effective: Settings::ABSENT,
        cred_user_ns: Settings::ABSENT,
        sk_flags: Settings::ABSENT,
        reuse: 0,
        reuseport: 0,
        ipv6only: 0,
        skc_flags: Settings::ABSENT,
        broadcast: 0,
        inet_local_port_range: Settings::ABSENT,
        inet_flags: Settings::ABSENT,
        freebind: 0,
        transparent: 0,
        bind_address_no_port: 0,
        ring_result: Settings::ABSENT,
        ring_async_data: Settings::ABSENT,
        ring_connect_addr: Settings::ABSENT,
        ring_connect_len: Settings::ABSENT,
        ring_in_progress: Settings::ABSENT,
        ring_bind_len: Settings::ABSENT,
    };
}

impl Offsets {
    /// Whether they lead from a task to its mount namespace.
    pub const fn tell_mntns(&self) -> bool {
        self.task_nsproxy != Settings::ABSENT
            && self.nsproxy_mnt_ns != Settings::ABSENT
            && self.mnt_ns_inum != Settings::ABSENT
    }
}

impl Settings {
    /// Stands for a field that the running kernel does not have.
    pub const ABSENT: Offset = u32::MAX;

    pub const NONE: Self = Self {
        offsets: Offsets::ABSENT,
        memory: 0,
        kernel: 0,
        protocol_hooks: 0,
        seccomp: 0,
        task_storage: 0,
        typed_task: 0,
        task_registers: 0,
        cgroup_addr_parameters: 0,
        seed: [0; 2],
        filter: Block::NONE,
    };
}

/// All that the programs are told. Set once, before they load: the verifier then knows the values.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub offsets: Offsets,
    /// Not 0: helpers may read kernel memory, which lockdown can forbid; plain loads may always
    pub memory: u32,
    /// Not 0: attempts of kernel threads are wanted too
    pub kernel: u32,
    /// Not 0: hooks on the protocols run, so that a call that reached none of them met no internet socket
    pub protocol_hooks: u32,
    /// Not 0: calls that seccomp denies are wanted, which end without having begun
    pub seccomp: u32,
    /// Not 0: what is kept for a thread lies with it
    pub task_storage: u32,
    /// Not 0: the kernel gives programs the current task with its type (`bpf_get_current_task_btf`, Linux 5.11)
    pub typed_task: u32,
    /// Not 0: it tells where a task's registers are (`bpf_task_pt_regs`, Linux 5.15)
    pub task_registers: u32,
    /// How many parameters `__cgroup_bpf_run_filter_sock_addr` has, after which its result lies; 0 where that is
    /// not known
    pub cgroup_addr_parameters: u32,
    /// A number that nobody else knows: where binds are remembered, and by what they are told from
    /// parts of two ([`crate::bound`])
    pub seed: [u32; 2],
    /// What of the user's filter is decided here
    pub filter: Block,
}

// SAFETY: `repr(C)`, made of u32 only: no padding, and every bit pattern is a value.
#[cfg(all(feature = "user", target_os = "linux"))]
unsafe impl aya::Pod for Settings {}
