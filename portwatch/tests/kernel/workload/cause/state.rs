//! Sockets that have gone too far for the call.

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketType, ipproto, listen};

use super::{
    super::connect::{FullListener, hasty},
    Recorder, Scene, Socket, at, bound, row, try_of,
};

pub(super) const SCENES: &[Scene] = &[
    bound_already,
    connected_before_bind,
    connected_already,
    connecting,
];

fn bound_already(recorder: &Recorder) -> Result<()> {
    let socket = bound(recorder, Socket::tcp4()?, "127.0.0.1:7000")?;
    row(recorder, "bind: bound already", &socket, "127.0.0.1:7001")
}

fn connected_before_bind(recorder: &Recorder) -> Result<()> {
    let udp = Socket::udp4()?;
    recorder.connect("before", &udp, at("127.0.0.1:7000")?, 0)?;
    row(
        recorder,
        "bind: connected already, of UDP",
        &udp,
        "127.0.0.1:7001",
    )?;
    let raw = Socket::open(
        AddressFamily::INET,
        SocketType::RAW,
        Some(ipproto::TCP),
        "raw",
    )?;
    recorder.connect("before", &raw, at("127.0.0.1:0")?, 0)?;
    row(
        recorder,
        "bind: connected already, a raw socket",
        &raw,
        "127.0.0.1:0",
    )
}

fn connected_already(recorder: &Recorder) -> Result<()> {
    let listener = bound(recorder, Socket::tcp4()?, "127.0.0.1:7000")?;
    listen(&listener, 8).context("listen")?;
    let client = Socket::tcp4()?;
    recorder.connect("before", &client, at("127.0.0.1:7000")?, 0)?;
    row(
        recorder,
        "connect: connected already",
        &client,
        "127.0.0.1:7000",
    )?;
    row(recorder, "connect: listening", &listener, "127.0.0.1:7001")
}

fn connecting(recorder: &Recorder) -> Result<()> {
    let full = FullListener::new(recorder)?;
    let client = hasty()?;
    recorder.connect("before", &client, full.address, -libc::EINPROGRESS)?;
    let (what, ret) = try_of("connect: connecting already", &client, full.address)?;
    let truth = recorder.attempted(&what, ret)?;
    recorder.write(truth)
}
