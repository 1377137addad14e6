//! The conversation between xtask and the guest's PID 1, over the VM's second serial port.
//!
//! Everything travels in frames, so that the guest's exit status and the command's two output
//! streams cannot be mistaken for one another, whatever bytes the command prints.

use std::{
    io::{self, Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// Where the guest finds its [`Job`].
pub const JOB: &str = "/job.json";

/// The most payload that one frame carries; a longer one means that the line is garbled.
const LONGEST: usize = 64 * 1024;

/// What the guest runs, and how.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Rows and columns of the terminal to give the command, which gets pipes otherwise.
    pub terminal: Option<(u16, u16)>,
    /// Whether input will be sent; `/dev/null` is the command's input otherwise.
    pub input: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Guest to host: the port is set up, input may be sent.
    Ready = 1,
    /// Guest to host: the command's standard output.
    Output = 2,
    /// Guest to host: the command's standard error.
    Error = 3,
    /// Guest to host, the last frame: the command's exit status in one byte.
    Exit = 4,
    /// Host to guest: the command's standard input; an empty frame is its end.
    Input = 5,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub payload: Vec<u8>,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Ready,
            Self::Output,
            Self::Error,
            Self::Exit,
            Self::Input,
        ]
        .into_iter()
        .find(|&kind| kind as u8 == byte)
    }
}

/// Writes one frame per [`LONGEST`] bytes, and one empty frame when there are none.
pub fn send(port: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(LONGEST));
        let length = u32::try_from(now.len()).map_err(io::Error::other)?;
        let mut frame = vec![kind as u8];
        frame.extend(length.to_le_bytes());
        frame.extend(now);
        port.write_all(&frame)?;
        if later.is_empty() {
            return port.flush();
        }
        rest = later;
    }
}

/// Reads one frame; none at the end of the stream.
pub fn receive(port: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut kind = [0; 1];
    if port.read(&mut kind)? == 0 {
        return Ok(None);
    }
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, "the serial line is garbled");
    let kind = Kind::from_byte(kind[0]).ok_or_else(garbled)?;
    let mut length = [0; 4];
    port.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > LONGEST {
        return Err(garbled());
    }
    let mut payload = vec![0; length];
    port.read_exact(&mut payload)?;
    Ok(Some(Frame { kind, payload }))
}

impl Job {
    pub fn load(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_arrives_as_it_was_sent() {
        let mut line = Vec::new();
        send(&mut line, Kind::Output, b"\x04\0\r\n").unwrap();
        send(&mut line, Kind::Exit, &[3]).unwrap();
        let mut line = line.as_slice();
        let first = receive(&mut line).unwrap().unwrap();
        assert_eq!(
            (first.kind, &first.payload[..]),
            (Kind::Output, &b"\x04\0\r\n"[..])
        );
        let second = receive(&mut line).unwrap().unwrap();
        assert_eq!((second.kind, &second.payload[..]), (Kind::Exit, &[3][..]));
        assert_eq!(receive(&mut line).unwrap(), None);
    }

    #[test]
    fn a_long_payload_is_split() {
        let mut line = Vec::new();
        send(&mut line, Kind::Output, &vec![7; LONGEST + 1]).unwrap();
        let mut line = line.as_slice();
        assert_eq!(receive(&mut line).unwrap().unwrap().payload.len(), LONGEST);
        assert_eq!(receive(&mut line).unwrap().unwrap().payload, [7]);
    }

    #[test]
    fn a_garbled_line_is_an_error() {
        assert!(receive(&mut &b"Linux version"[..]).is_err());
        assert!(receive(&mut &[2, 255, 255, 255, 255][..]).is_err());
    }
}
