//! What one line says, cell by cell, before it is laid out.

use std::{
    fmt::{self, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use super::{clock::Clock, layout::Column};
use crate::{
    errno::Errno,
    event::{Attempt, Comm, End, Family, Local, Op, Outcome, Proto, Requested, Time},
    output::{digits, sanitize::escape_into},
    users::Users,
};

const TITLE: Style = Style::new().bold();
const TIME: Style = Style::new().dimmed();
const FAILED: Style = AnsiColor::Red.on_default();
const PENDING: Style = AnsiColor::Yellow.on_default();
const LOCAL: Style = Style::new().dimmed();
/// Success has no colour, so that a colour means that something is to be looked at.
const OK: Style = Style::new();

/// The result and up to two details about it, the more important first.
const RESULT_CELLS: usize = 3;

/// The cells of one line. Used again for every line, so that it allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// What is kept comes first
    text: String,
    /// Whose cells are kept, and where they end: many attempts in a row are made by the same
    kept: Option<Caller>,
    kept_end: usize,
    columns: [Cell; Column::ALL.len()],
    result: [Cell; RESULT_CELLS],
}

/// What some cells are made of, and of nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Caller {
    op: Op,
    proto: Option<Proto>,
    tgid: u32,
    comm: Comm,
    uid: u32,
    /// Of the users' names
    names: u64,
}

/// A piece of the row's text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    start: usize,
    end: usize,
    /// In columns of the terminal
    pub(super) width: usize,
    pub(super) style: Style,
}

impl Row {
    pub(super) const fn column(&self, column: Column) -> &Cell {
        &self.columns[column as usize]
    }

    /// The result and its details; what has no width is not there.
    pub(super) const fn result(&self) -> &[Cell; RESULT_CELLS] {
        &self.result
    }

    pub(super) fn text(&self, cell: &Cell) -> &str {
        &self.text[cell.start..cell.end]
    }

    /// The names of the columns.
    pub(super) fn titles() -> Result<Self, fmt::Error> {
        let mut row = Self::default();
        for column in Column::ALL {
            row.set(column, TITLE, |text| text.write_str(column.title()))?;
        }
        row.add_result(0, TITLE, |text| text.write_str("RESULT"))?;
        Ok(row)
    }

    pub(super) fn set_attempt(
        &mut self,
        attempt: &Attempt,
        clock: &mut Clock,
        millis: bool,
        users: &mut Users,
    ) -> fmt::Result {
        self.set_call(attempt, attempt.time, clock, millis, users)?;
        self.set_result(attempt)
    }

    /// All but the result.
    pub(super) fn set_call(
        &mut self,
        attempt: &Attempt,
        time: Time,
        clock: &mut Clock,
        millis: bool,
        users: &mut Users,
    ) -> fmt::Result {
        let Attempt {
            op,
            family,
            requested,
            ..
        } = attempt;
        self.set_caller(attempt, users)?;
        self.set(Column::Time, TIME, |text| clock.write(text, time, millis))?;
        self.set(Column::Address, OK, |text| {
            write_requested(text, *op, *family, *requested)
        })?;
        self.result = Default::default();
        Ok(())
    }

    /// Begins a row: sets the cells of the caller, or keeps those of the last row.
    fn set_caller(&mut self, attempt: &Attempt, users: &mut Users) -> fmt::Result {
        let caller = Caller {
            op: attempt.op,
            proto: attempt.proto,
            tgid: attempt.tgid,
            comm: attempt.comm,
            // The effective user is the one whose rights decide.
            uid: attempt.euid.unwrap_or(attempt.uid),
            names: users.version(),
        };
        if self.kept == Some(caller) {
            self.text.truncate(self.kept_end);
            return Ok(());
        }
        self.text.clear();
        self.set(Column::Op, OK, |text| text.write_str(caller.op.name()))?;
        self.set(Column::Proto, OK, |text| write_proto(text, caller.proto))?;
        self.set(Column::Pid, OK, |text| write_number(text, caller.tgid))?;
        self.set(Column::Comm, OK, |text| {
            write_comm(text, caller.comm.as_bytes())
        })?;
        self.set(Column::User, OK, |text| write_user(text, caller.uid, users))?;
        self.kept_end = self.text.len();
        self.kept = Some(caller);
        Ok(())
    }

