//! Calls that end before their protocol is asked.

use std::{fs::File, os::fd::AsRawFd as _};

use anyhow::Result;

use super::{
    super::recorder::{Address, Descriptor},
    Recorder, Scene, Socket, at, raw_row, row,
};

pub(super) const SCENES: &[Scene] = &[descriptors, addresses, families];

const CLOSED: Descriptor<'_> = Descriptor::Other(9999);

fn descriptors(recorder: &Recorder) -> Result<()> {
    let address = Address::Ip(at("127.0.0.1:7000")?);
    let null = File::open("/dev/null")?;
    let file = Descriptor::Other(null.as_raw_fd());
    raw_row(
        recorder,
        "bind: a descriptor that is not open",
        CLOSED,
        address,
    )?;
    raw_row(
        recorder,
        "connect: a descriptor that is not open",
        CLOSED,
        address,
    )?;
    raw_row(recorder, "bind: a descriptor of a file", file, address)?;
    raw_row(recorder, "connect: a descriptor of a file", file, address)
}

fn addresses(recorder: &Recorder) -> Result<()> {
    let (ip, ip6) = (at("127.0.0.1:7000")?, at("[::1]:7000")?);
    let (tcp, udp6) = (Socket::tcp4()?, Socket::udp(ip6)?);
    for (case, socket, address) in [
        ("bind: a pointer to nothing", &tcp, Address::Nowhere(8)),
        ("connect: a pointer to nothing", &tcp, Address::Nowhere(8)),
        (
            "bind: an address longer than any",
            &tcp,
            Address::Sized(ip, 129),
        ),
        ("connect: a length below zero", &tcp, Address::Sized(ip, -1)),
        ("bind: half an IPv4 address", &tcp, Address::Sized(ip, 8)),
        (
            "connect: half an IPv4 address",
            &tcp,
            Address::Sized(ip, 15),
        ),
        (
            "bind: half an IPv6 address, UDP",
            &udp6,
            Address::Sized(ip6, 16),
        ),
        (
            "connect: half an IPv6 address, UDP",
            &udp6,
            Address::Sized(ip6, 23),
        ),
    ] {
        raw_row(recorder, case, Descriptor::Socket(socket), address)?;
    }
    Ok(())
}

fn families(recorder: &Recorder) -> Result<()> {
    let (tcp4, tcp6) = (Socket::tcp4()?, Socket::tcp6()?);
    let (ip4, ip6) = ("127.0.0.1:7000", "[::1]:7000");
    row(
        recorder,
        "bind: an IPv6 address for an IPv4 socket",
        &tcp4,
        ip6,
    )?;
    row(
        recorder,
        "bind: an IPv4 address for an IPv6 socket",
        &tcp6,
        ip4,
    )?;
    row(
        recorder,
        "connect: an IPv6 address for an IPv4 socket",
        &tcp4,
        ip6,
    )
}
