//! What dtrace writes, cut into lines, without ever waiting for it.

use std::{
    io::{self, Read},
    os::fd::{AsFd, AsRawFd},
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::ready;

/// Bytes of a line; the script's longest has about 400. What is longer is none of its.
const LONGEST: usize = 4096;
const CHUNK: usize = 16 * 1024;

pub(super) struct Pipe<T: AsRawFd> {
    inner: AsyncFd<T>,
    cutter: Cutter,
    ended: bool,
}

impl<T: Read + AsFd + AsRawFd> Pipe<T> {
    /// Must be called inside a runtime.
    pub(super) fn new(inner: T) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&inner, true)?;
        Ok(Self {
            inner: ready::register(inner, Interest::READABLE)?,
            cutter: Cutter::default(),
            ended: false,
        })
    }

    /// Waits until there is something to read; for ever, once it has ended.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.ended {
            std::future::pending::<()>().await;
        }
        self.inner.readable().await?.clear_ready();
        Ok(())
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Gives each line that is there, until `take` has enough. Gives whether nothing was left.
    pub(super) fn read(&mut self, mut take: impl FnMut(&[u8]) -> bool) -> bool {
        let mut chunk = [0; CHUNK];
        loop {
            while let Some(line) = self.cutter.next() {
                if !take(line) {
                    return false;
                }
            }
            match self.inner.get_mut().read(&mut chunk) {
                Ok(0) => {
                    self.ended = true;
                    return true;
                }
                Ok(count) => self.cutter.add(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::error!("cannot read from dtrace: {error}");
                    self.ended = true;
                    return true;
                }
            }
        }
    }
}

/// Bytes as they came, to be taken out line by line. Of a line that is too long only its end is
/// kept, which is none of the script's.
#[derive(Debug, Default)]
struct Cutter {
    bytes: Vec<u8>,
    /// What was given out already
    from: usize,
}

impl Cutter {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.from);
        self.from = 0;
        // Nothing but the beginning of a line is left here.
        if self.bytes.len() > LONGEST {
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its line feed.
    fn next(&mut self) -> Option<&[u8]> {
        let rest = &self.bytes[self.from..];
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        let begin = self.from;
        self.from += length + 1;
        Some(&self.bytes[begin..begin + length])
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn cut(chunks: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            cutter.add(chunk);
            while let Some(line) = cutter.next() {
                lines.push(line.to_vec());
            }
        }
        lines
    }

    #[test]
    fn what_has_no_end_does_not_fill_the_memory() {
        let mut cutter = Cutter::default();
        for _ in 0..1000 {
            cutter.add(&[b'x'; 1000]);
            assert!(cutter.next().is_none());
        }
        assert!(cutter.bytes.len() <= LONGEST + 1000);
        cutter.add(b"\nB\n");
        assert!(
            cutter
                .next()
                .is_some_and(|line| line.len() <= LONGEST + 1000)
        );
        assert_eq!(cutter.next(), Some(&b"B"[..]));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_come(chunks in vec(vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40), 0..20)) {
            let whole = chunks.concat();
            let mut expected: Vec<_> = whole.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            expected.pop();
            prop_assert_eq!(cut(&chunks), expected);
        }
    }
}
