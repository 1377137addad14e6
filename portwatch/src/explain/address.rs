//! Local addresses that cannot be had: `EADDRNOTAVAIL` of a bind.

use std::net::IpAddr;

use super::{
    absence::NO_ADDRESS,
    case::{Case, interface},
    draft::{Draft, Others},
    facts::{Address, Assigned, Elsewhere},
    fix, quote,
};
use crate::event::{Code, Confidence, Fix, IfName, Lookup, Proto};

pub(super) fn explain(case: &Case<'_>) -> Option<Draft> {
    let ip = case.ip()?;
    if let Some(draft) = not_usable(case, ip) {
        return Some(draft);
    }
    let address = &case.facts.address;
    Some(match &address.assigned {
        Lookup::Found(assigned) => on_interface(case, ip, assigned),
        Lookup::NotThere => not_assigned(case, ip, address),
        Lookup::NotSeen(_) => unchecked(case, ip),
    })
}

/// Addresses that some protocols never take.
fn not_usable(case: &Case<'_>, ip: IpAddr) -> Option<Draft> {
    let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    let text = if case.is_ping() && is_for_many(ip) {
        format!("a ping socket cannot be bound to {ip}, which stands for many hosts")
    } else if case.attempt.proto == Some(Proto::Raw) && mapped {
        format!("a raw IPv6 socket cannot be bound to {ip}, an IPv4 address in IPv6 form")
    } else {
        return None;
    };
    Some(
        Draft::new(Code::AddressNotUsable, Confidence::Derived, text)
            .fix(fix::advice("bind to an address of this host")),
    )
}

