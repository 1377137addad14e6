use proptest::prelude::*;

use super::*;

prop_compose! {
    fn port()(netns: u32, protocol: u16, port in 1..=u16::MAX) -> Port {
        Port { netns, protocol, port }
    }
}

prop_compose! {
    fn bind()(
        (time_ns, process_start_ns, tgid, fd) in any::<(u64, u64, u32, i32)>(),
        inode: u32,
    ) -> LastBind {
        LastBind { time_ns, process_start_ns, tgid, fd, inode }
    }
}

/// A bind that differs in little: parts of the two are hardest to tell apart.
fn similar(bind: LastBind) -> impl Strategy<Value = LastBind> {
    prop_oneof![
        Just(LastBind {
            time_ns: bind.time_ns.wrapping_add(1),
            ..bind
        }),
        Just(LastBind {
            fd: bind.fd.wrapping_add(1),
            inode: bind.inode.wrapping_add(1),
            ..bind
        }),
        Just(LastBind {
            process_start_ns: !bind.process_start_ns,
            tgid: bind.tgid.wrapping_add(1),
            ..bind
        }),
        self::bind(),
    ]
}

fn two() -> impl Strategy<Value = (LastBind, LastBind)> {
    bind().prop_flat_map(|bind| (Just(bind), similar(bind)))
}

/// A slot with words of two: each bit of `first` stands for a word of `one`.
fn torn(one: &Slot, other: &Slot, first: u8) -> Slot {
    core::array::from_fn(|word| {
        if first & 1 << word != 0 {
            one[word]
        } else {
            other[word]
        }
    })
}

proptest! {
    #[test]
    fn a_bind_comes_back_for_its_port_and_for_no_other(
        (port, other) in (port(), port()),
        bind in bind(),
        seed: u64,
    ) {
        let slot = encode(port, &bind, seed);
        prop_assert_eq!(decode(&slot, port, seed), Some(bind));
        prop_assert_eq!(decode(&slot, other, seed), (port == other).then_some(bind));
        prop_assert_eq!(decode(&Slot::default(), port, seed), None);
    }

    #[test]
    fn parts_of_two_binds_are_neither(
        (port, other) in (port(), port()),
        (first, second) in two(),
        is_same_port: bool,
        parts: u8,
        seed: u64,
    ) {
        let other = if is_same_port { port } else { other };
        let (one, two) = (encode(port, &first, seed), encode(other, &second, seed));
        let slot = torn(&one, &two, parts);
        let binds = [(port, one, first), (other, two, second)];
        for asked in [port, other] {
            let whole = binds.iter().find(|&&(port, whole, _)| port == asked && whole == slot);
            let expected = whole.map(|&(_, _, bind)| bind);
            prop_assert_eq!(decode(&slot, asked, seed), expected);
        }
    }

    #[test]
    fn a_bit_that_flips_is_noticed(
        port in port(),
        bind in bind(),
        (word, bit) in (0..size_of::<Slot>() / 8, 0..64_u32),
        seed: u64,
    ) {
        let mut slot = encode(port, &bind, seed);
        slot[word] ^= 1 << bit;
        prop_assert_eq!(decode(&slot, port, seed), None);
    }

    #[test]
    fn each_port_has_a_slot(port in port(), seed: u64) {
        prop_assert!(port.slot(seed) < LAST_BINDS_ENTRIES);
    }
}

#[test]
fn which_ports_meet_is_up_to_the_seed() {
    let port = |netns, port| Port {
        netns,
        protocol: IPPROTO_TCP,
        port,
    };
    let served = port(4_026_531_840, 0x1f90);
    let mut meet = 0;
    for other in (0..16_u16).map(|bit| port(4_026_531_840, 0x1f90 ^ 1 << bit)) {
        let seeds = (0..1024).map(|number| mix(number, other.word()));
        meet += seeds
            .filter(|&seed| served.slot(seed) == other.slot(seed))
            .count();
    }
    // By chance 2 of them, and twice that where the hash is as bad as it can be.
    assert!(meet <= 16, "{meet} of 16,384");
}

#[test]
fn what_has_no_port_has_no_slot() {
    assert_eq!(Port::of(1, SOCK_RAW, 6, 80), None);
    assert_eq!(Port::of(1, 1, IPPROTO_TCP, 0), None);
    let mptcp = Port::of(1, 1, IPPROTO_MPTCP, 80);
    assert_eq!(mptcp, Port::of(1, 1, IPPROTO_TCP, 80));
}