    fn set_result(&mut self, attempt: &Attempt) -> fmt::Result {
        match (attempt.outcome(), attempt.ret, attempt.errno()) {
            (Outcome::Ok, ..) => self.add_ok(attempt),
            (Outcome::Pending, None, _) => {
                self.add_result(0, PENDING, |text| text.write_str("?"))?;
                self.add_result(1, PENDING, |text| text.write_str("return not seen"))
            }
            (Outcome::Pending, _, Some(errno @ Errno::EINTR)) => {
                self.add_result(0, PENDING, |text| write!(text, "{errno}"))?;
                self.add_result(1, PENDING, |text| text.write_str("pending"))
            }
            (Outcome::Pending, ..) => {
                self.add_result(0, PENDING, |text| text.write_str("pending"))?;
                self.add_local(1, attempt)
            }
            (Outcome::Abandoned, ..) => self.add_abandoned(),
            (Outcome::Failed, ret, errno) => self.add_failure(ret.unwrap_or_default(), errno),
        }
    }

    /// How a pending connect ended, in the place of the result of its attempt.
    pub(super) fn set_end(&mut self, attempt: &Attempt, end: End) -> fmt::Result {
        match end {
            End::Connected => self.add_ok(attempt),
            End::Abandoned => self.add_abandoned(),
            End::Failed(ret) => self.add_failure(ret, attempt.system.errno(ret)),
        }
    }

    /// How long it took, in the last place.
    pub(super) fn add_latency(&mut self, latency: Duration) -> fmt::Result {
        let place = self.result.iter().position(|cell| cell.width == 0);
        let place = place.unwrap_or(RESULT_CELLS - 1);
        self.add_result(place, LOCAL, |text| write!(text, "after {latency:.1?}"))
    }

    fn add_ok(&mut self, attempt: &Attempt) -> fmt::Result {
        self.add_result(0, OK, |text| text.write_str("ok"))?;
        self.add_local(1, attempt)
    }

    fn add_abandoned(&mut self) -> fmt::Result {
        self.add_result(0, PENDING, |text| text.write_str("abandoned"))?;
        self.add_result(1, PENDING, |text| {
            text.write_str("closed before there was an answer")
        })
    }

    fn add_failure(&mut self, ret: i32, errno: Option<Errno>) -> fmt::Result {
        let Some(errno) = errno else {
            return self.add_result(0, FAILED, |text| write!(text, "returned {ret}"));
        };
        self.add_result(0, FAILED, |text| write!(text, "{errno}"))?;
        match errno.describe() {
            Some(description) => self.add_result(1, FAILED, |text| text.write_str(description)),
            None => Ok(()),
        }
    }

    /// The socket's own end, where it tells more than the address that was asked for.
    fn add_local(&mut self, index: usize, attempt: &Attempt) -> fmt::Result {
        let Some(local) = attempt.local else {
            return Ok(());
        };
        match attempt.op {
            Op::Bind | Op::Listen => {
                let Some(requested) = attempt.requested else {
                    return self.add_result(index, LOCAL, |text| write_local(text, "-> ", local));
                };
                let same_ip = requested.ip.to_canonical() == local.ip.to_canonical();
                match local.port {
                    Some(port) if same_ip && port != requested.port => {
                        self.add_result(index, LOCAL, |text| write!(text, "-> :{port}"))
                    }
                    _ if same_ip => Ok(()),
                    _ => self.add_result(index, LOCAL, |text| write_local(text, "-> ", local)),
                }
            }
            // To dissolve an association leaves no end of its own worth a word.
            Op::Connect if attempt.family == Some(Family::Unspec) || local.ip.is_unspecified() => {
                Ok(())
            }
            Op::Connect => self.add_result(index, LOCAL, |text| write_local(text, "from ", local)),
        }
    }

