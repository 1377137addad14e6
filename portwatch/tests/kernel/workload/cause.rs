//! Situations in which bind and connect fail, or succeed where that would surprise: the rows of
//! the causes, made.
//!
//! Each scene runs in a process and a network namespace of its own, which are gone after it.

use std::{fmt, net::SocketAddr};

use anyhow::{Context as _, Result};

mod address;
mod answer;
mod call;
mod denial;
mod matrix;
mod network;
mod port;
mod privilege;
mod route;
mod state;

use super::{
    super::{
        cause::{self, Row},
        sys, truth,
    },
    child,
    recorder::{Address, Descriptor, Recorder, Try},
    socket::Socket,
};

type Scene = fn(&Recorder) -> Result<()>;

const GROUPS: [(&str, &[Scene]); 11] = [
    ("call", call::SCENES),
    ("denial", denial::SCENES),
    ("address", address::SCENES),
    ("privilege", privilege::SCENES),
    ("port", port::SCENES),
    ("state", state::SCENES),
    ("route", route::SCENES),
    ("answer", answer::SCENES),
    ("end", answer::ENDS),
    ("matrix", matrix::SCENES),
    ("whole_matrix", matrix::WHOLE),
];

/// Makes the rows of a group.
pub(super) fn make(recorder: &Recorder, group: &str) -> Result<()> {
    let group = GROUPS.iter().find(|(name, _)| *name == group);
    let (_, scenes) = group.context("no such group of causes")?;
    scenes.iter().try_for_each(|scene| {
        child::apart(|| {
            sys::enter_own_netns()?;
            match scene(recorder) {
                Err(error) => match error.downcast::<Lacking>() {
                    Ok(lacking) => recorder.lack(&lacking),
                    Err(error) => Err(error),
                },
                made => made,
            }
        })
    })
}

/// What a scene needs that this machine does not have.
#[derive(Debug)]
struct Lacking(String);

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

fn lacking(why: impl fmt::Display) -> anyhow::Error {
    Lacking(why.to_string()).into()
}

/// `127.0.0.1:80`
fn at(text: &str) -> Result<SocketAddr> {
    text.parse()
        .with_context(|| format!("{text} is no address"))
}

/// Makes the attempt of a row, which must end as the row says.
fn row(recorder: &Recorder, case: &str, socket: &Socket, address: &str) -> Result<()> {
    let (descriptor, address) = (Descriptor::Socket(socket), Address::Ip(at(address)?));
    raw_row(recorder, case, descriptor, address)
}

/// With what is no ordinary descriptor or address.
fn raw_row(
    recorder: &Recorder,
    case: &str,
    descriptor: Descriptor<'_>,
    address: Address,
) -> Result<()> {
    let (row, op) = named(case)?;
    recorder.attempt(case, op, descriptor, address, row.ret)
}

/// A try of a row, for whoever makes it in a way of his own; and what it must return.
fn try_of<'a>(case: &'a str, socket: &'a Socket, address: SocketAddr) -> Result<(Try<'a>, i32)> {
    let (row, op) = named(case)?;
    Ok((Try::of(case, op, socket, address), row.ret))
}

fn named(case: &str) -> Result<(&'static Row, truth::Op)> {
    let rows = cause::GROUPS.iter().flat_map(|(_, rows)| *rows);
    let row = rows.into_iter().find(|row| row.case == case);
    let row = row.with_context(|| format!("no row is named {case:?}"))?;
    Ok((row, row.op.into()))
}

/// What prepares a row, and is a call like any other.
fn bound(recorder: &Recorder, socket: Socket, address: &str) -> Result<Socket> {
    recorder.bind("before", &socket, at(address)?, 0)?;
    Ok(socket)
}
