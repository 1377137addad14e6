//! Recordings that were cut, overwritten or mixed with something else.

use std::io::{Cursor, Write as _};

use flate2::{Compression, write::GzEncoder};
use proptest::{collection::vec, prelude::*, sample::Index};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::{recording, text};
use crate::source::replay::Recording;

type Form = fn(&[u8]) -> Vec<u8>;

const FORMS: [Form; 3] = [<[u8]>::to_vec, gzip, zstd];

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

/// Several blocks of either compression.
fn whole() -> String {
    text(&recording()).repeat(30)
}

/// What reading to the end gives: lines that could be read, those that could not, and how it ended.
#[derive(Debug, Default)]
struct Reading {
    good: usize,
    bad: Vec<u64>,
    failure: Option<String>,
}

fn read(bytes: Vec<u8>) -> Reading {
    let mut reading = Reading::default();
    let mut recording = match Recording::of(Cursor::new(bytes)) {
        Ok(recording) => recording,
        Err(error) => {
            reading.failure = Some(error.to_string());
            return reading;
        }
    };
    loop {
        match recording.read_line() {
            Ok(None) => return reading,
            Ok(Some(Ok(_))) => reading.good += 1,
            Ok(Some(Err(unreadable))) => {
                assert!(!unreadable.why.is_empty());
                reading.bad.push(unreadable.line);
            }
            Err(error) => {
                reading.failure = Some(error.to_string());
                return reading;
            }
        }
    }
}

#[test]
fn what_is_not_damaged_is_read_in_every_form() {
    for form in FORMS {
        let reading = read(form(whole().as_bytes()));
        assert_eq!(reading.good, whole().lines().count());
        assert_eq!((reading.bad, reading.failure), (vec![], None));
    }
}

/// A frame that asks for terabytes of window (RFC 8878, 3.1.1.1.2) is refused before it gets them.
#[test]
fn a_frame_that_asks_for_too_much_memory_is_refused() {
    let reading = read(b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00".to_vec());
    assert_eq!((reading.good, reading.bad), (0, vec![]));
    assert!(reading.failure.is_some());
}

/// 64 MiB of one line, in a few KiB.
#[test]
fn what_swells_without_a_line_feed_is_one_line_that_is_too_long() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let chunk = vec![b'x'; 1024 * 1024];
    for _ in 0..64 {
        encoder.write_all(&chunk).unwrap();
    }
    encoder.write_all(b"\n").unwrap();
    let reading = read(encoder.finish().unwrap());
    assert_eq!((reading.good, reading.bad), (0, vec![1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is before the cut is read, and the cut is noticed but between two lines.
    #[test]
    fn a_recording_that_is_cut_gives_what_is_before_the_cut(at in any::<Index>()) {
        let whole = whole();
        let at = at.index(whole.len());
        let (before, after) = whole.split_at(at);
        let line = before.rsplit('\n').next().unwrap_or_default();
        // The last line may lack nothing but its line feed.
        let complete = !line.is_empty() && after.starts_with('\n');
        let good = before.matches('\n').count() + usize::from(complete);
        let bad = usize::from(!line.is_empty() && !complete);
        let reading = read(before.into());
        prop_assert_eq!((reading.good, reading.bad.len()), (good, bad));
        prop_assert_eq!(reading.failure, None);
    }

    #[test]
    fn a_compressed_recording_that_is_cut_says_so(at in any::<Index>(), form in 1..3_usize) {
        let bytes = FORMS[form](whole().as_bytes());
        // The magic number tells that it is one.
        let at = at.index(bytes.len() - 5) + 4;
        let reading = read(bytes[..at].to_vec());
        prop_assert!(reading.good <= whole().lines().count());
        prop_assert!(reading.failure.is_some(), "{:?} of {} bytes", reading, at);
    }

    #[test]
    fn overwritten_bytes_end_in_lines_that_are_named_or_in_a_failure(
        places in vec((any::<Index>(), any::<u8>()), 1..8),
        form in 0..3_usize,
    ) {
        let mut bytes = FORMS[form](whole().as_bytes());
        for (at, byte) in places {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let reading = read(bytes);
        prop_assert!(reading.bad.is_sorted());
    }

    #[test]
    fn junk_in_the_middle_costs_the_lines_that_it_touches(
        junk in vec(any::<u8>(), 1..300),
        line in any::<Index>(),
    ) {
        let whole = whole();
        let mut lines: Vec<&[u8]> = whole.lines().map(str::as_bytes).collect();
        let number = lines.len();
        // Never the first, whose beginning would be a magic number.
        let at = line.index(number - 1) + 1;
        lines.insert(at, &junk);
        let reading = read(lines.join(&b'\n'));
        prop_assert_eq!(reading.good, number);
        let touched = junk.split(|&byte| byte == b'\n').count();
        prop_assert_eq!(reading.bad.len(), touched);
        prop_assert_eq!(reading.failure, None);
    }
}
