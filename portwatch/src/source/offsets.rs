//! Which kernel fields the eBPF programs read, and where the running kernel has them.

use portwatch_common::settings::{Offset, Offsets, Settings};

use super::btf::{Btf, Field};

/// The structs whose members are looked up.
pub(super) const STRUCTS: &[&str] = &[
    "socket",
    "file",
    "inode",
    "sock",
    "inet_sock",
    "ipv6_pinfo",
    "net",
    "user_namespace",
    "task_struct",
    "nsproxy",
    "mnt_namespace",
    "cred",
    "module",
    "io_kiocb",
    "io_async_connect",
    "io_connect",
    "io_bind",
];

/// Bits of `inet_sock.inet_flags` since 6.6 (include/net/inet_sock.h, `INET_FLAGS_*`);
/// before, each was a bit field of its own.
const FREEBIND_BIT: u32 = 11;
const TRANSPARENT_BIT: u32 = 15;
const BIND_ADDRESS_NO_PORT_BIT: u32 = 18;
/// Bit of `skc_flags` (include/net/sock.h, `enum sock_flags`).
const SOCK_BROADCAST: u32 = 6;

/// What says that a system call is a 32-bit one, and the bit in it: `TS_COMPAT` of x86-64,
/// `TIF_32BIT` of aarch64 (arch/*/include/asm/thread_info.h).
const COMPAT: (&str, u32) = if cfg!(target_arch = "aarch64") {
    ("task_struct.thread_info.flags", 1 << 22)
} else if cfg!(target_arch = "x86_64") {
    ("task_struct.thread_info.status", 0x0002)
} else {
    ("", 0)
};

