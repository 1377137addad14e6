//! Takes off the compression of a recording, told by its first bytes.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// RFC 1952, 2.3.1
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// RFC 8878, 3.1.1
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(super) fn decompressed(mut input: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut start = Vec::new();
    input.by_ref().take(4).read_to_end(&mut start)?;
    let is_gzip = start.starts_with(&GZIP);
    let is_zstd = start.starts_with(&ZSTD);
    let whole = Cursor::new(start).chain(input);
    Ok(if is_gzip {
        Box::new(MultiGzDecoder::new(BufReader::new(whole)))
    } else if is_zstd {
        Box::new(Zstd {
            input: BufReader::new(whole),
            frame: FrameDecoder::new(),
        })
    } else {
        Box::new(whole)
    })
}

/// One frame after another: a file may have several, as one that was appended to.
struct Zstd<R> {
    input: R,
    frame: FrameDecoder,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.frame.can_collect() == 0 {
            if !self.frame.is_finished() {
                let step = BlockDecodingStrategy::UptoBlocks(1);
                let step = self.frame.decode_blocks(&mut self.input, step);
                step.map_err(io::Error::other)?;
            } else if !self.begin()? {
                return Ok(0);
            }
        }
        self.frame.read(out)
    }
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame; false if there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                // Not meant for decoders (RFC 8878, 3.1.2).
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = &mut self.input.by_ref().take(length.into());
                    io::copy(skipped, &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn text() -> String {
        let numbers: Vec<_> = (0..50_000).map(|number| number.to_string()).collect();
        numbers.join("\n")
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    fn read(bytes: Vec<u8>) -> io::Result<String> {
        let mut text = String::new();
        decompressed(Cursor::new(bytes))?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn text_is_taken_as_it_is() {
        for text in ["", "{", "{}\n", &text()] {
            assert_eq!(read(text.into()).unwrap(), text);
        }
    }

    #[test]
    fn both_compressions_are_taken_off_also_of_files_that_were_put_together() {
        let text = text();
        let (one, two) = text.split_at(text.len() / 2);
        assert_eq!(read(gzip(&text)).unwrap(), text);
        assert_eq!(read([gzip(one), gzip(two)].concat()).unwrap(), text);
        assert_eq!(read(zstd(&text)).unwrap(), text);
        let skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc".to_vec();
        assert_eq!(
            read([zstd(one), skippable, zstd(two)].concat()).unwrap(),
            text
        );
    }

    #[test]
    fn what_is_cut_short_or_broken_fails_after_what_can_be_read() {
        let text = text();
        for bytes in [gzip(&text), zstd(&text)] {
            let mut cut = bytes.clone();
            cut.truncate(bytes.len() / 2);
            assert!(read(cut).is_err());
            assert!(read([&bytes[..], b"no frame"].concat()).is_err());
        }
    }
}
