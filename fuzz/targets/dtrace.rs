//! Lines that are to be the DTrace script's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portwatch::{
    event::System,
    explain::{Facts, explain},
    source::dtrace::{
        decode,
        line::{self, Line},
    },
};

fuzz_target!(|bytes: &[u8]| {
    let systems = ["Linux", "macOS 14"].map(|name| System::named(name).expect("it is one"));
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(Line::Attempt(call)) = line::parse(line) else {
            continue;
        };
        for system in systems {
            if let Some(attempt) = decode::attempt(&call, system) {
                explain(&attempt, &Facts::default());
            }
        }
    }
});
