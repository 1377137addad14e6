//! A record of the ring: any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portwatch::{
    explain::{Facts, explain},
    source::{
        decode::{ClockOffset, decode},
        record::Record,
    },
};

/// Lengths of an outcome and of an attempt: others are told apart at the first look.
const LENGTHS: [usize; 2] = [32, 240];

fuzz_target!(|bytes: &[u8]| {
    for length in LENGTHS.into_iter().chain([bytes.len()]) {
        let mut record = bytes.to_owned();
        record.resize(length, 0);
        if let Ok(Record::Attempt(attempt)) = decode(&record, ClockOffset(i64::MAX)) {
            explain(&attempt, &Facts::default());
        }
    }
});
