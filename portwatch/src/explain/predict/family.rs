//! Kernels that make no IPv6 sockets: `ipv6.disable=1`, or built without it (`inet6_init`,
//! net/ipv6/af_inet6.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Check, Situation, Station};
use crate::{
    errno::Errno,
    event::{Code, Confidence, System},
    explain::{case::Case, draft::Draft, fix},
};

impl Situation {
    /// Whether the kernel makes a socket of the address's family.
    pub(super) fn has_socket(&self) -> bool {
        self.system != System::Linux || self.to.ip.is_ipv4() || self.network.ipv6
    }
}

/// `__sock_create` (net/socket.c)
pub(super) fn check(situation: &Situation) -> Option<Check> {
    let detail = "this kernel has no IPv6: socket() fails";
    (!situation.has_socket()).then(|| Check::no(Station::Socket, Errno::EAFNOSUPPORT, detail))
}

pub(super) fn no_ipv6(case: &Case<'_>) -> Draft {
    let text = format!(
        "this kernel has no IPv6 (ipv6.disable=1, or built without it): socket(AF_INET6) fails, so {}() of {} is never reached",
        case.attempt.op.name(),
        case.target()
    );
    let instead = case
        .ip()
        .and_then(of_ipv4)
        .map_or_else(|| "an IPv4 address".to_owned(), |ip| ip.to_string());
    Draft::new(Code::KernelWithoutIpv6, Confidence::Checked, text)
        .fix(fix::advice(format!("use {instead}")))
        .fix(fix::command(
            "see whether it was turned off at boot; without this option IPv6 is there again",
            "grep -o 'ipv6.disable=[^ ]*' /proc/cmdline",
        ))
}

/// The same place in IPv4, where there is one.
fn of_ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) => ip.to_ipv4_mapped(),
        IpAddr::V4(ip) => Some(ip),
    }
}
