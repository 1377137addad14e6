//! A recording: plain, or behind one of the compressions.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use portwatch::source::replay::Recording;

/// What a small file may be unpacked to, for one run not to take all the time there is.
const LINES: usize = 10_000;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut recording) = Recording::of(Cursor::new(bytes.to_owned())) else {
        return;
    };
    for _ in 0..LINES {
        if !matches!(recording.read_line(), Ok(Some(_))) {
            return;
        }
    }
});
