//! The kernel's own sockets, made while a process asks for something else: WireGuard's, as its
//! device is brought up by a message, not by a system call that binds.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

use super::super::{
    sys,
    truth::{Op, Socket as Made, Truth},
};
use super::recorder::{Address, Descriptor, Recorder, Try, impossible, now};

// include/uapi/linux/netlink.h, include/uapi/linux/rtnetlink.h, include/uapi/linux/if_link.h
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFF_UP: u32 = 1;

pub(super) fn sockets_of_a_device(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let control = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let kind = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"wireguard"));
    let named = attribute(IFLA_IFNAME, b"wg0\0");
    if let Err(error) = ask(&control, NLM_F_CREATE, 0, &[named.clone(), kind].concat()) {
        return impossible(format!("no WireGuard: {error:#}"));
    }
    let began = now();
    ask(&control, 0, IFF_UP, &named).context("cannot bring up wg0")?;
    let ended = now();
    let port = port_of_udp()?;
    for (wildcard, asked, options) in [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, None),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port, Some("v6only")),
    ] {
        let what = Try {
            case: "WireGuard's socket",
            op: Op::Bind,
            descriptor: Descriptor::Other(-1),
            address: Address::Ip(SocketAddr::new(wildcard, asked)),
        };
        let mut truth = recorder.truth(&what, 0, began, ended)?;
        of_the_kernel(&mut truth, wildcard, port, options)?;
        recorder.note(truth)?;
    }
    Ok(())
}

fn of_the_kernel(truth: &mut Truth, ip: IpAddr, port: u16, options: Option<&str>) -> Result<()> {
    "kernel".clone_into(&mut truth.via);
    truth.fd = None;
    truth.privileged = truth.port.filter(|&port| port != 0).map(|port| port < 1024);
    truth.socket = Some(Made {
        proto: "udp".to_owned(),
        local_addr: ip,
        local_port: Some(port),
        inode: None,
        netns: sys::netns()?,
        options: options.map(str::to_owned).into_iter().collect(),
        reached: true,
    });
    Ok(())
}

/// Of the only IPv4 socket in this network namespace: `sl local_address …`, in hexadecimal.
fn port_of_udp() -> Result<u16> {
    let table = fs::read_to_string("/proc/thread-self/net/udp")?;
    let line = table.lines().nth(1).context("no UDP socket")?;
    let local = line.split_whitespace().nth(1).context("no local address")?;
    let (_, port) = local.split_once(':').context("no port")?;
    Ok(u16::from_str_radix(port, 16)?)
}

/// `struct rtattr` and what it holds, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Makes or changes the device, and waits for the answer.
fn ask(control: &OwnedFd, flags: u16, device_flags: u32, attributes: &[u8]) -> Result<()> {
    let mut body = vec![0; 8];
    body.extend_from_slice(&device_flags.to_ne_bytes());
    body.extend_from_slice(&IFF_UP.to_ne_bytes());
    body.extend_from_slice(attributes);
    let length = u32::try_from(16 + body.len())?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&body);
    send(control.as_fd(), &message, SendFlags::empty())?;
    let mut answer = [0; 512];
    let (length, _) = recv(control.as_fd(), &mut answer[..], RecvFlags::empty())?;
    // `struct nlmsgerr`: the error follows the header.
    ensure!(length >= 20, "an answer of {length} bytes");
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error).into()),
    }
}
