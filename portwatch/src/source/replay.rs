//! A recording: JSON lines, as docs/EVENTS.md has them, read back into events.
//!
//! Nothing in it is trusted: lines have a greatest length, and what does not fit is said, with
//! the number of its line, and passed over.

mod attempt;
mod cause;
mod input;
mod line;
mod record;

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    rc::Rc,
};

use self::line::{Line, Lines};
pub use self::record::{Item, Recorded};

/// Far more than the longest line that portwatch writes; what has no line feeds must not fill the
/// memory.
const LONGEST: usize = 1024 * 1024;

/// An open recording.
pub struct Recording {
    lines: Lines<BufReader<Box<dyn Read>>>,
    /// Bytes of the file, not of what it was made of
    read: Rc<Cell<u64>>,
    /// `None` of what is no file
    size: Option<u64>,
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// A line that is no event.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// From 1
    pub line: u64,
    /// May hold what the line held
    pub why: String,
}

impl Recording {
    /// `-` is standard input.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::of(io::stdin());
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        Ok(Self {
            size: about.is_file().then_some(about.len()),
            ..Self::of(file)?
        })
    }

    /// What gzip or zstd compressed is told by its first bytes.
    pub fn of(input: impl Read + 'static) -> io::Result<Self> {
        let read = Rc::new(Cell::new(0));
        let input = Counted {
            input,
            read: Rc::clone(&read),
        };
        Ok(Self {
            lines: Lines::new(BufReader::new(input::decompressed(input)?), LONGEST),
            read,
            size: None,
        })
    }

    /// Bytes of it that were read.
    pub fn position(&self) -> u64 {
        self.read.get()
    }

    /// Bytes that it has; not known of a pipe.
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether the next item may have to be waited for.
    pub fn may_wait(&self) -> bool {
        self.lines.input().buffer().is_empty()
    }

    /// What the next line says, or why it cannot be read; `None` where there are no more lines.
    /// Fails where reading itself does: there is nothing more then.
    pub fn read_line(&mut self) -> io::Result<Option<Result<Recorded, Unreadable>>> {
        let parsed = match self.lines.read()? {
            Line::Whole(line) => Recorded::parse(line),
            Line::TooLong => Err(format!("it has more than {LONGEST} bytes")),
            Line::End => return Ok(None),
        };
        let line = self.lines.number();
        Ok(Some(parsed.map_err(|why| Unreadable { line, why })))
    }
}
