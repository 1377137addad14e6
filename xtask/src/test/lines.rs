//! The output of several programs at once: whole lines, each with the name of who wrote it.

use std::io::{self, Write};

/// One program's lines on the way to an output that others write to as well.
pub(super) struct Lines<'a> {
    name: &'a str,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        Self {
            name,
            line: Vec::new(),
        }
    }

    /// Passes on what has become whole; the rest waits for its end.
    pub(super) fn write(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end(to)?;
            }
        }
        Ok(())
    }

    /// Passes on a last line that has no end.
    pub(super) fn finish(mut self, to: &mut impl Write) -> io::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        self.line.push(b'\n');
        self.end(to)
    }

    fn end(&mut self, to: &mut impl Write) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        write!(to, "[{}] ", self.name)?;
        to.write_all(&line)?;
        to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_passed_on_and_the_last_one_at_the_end() {
        let mut to = Vec::new();
        let mut lines = Lines::of("6.1");
        lines.write(b"one\ntw", &mut to).unwrap();
        assert_eq!(to, b"[6.1] one\n");
        lines.write(b"o\n\nthree", &mut to).unwrap();
        assert_eq!(to, b"[6.1] one\n[6.1] two\n[6.1] \n");
        lines.finish(&mut to).unwrap();
        assert!(to.ends_with(b"\n[6.1] three\n"));
    }
}