#[derive(Debug, thiserror::Error)]
#[error("this kernel's type information has no {0}")]
pub(super) struct Missing(&'static str);

/// Resolves every offset; the fields that only add detail may be absent.
pub(super) fn resolve(btf: &Btf<'_>) -> Result<Offsets, Missing> {
    let must = |path| byte(btf, path).ok_or(Missing(path));
    let may = |path| byte(btf, path).unwrap_or(Settings::ABSENT);
    let protocol = btf
        .field("sock.sk_protocol")
        .ok_or(Missing("sock.sk_protocol"))?;
    let sk_flags = flags(
        ["skc_reuse", "skc_reuseport", "skc_ipv6only"]
            .map(|name| btf.field(&format!("sock.__sk_common.{name}"))),
        8,
    );
    let inet_flags = flags(inet_flags(btf), 32);
    let broadcast = btf.field("sock.__sk_common.skc_flags");
    let broadcast = flags([broadcast.map(|flags| bit_of(flags, SOCK_BROADCAST))], 8);
    Ok(Offsets {
        socket_sk: must("socket.sk")?,
        skc_family: must("sock.__sk_common.skc_family")?,
        skc_num: must("sock.__sk_common.skc_num")?,
        skc_rcv_saddr: must("sock.__sk_common.skc_rcv_saddr")?,
        skc_v6_rcv_saddr: may("sock.__sk_common.skc_v6_rcv_saddr"),
        skc_bound_dev_if: must("sock.__sk_common.skc_bound_dev_if")?,
        skc_net: must("sock.__sk_common.skc_net.net")?,
        sk_protocol: protocol.byte().ok_or(Missing("sock.sk_protocol"))?,
        sk_protocol_size: protocol.bits / 8,
        sk_type: must("sock.sk_type")?,
        inet_saddr: must("inet_sock.inet_saddr")?,
        inet_pinet6: may("inet_sock.pinet6"),
        ipv6_saddr: may("ipv6_pinfo.saddr"),
        net_inum: must("net.ns.inum")?,
        sk_err: may("sock.sk_err"),
        sk_uid: may("sock.sk_uid"),
        skc_state: may("sock.__sk_common.skc_state"),
        skc_daddr: may("sock.__sk_common.skc_daddr"),
        skc_dport: may("sock.__sk_common.skc_dport"),
        skc_v6_daddr: may("sock.__sk_common.skc_v6_daddr"),
        sk_socket: may("sock.sk_socket"),
        socket_state: may("socket.state"),
        socket_file: may("socket.file"),
        file_inode: may("file.f_inode"),
        inode_ino: may("inode.i_ino"),
        inode_mode: may("inode.i_mode"),
        net_user_ns: may("net.user_ns"),
        net_prot_sock: may("net.ipv4.sysctl_ip_prot_sock"),
        user_ns_inum: may("user_namespace.ns.inum"),
        user_ns_level: may("user_namespace.level"),
        user_ns_owner: may("user_namespace.owner"),
        sk_flags: sk_flags.byte,
        reuse: sk_flags.masks[0],
        reuseport: sk_flags.masks[1],
        ipv6only: sk_flags.masks[2],
        skc_flags: broadcast.byte,
        broadcast: broadcast.masks[0],
        inet_local_port_range: local_port_range(btf),
        inet_flags: inet_flags.byte,
        freebind: inet_flags.masks[0],
        transparent: inet_flags.masks[1],
        bind_address_no_port: inet_flags.masks[2],
        module_name: may("module.name"),
        ..of_requests(btf, &of_tasks(btf))
    })
}

/// Those of what io_uring is asked for, beside others.
fn of_requests(btf: &Btf<'_>, others: &Offsets) -> Offsets {
    let may = |path| byte(btf, path).unwrap_or(Settings::ABSENT);
    Offsets {
        ring_result: may("io_kiocb.cqe.res"),
        ring_async_data: match byte(btf, "io_async_connect.address") {
            Some(_) => Settings::ABSENT,
            None => may("io_kiocb.async_data"),
        },
        ring_connect_addr: may("io_connect.addr"),
        ring_connect_len: may("io_connect.addr_len"),
        ring_in_progress: may("io_connect.in_progress"),
        ring_bind_len: may("io_bind.addr_len"),
        ..*others
    }
}

/// Those of a task and its credentials, without which an attempt has less to say of its caller.
pub(super) fn of_tasks(btf: &Btf<'_>) -> Offsets {
    let may = |path| byte(btf, path).unwrap_or(Settings::ABSENT);
    Offsets {
        task_real_parent: may("task_struct.real_parent"),
        task_tgid: may("task_struct.tgid"),
        task_pid: may("task_struct.pid"),
        task_group_leader: may("task_struct.group_leader"),
        task_start_boottime: byte(btf, "task_struct.start_boottime")
            .unwrap_or_else(|| may("task_struct.real_start_time")),
        task_flags: may("task_struct.flags"),
        task_stack: may("task_struct.stack"),
        task_nsproxy: may("task_struct.nsproxy"),
        nsproxy_mnt_ns: may("nsproxy.mnt_ns"),
        mnt_ns_inum: may("mnt_namespace.ns.inum"),
        task_cred: may("task_struct.cred"),
        cred_euid: may("cred.euid"),
        thread_status: may(COMPAT.0),
        thread_status_compat: COMPAT.1,
        cred_cap_effective: may("cred.cap_effective"),
        cred_user_ns: may("cred.user_ns"),
        ..Offsets::ABSENT
    }
}

fn byte(btf: &Btf<'_>, path: &str) -> Option<Offset> {
    btf.field(path).and_then(Field::byte)
}

/// Bits that are read with one load, of 8 or 32 bits.
#[derive(Debug, PartialEq, Eq)]
struct Flags<const COUNT: usize> {
    byte: Offset,
    /// 0 for a bit that the kernel does not have, or that lies too far from the others
    masks: [u32; COUNT],
}

/// Where the load begins, and the mask of each field in it.
fn flags<const COUNT: usize>(fields: [Option<Field>; COUNT], width: u32) -> Flags<COUNT> {
    let Some(first) = fields
        .iter()
        .flatten()
        .map(|field| field.bit_offset / 8)
        .min()
    else {
        return Flags {
            byte: Settings::ABSENT,
            masks: [0; COUNT],
        };
    };
    let mask = |field: Option<Field>| match field {
        Some(Field { bit_offset, bits })
            if (1..=8).contains(&bits) && bit_offset - first * 8 + bits <= width =>
        {
            ((1 << bits) - 1) << memory_bit(bit_offset - first * 8, width)
        }
        _ => 0,
    };
    Flags {
        byte: first,
        masks: fields.map(mask),
    }
}

/// Since 6.3 a struct of two numbers, since 6.10 one number that has both in the same places
/// (include/net/inet_sock.h; both processors that portwatch knows have the low half first).
fn local_port_range(btf: &Btf<'_>) -> Offset {
    let first = byte(btf, "inet_sock.local_port_range.lo");
    let both = || byte(btf, "inet_sock.local_port_range");
    first.or_else(both).unwrap_or(Settings::ABSENT)
}

/// The bits of `inet_flags` where the kernel has that, else the bit fields of old.
fn inet_flags(btf: &Btf<'_>) -> [Option<Field>; 3] {
    match btf.field("inet_sock.inet_flags") {
        Some(flags) => [FREEBIND_BIT, TRANSPARENT_BIT, BIND_ADDRESS_NO_PORT_BIT]
            .map(|bit| Some(bit_of(flags, bit))),
        None => ["freebind", "transparent", "bind_address_no_port"]
            .map(|name| btf.field(&format!("inet_sock.{name}"))),
    }
}

/// One bit of an integer field.
const fn bit_of(flags: Field, bit: u32) -> Field {
    Field {
        bit_offset: flags.bit_offset + memory_bit(bit, flags.bits),
        bits: 1,
    }
}

/// Where bit `bit` of an integer of `width` bits lies in memory, and the other way round.
const fn memory_bit(bit: u32, width: u32) -> u32 {
    if cfg!(target_endian = "little") {
        bit
    } else {
        (width / 8 - 1 - bit / 8) * 8 + bit % 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_every_field() {
        let Ok(data) = std::fs::read(super::super::btf::VMLINUX) else {
            eprintln!("this kernel shows no BTF");
            return;
        };
        let mut offsets = resolve(&Btf::parse(&data, STRUCTS, &[]).unwrap()).unwrap();
        // Not before Linux 6.3.
        if offsets.inet_local_port_range == Settings::ABSENT {
            offsets.inet_local_port_range = 0;
        }
        let offsets = format!("{offsets:?}");
        assert!(
            !offsets.contains(&Settings::ABSENT.to_string()),
            "{offsets}"
        );
        assert!(!offsets.contains(": 0, reuse"), "{offsets}");
    }

    #[test]
    fn bit_fields_become_one_load_and_masks() {
        let field = |bit_offset, bits| Some(Field { bit_offset, bits });
        assert_eq!(
            flags([field(152, 4), field(156, 1), field(157, 1)], 8),
            Flags {
                byte: 19,
                masks: [0x0f, 0x10, 0x20]
            }
        );
        assert_eq!(
            flags([field(6482, 1), field(6485, 1), field(6488, 1)], 32),
            Flags {
                byte: 810,
                masks: [1 << 2, 1 << 5, 1 << 8]
            }
        );
        assert_eq!(
            flags([None, field(8, 1), field(80, 1)], 32),
            Flags {
                byte: 1,
                masks: [0, 1, 0]
            },
            "one is missing, one is too far"
        );
        assert_eq!(
            flags([None; 3], 8),
            Flags {
                byte: Settings::ABSENT,
                masks: [0; 3]
            }
        );
    }
}
