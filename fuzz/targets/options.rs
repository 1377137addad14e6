//! A file of options.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use portwatch::options;

fuzz_target!(|text: &str| {
    let _shown = options::check_text(Path::new("portwatch.toml"), text);
});