    fn set(
        &mut self,
        column: Column,
        style: Style,
        write: impl FnOnce(&mut String) -> fmt::Result,
    ) -> fmt::Result {
        self.columns[column as usize] = self.cell(style, write)?;
        Ok(())
    }

    fn add_result(
        &mut self,
        index: usize,
        style: Style,
        write: impl FnOnce(&mut String) -> fmt::Result,
    ) -> fmt::Result {
        self.result[index] = self.cell(style, write)?;
        Ok(())
    }

    fn cell(
        &mut self,
        style: Style,
        write: impl FnOnce(&mut String) -> fmt::Result,
    ) -> Result<Cell, fmt::Error> {
        let start = self.text.len();
        write(&mut self.text)?;
        let end = self.text.len();
        // Nothing of it is a control character: of ASCII each takes one column.
        let width = if self.text.as_bytes()[start..].is_ascii() {
            end - start
        } else {
            self.text[start..].width()
        };
        Ok(Cell {
            start,
            end,
            width,
            style,
        })
    }
}

pub(crate) fn write_proto(text: &mut String, proto: Option<Proto>) -> fmt::Result {
    match proto {
        None => text.write_str("?"),
        Some(proto) => match (proto.name(), proto) {
            (Some(name), _) => text.write_str(name),
            (None, Proto::Ip(number)) => write!(text, "{number}"),
            (None, Proto::Raw) => text.write_str("raw"),
        },
    }
}

fn write_user(text: &mut String, uid: u32, users: &mut Users) -> fmt::Result {
    match users.name(uid) {
        Some(name) if !name.is_empty() => {
            escape_into(text, name.as_bytes());
            Ok(())
        }
        _ => write!(text, "{uid}"),
    }
}

fn write_comm(text: &mut String, comm: &[u8]) -> fmt::Result {
    if comm.is_empty() {
        return text.write_str("\"\"");
    }
    escape_into(text, comm);
    Ok(())
}

fn write_requested(
    text: &mut String,
    op: Op,
    family: Option<Family>,
    requested: Option<Requested>,
) -> fmt::Result {
    match (family, requested) {
        // bind() takes an AF_UNSPEC address for an IPv4 one (net/ipv4/af_inet.c, __inet_bind).
        (Some(Family::Unspec), Some(requested)) if op == Op::Bind => {
            write_socket_addr(text, requested)
        }
        (Some(Family::Unspec), _) => text.write_str("unspec"),
        (_, Some(requested)) => write_socket_addr(text, requested),
        (Some(Family::Other(number)), None) => write!(text, "family:{number}"),
        (_, None) => text.write_str("?"),
    }
}

fn write_socket_addr(text: &mut String, requested: Requested) -> fmt::Result {
    let Requested { ip, port, scope_id } = requested;
    match (ip, scope_id) {
        (IpAddr::V6(ip), 1..) => write!(text, "[{ip}%{scope_id}]:{port}"),
        _ => write_end(text, ip, port),
    }
}

fn write_end(text: &mut String, ip: IpAddr, port: u16) -> fmt::Result {
    match digits::as_ipv4(ip) {
        Some(ip) => {
            text.push_str(digits::ipv4(ip).as_str());
            text.push(':');
            write_number(text, port)
        }
        None => write!(text, "{}", SocketAddr::new(ip, port)),
    }
}

fn write_number(text: &mut String, number: impl itoa::Integer) -> fmt::Result {
    text.write_str(itoa::Buffer::new().format(number))
}

fn write_local(text: &mut String, preposition: &str, local: Local) -> fmt::Result {
    let Local { ip, port } = local;
    match port {
        Some(port) => {
            text.push_str(preposition);
            write_end(text, ip, port)
        }
        None => write!(text, "{preposition}{ip}"),
    }
}
