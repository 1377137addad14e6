//! A log daemon behind a local datagram socket: systemd-journald, syslogd.

use std::{
    io::{self, ErrorKind, Write},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::Output;
use crate::output::frame;

pub(super) struct Datagrams {
    socket: UnixDatagram,
    path: PathBuf,
    /// Messages since the daemon was last heard
    undelivered: u64,
}

impl Datagrams {
    /// Fails where nobody is there to begin with.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(path)?;
        Ok(Self {
            socket: UnixDatagram::unbound()?,
            path: path.to_owned(),
            undelivered: 0,
        })
    }

    /// Waits where the daemon is slow. One that is away for a while, as in a restart, ends nothing:
    /// what it misses is counted and said.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self.socket.send_to(message, &self.path) {
            Ok(_) => {
                if self.undelivered > 0 {
                    let (count, path) = (self.undelivered, self.path.display());
                    log::warn!("{path} is back; {count} messages were not delivered");
                }
                self.undelivered = 0;
                Ok(())
            }
            Err(error) if is_passing(&error) => {
                if self.undelivered == 0 {
                    log::warn!(
                        "cannot deliver a message to {}: {error}",
                        self.path.display()
                    );
                }
                self.undelivered += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Nobody has the socket open now, or this one message is too long for it.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    ) || Errno::from_io_error(error) == Some(Errno::MSGSIZE)
}

impl Write for Datagrams {
    /// The sink hands over whole messages.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for message in frame::split(bytes) {
            self.send(message)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Datagrams {}
