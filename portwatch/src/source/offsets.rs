//! Which kernel fields the eBPF programs read, and where the running kernel has them.

use portwatch_common::settings::{BitField, Offset, Offsets, Settings};

use super::btf::{Btf, BtfError, Field};

/// The structs whose members are looked up.
const STRUCTS: &[&str] = &[
    "socket",
    "sock",
    "inet_sock",
    "ipv6_pinfo",
    "net",
    "task_struct",
    "cred",
];

/// Bits of `inet_sock.inet_flags` since 6.6 (include/net/inet_sock.h, `INET_FLAGS_*`);
/// before, each was a bit field of its own.
const FREEBIND_BIT: u32 = 11;
const TRANSPARENT_BIT: u32 = 15;
const BIND_ADDRESS_NO_PORT_BIT: u32 = 18;

/// `TS_COMPAT` (arch/x86/include/asm/thread_info.h): the system call is a 32-bit one.
const TS_COMPAT: u32 = if cfg!(target_arch = "x86_64") {
    0x0002
} else {
    0
};

#[derive(Debug, thiserror::Error)]
pub(super) enum OffsetsError {
    #[error(transparent)]
    Btf(#[from] BtfError),
    #[error("this kernel's type information has no {0}")]
    Missing(&'static str),
}

/// Resolves every offset; the fields that only add detail may be absent.
pub(super) fn resolve(data: &[u8]) -> Result<Offsets, OffsetsError> {
    let btf = Btf::parse(data, STRUCTS)?;
    let must = |path| byte(&btf, path).ok_or(OffsetsError::Missing(path));
    let may = |path| byte(&btf, path).unwrap_or(Settings::ABSENT);
    let protocol = btf
        .field("sock.sk_protocol")
        .ok_or(OffsetsError::Missing("sock.sk_protocol"))?;
    Ok(Offsets {
        socket_sk: must("socket.sk")?,
        skc_family: must("sock.__sk_common.skc_family")?,
        skc_num: must("sock.__sk_common.skc_num")?,
        skc_rcv_saddr: must("sock.__sk_common.skc_rcv_saddr")?,
        skc_v6_rcv_saddr: may("sock.__sk_common.skc_v6_rcv_saddr"),
        skc_bound_dev_if: must("sock.__sk_common.skc_bound_dev_if")?,
        skc_net: must("sock.__sk_common.skc_net.net")?,
        sk_protocol: protocol
            .byte()
            .ok_or(OffsetsError::Missing("sock.sk_protocol"))?,
        sk_protocol_size: protocol.bits / 8,
        sk_type: must("sock.sk_type")?,
        inet_saddr: must("inet_sock.inet_saddr")?,
        inet_pinet6: may("inet_sock.pinet6"),
        ipv6_saddr: may("ipv6_pinfo.saddr"),
        net_inum: must("net.ns.inum")?,
        task_real_parent: may("task_struct.real_parent"),
        task_tgid: may("task_struct.tgid"),
        task_flags: may("task_struct.flags"),
        task_cred: may("task_struct.cred"),
        cred_euid: may("cred.euid"),
        thread_status: may("task_struct.thread_info.status"),
        thread_status_compat: TS_COMPAT,
        reuse: bits(btf.field("sock.__sk_common.skc_reuse")),
        reuseport: bits(btf.field("sock.__sk_common.skc_reuseport")),
        ipv6only: bits(btf.field("sock.__sk_common.skc_ipv6only")),
        freebind: inet_flag(&btf, FREEBIND_BIT, "inet_sock.freebind"),
        transparent: inet_flag(&btf, TRANSPARENT_BIT, "inet_sock.transparent"),
        bind_address_no_port: inet_flag(
            &btf,
            BIND_ADDRESS_NO_PORT_BIT,
            "inet_sock.bind_address_no_port",
        ),
    })
}

fn byte(btf: &Btf<'_>, path: &str) -> Option<Offset> {
    btf.field(path).and_then(Field::byte)
}

/// The byte and mask of a bit field that does not cross a byte.
fn bits(field: Option<Field>) -> BitField {
    match field {
        Some(Field { bit_offset, bits })
            if (1..=8).contains(&bits) && bit_offset % 8 + bits <= 8 =>
        {
            BitField {
                byte: bit_offset / 8,
                mask: ((1 << bits) - 1) << (bit_offset % 8),
            }
        }
        _ => BitField::ABSENT,
    }
}

/// A bit of `inet_flags` where the kernel has that, else the bit field of old.
fn inet_flag(btf: &Btf<'_>, bit: u32, bit_field: &str) -> BitField {
    match btf.field("inet_sock.inet_flags") {
        Some(flags) => bits(Some(Field {
            bit_offset: flags.bit_offset + memory_bit(bit, flags.bits),
            bits: 1,
        })),
        None => bits(btf.field(bit_field)),
    }
}

/// Where bit `bit` of an integer of `width` bits lies in memory.
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
        let offsets = resolve(&data).unwrap();
        assert_ne!(offsets.task_cred, Settings::ABSENT);
        assert_ne!(offsets.freebind, BitField::ABSENT);
        assert_eq!(
            offsets.skc_num,
            offsets.skc_family - 2,
            "skc_num lies before skc_family"
        );
    }

    #[test]
    fn bit_fields_become_a_byte_and_a_mask() {
        let field = |bit_offset, bits| Some(Field { bit_offset, bits });
        assert_eq!(
            bits(field(152, 4)),
            BitField {
                byte: 19,
                mask: 0x0f
            }
        );
        assert_eq!(
            bits(field(157, 1)),
            BitField {
                byte: 19,
                mask: 0x20
            }
        );
        assert_eq!(bits(field(156, 8)), BitField::ABSENT, "it crosses a byte");
        assert_eq!(bits(None), BitField::ABSENT);
    }
}