pub(super) fn is_for_many(ip: IpAddr) -> bool {
    ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

/// Without a look at the addresses. IPv4 has one reason (`__inet_bind`), IPv6 has several.
fn unchecked(case: &Case<'_>, ip: IpAddr) -> Draft {
    if ip.is_ipv4() {
        return not_local(case, ip, Confidence::Derived);
    }
    let causes = [
        (
            Code::AddressNotLocal,
            format!("{ip} is not an address of the socket's network namespace"),
        ),
        (
            Code::AddressTentative,
            "it is still being checked for duplicates (tentative)".to_owned(),
        ),
        (
            Code::AddressDadFailed,
            "another host has it, as that check found".to_owned(),
        ),
        (
            Code::AddressOnOtherInterface,
            "it is on another interface than the socket is bound to".to_owned(),
        ),
        (Code::Ipv6Disabled, "IPv6 is off".to_owned()),
    ];
    Draft::one_of(causes, Others::Possible).fix(see_addresses(case))
}

fn not_assigned(case: &Case<'_>, ip: IpAddr, address: &Address) -> Draft {
    if let Some(elsewhere) = address.elsewhere.first() {
        return in_other_namespace(ip, elsewhere);
    }
    match address.ipv6_disabled_on.first() {
        Some(off) if ip.is_ipv6() => ipv6_disabled(case, ip, *off),
        _ => not_local(case, ip, Confidence::Checked),
    }
}

fn see_addresses(case: &Case<'_>) -> Fix {
    fix::command(
        "see the addresses there are",
        case.in_namespace("ip -br addr"),
    )
}

fn not_local(case: &Case<'_>, ip: IpAddr, confidence: Confidence) -> Draft {
    let text = format!(
        "{ip} is not an address of the network namespace that {}'s socket is in",
        case.name()
    );
    let wildcard = if ip.is_ipv4() { "0.0.0.0" } else { "::" };
    Draft::new(Code::AddressNotLocal, confidence, text)
        .fix(fix::advice(format!(
            "bind to an address of this host, or to {wildcard}"
        )))
        .fix(see_addresses(case))
        .fixes(bind_before_address(case, ip))
}

/// For services that start before their address is there, or take it over later.
fn bind_before_address(case: &Case<'_>, ip: IpAddr) -> [Fix; 2] {
    let (option, family) = if ip.is_ipv4() {
        ("IP_FREEBIND", "ipv4")
    } else {
        ("IPV6_FREEBIND", "ipv6")
    };
    let everybody = fix::command(
        "let every program bind to addresses that are not there",
        case.in_namespace(&format!("sysctl -w net.{family}.ip_nonlocal_bind=1")),
    );
    [
        fix::advice(format!(
            "set {option} in the program, if the address is to come later (FreeBind= in a .socket unit)"
        )),
        fix::opening(everybody, "a mistyped address is no error any more"),
    ]
}

fn on_interface(case: &Case<'_>, ip: IpAddr, assigned: &Assigned) -> Draft {
    let name = assigned
        .ifname
        .map_or_else(|| format!("interface {}", assigned.ifindex), interface);
    let draft = |code, text| Draft::new(code, Confidence::Checked, text);
    let scope = case.asked().map_or(0, |asked| asked.scope_id);
    let wanted = case.attempt.ifindex.or((scope != 0).then_some(scope));
    if assigned.dad_failed {
        let text =
            format!("{ip} on {name} is in use by another host: duplicate address detection failed");
        return draft(Code::AddressDadFailed, text).fix(fix::command(
            "see the address; then take it away from one of the two hosts",
            case.in_namespace("ip -6 addr show dadfailed"),
        ));
    }
    if assigned.tentative {
        let text = format!(
            "{ip} on {name} is tentative: it can be used when duplicate address detection is over, in about 2 s"
        );
        return draft(Code::AddressTentative, text)
            .fix(fix::advice(
                "try again in a few seconds, or start the service after network-online.target",
            ))
            .fix(fix::advice(
                "set IPV6_FREEBIND in the program (FreeBind= in a .socket unit)",
            ));
    }
    if let Some(wanted) = wanted.filter(|&wanted| wanted != assigned.ifindex) {
        let text = format!("{ip} is on {name}, and the socket is bound to interface {wanted}");
        return draft(Code::AddressOnOtherInterface, text).fix(fix::advice(format!(
            "bind the socket to {name} (scope id or SO_BINDTODEVICE), or to none"
        )));
    }
    if let Some(vrf) = assigned.vrf.filter(|_| wanted.is_none()) {
        return in_vrf(ip, &name, vrf);
    }
    late(case, ip, &name)
}

fn in_vrf(ip: IpAddr, name: &str, vrf: IfName) -> Draft {
    let text = format!(
        "{ip} is on {name}, which is in the VRF {}, and the socket is not",
        interface(vrf)
    );
    Draft::new(Code::AddressInVrf, Confidence::Checked, text).fix(fix::command(
        "start the program in the VRF; the command goes before the program's own",
        format!("sudo ip vrf exec {}", quote::word(vrf.as_bytes())),
    ))
}

/// It is there when looked at, and was not when the kernel did.
fn late(case: &Case<'_>, ip: IpAddr, name: &str) -> Draft {
    let text = format!(
        "{ip} was not there, or not ready, when {} asked for it; it is now, on {name}",
        case.name()
    );
    let [freebind, _] = bind_before_address(case, ip);
    Draft::new(Code::AddressNotLocal, Confidence::Checked, text)
        .fix(fix::advice(
            "start the service after network-online.target, or try again",
        ))
        .fix(freebind)
}

fn in_other_namespace(ip: IpAddr, elsewhere: &Elsewhere) -> Draft {
    let Elsewhere { netns, tgid, name } = elsewhere;
    let place = match (name, tgid) {
        (Some(name), _) => format!("network namespace {}", quote::shown(name.as_bytes())),
        (None, Some(tgid)) => format!("the network namespace of process {tgid}"),
        (None, None) => format!("network namespace {netns}"),
    };
    let text = format!("{ip} is not an address of the socket's network namespace, but of {place}");
    let enter = match (name, tgid) {
        (Some(name), _) => Some(format!(
            "sudo ip netns exec {}",
            quote::word(name.as_bytes())
        )),
        (None, Some(tgid)) => Some(format!("sudo nsenter -t {tgid} -n")),
        (None, None) => None,
    };
    let what = "start the program there; the command goes before the program's own";
    Draft::new(Code::AddressInOtherNamespace, Confidence::Checked, text)
        .fixes(enter.map(|enter| fix::command(what, enter)))
        .fix(fix::advice(
            "bind to an address of this network namespace, or to the wildcard",
        ))
}

fn ipv6_disabled(case: &Case<'_>, ip: IpAddr, off: IfName) -> Draft {
    let name = interface(off);
    let text = format!("{ip} cannot be had: IPv6 is turned off on {name} (disable_ipv6)");
    // A dot in an interface's name is a slash in a sysctl's.
    let key = format!("net.ipv6.conf.{}.disable_ipv6=0", name.replace('.', "/"));
    let on = fix::command(
        format!("turn IPv6 on for {name}"),
        case.in_namespace(&format!("sysctl -w {}", quote::word(key.as_bytes()))),
    );
    Draft::new(Code::Ipv6Disabled, Confidence::Checked, text)
        .fix(fix::opening(
            on,
            format!("{name} gets IPv6 addresses, and can be reached by them"),
        ))
        .fix(fix::advice("use IPv4"))
}

/// Of a call that something else stopped: the address would not have been had either.
pub(super) fn next(case: &Case<'_>) -> Option<String> {
    let ip = case.ip()?;
    let address = &case.facts.address;
    let anything_goes = case.option(|options| options.freebind || options.transparent)?;
    let unneeded = anything_goes
        || address.takes_any(ip)
        || address.nonlocal_bind?
        || ip.is_unspecified()
        || is_for_many(ip);
    (!unneeded && address.assigned.is_not_there())
        .then(|| format!("EADDRNOTAVAIL: {ip} is {NO_ADDRESS}"))
}
