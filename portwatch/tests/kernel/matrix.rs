//! Two sockets and one port: when the second gets it too (net/ipv4/inet_connection_sock.c,
//! `inet_bind_conflict`; net/ipv4/udp.c, `udp_lib_lport_inuse`).

use portwatch::event::Code;
use serde::{Deserialize, Serialize};

/// A pair of sockets; the second asks while the first has the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) transport: Transport,
    /// In [`ADDRESSES`]
    pub(crate) addresses: usize,
    pub(crate) first: Flags,
    pub(crate) second: Flags,
    /// Another user made the first
    pub(crate) other_user: bool,
    /// The first listens
    pub(crate) listening: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flags {
    pub(crate) reuseaddr: bool,
    pub(crate) reuseport: bool,
}

/// What the two bind; `only` stands for `IPV6_V6ONLY`.
pub(crate) struct Addresses {
    pub(crate) first: &'static str,
    pub(crate) first_only: bool,
    pub(crate) second: &'static str,
    pub(crate) second_only: bool,
    pub(crate) overlap: Overlap,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    None,
    /// One family
    Plain,
    /// An IPv6 wildcard reaches into IPv4
    DualStack,
}

impl Addresses {
    const fn new(first: &'static str, second: &'static str, overlap: Overlap) -> Self {
        Self {
            first,
            first_only: false,
            second,
            second_only: false,
            overlap,
        }
    }

    const fn only(self, first_only: bool, second_only: bool) -> Self {
        Self {
            first_only,
            second_only,
            ..self
        }
    }
}

pub(crate) const ADDRESSES: &[Addresses] = &[
    Addresses::new("127.0.0.1", "127.0.0.1", Overlap::Plain),
    Addresses::new("0.0.0.0", "127.0.0.1", Overlap::Plain),
    Addresses::new("127.0.0.1", "0.0.0.0", Overlap::Plain),
    Addresses::new("0.0.0.0", "0.0.0.0", Overlap::Plain),
    Addresses::new("127.0.0.1", "127.0.0.2", Overlap::None),
    Addresses::new("0.0.0.0", "::", Overlap::DualStack),
    Addresses::new("127.0.0.1", "::", Overlap::DualStack),
    Addresses::new("::", "0.0.0.0", Overlap::DualStack),
    Addresses::new("::", "127.0.0.1", Overlap::DualStack),
    Addresses::new("::", "127.0.0.1", Overlap::None).only(true, false),
    Addresses::new("0.0.0.0", "::", Overlap::None).only(false, true),
    Addresses::new("::", "::", Overlap::Plain).only(true, true),
    Addresses::new("::", "::1", Overlap::Plain).only(true, false),
    Addresses::new("::1", "::", Overlap::Plain),
    Addresses::new("::1", "::1", Overlap::Plain),
    Addresses::new("::1", "0.0.0.0", Overlap::None),
    Addresses::new("::ffff:127.0.0.1", "127.0.0.1", Overlap::Plain),
    Addresses::new("0.0.0.0", "::ffff:127.0.0.1", Overlap::Plain),
];

impl Flags {
    pub(crate) const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(true, false),
        Self::new(false, true),
        Self::new(true, true),
    ];

    const fn new(reuseaddr: bool, reuseport: bool) -> Self {
        Self {
            reuseaddr,
            reuseport,
        }
    }
}

impl Pair {
    /// Every pair there is.
    pub(crate) fn all(transport: Transport) -> impl Iterator<Item = Self> {
        let listening: &[bool] = match transport {
            Transport::Tcp => &[false, true],
            Transport::Udp => &[false],
        };
        (0..ADDRESSES.len()).flat_map(move |addresses| {
            Flags::ALL.into_iter().flat_map(move |first| {
                Flags::ALL.into_iter().flat_map(move |second| {
                    [false, true].into_iter().flat_map(move |other_user| {
                        listening.iter().map(move |&listening| Self {
                            transport,
                            addresses,
                            first,
                            second,
                            other_user,
                            listening,
                        })
                    })
                })
            })
        })
    }

    /// Those that differ in what they are explained by: all flags with the same address, and all
    /// addresses with the same flags.
    pub(crate) fn is_telling(&self) -> bool {
        let flags_alone = self.addresses == 0;
        let addresses_alone = self.first == self.second && !self.other_user && !self.listening;
        flags_alone || addresses_alone
    }

    pub(crate) fn addresses(&self) -> &'static Addresses {
        &ADDRESSES[self.addresses]
    }

    /// Whether the second bind fails.
    pub(crate) fn conflicts(&self) -> bool {
        let by_address = self.first.reuseaddr && self.second.reuseaddr && !self.listening;
        let by_port = self.first.reuseport && self.second.reuseport && !self.other_user;
        self.addresses().overlap != Overlap::None && !by_address && !by_port
    }

    /// Whether that is a true reason why it fails, and none is closer.
    pub(crate) fn is_cause(&self, code: Code) -> bool {
        let (first, second) = (self.first, self.second);
        let one_side = [
            (
                first.reuseaddr != second.reuseaddr,
                Code::PortInUseReuseaddrOneSide,
            ),
            (
                first.reuseport != second.reuseport,
                Code::PortInUseReuseportOneSide,
            ),
        ];
        let both = [
            (
                first.reuseaddr && second.reuseaddr && self.listening,
                Code::PortInUseReuseaddrListening,
            ),
            (
                first.reuseport && second.reuseport && self.other_user,
                Code::PortInUseReuseportOtherUser,
            ),
            (
                self.addresses().overlap == Overlap::DualStack,
                Code::PortInUseDualStack,
            ),
        ];
        let mut reasons = one_side
            .into_iter()
            .chain(both)
            .filter(|(holds, _)| *holds)
            .peekable();
        match code {
            // `SO_REUSEADDR` on one side more would not help against one that listens.
            Code::PortInUse if self.listening => {
                reasons.all(|(_, reason)| reason == Code::PortInUseReuseaddrOneSide)
            }
            Code::PortInUse => reasons.peek().is_none(),
            _ => reasons.any(|(_, reason)| reason == code),
        }
    }
}
