//! A filter expression, as somebody types it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portwatch::filter::{Expr, Names};

/// A host on which names of one letter exist.
struct Host;

impl Names for Host {
    fn user(&self, name: &str) -> Option<u32> {
        (name.len() == 1).then_some(1000)
    }

    fn netns(&self, name: &str) -> Result<u32, String> {
        self.user(name)
            .ok_or_else(|| format!("{name}: no such namespace"))
    }

    fn container(&self, name: &str) -> Option<String> {
        self.user(name).map(|_| "3f25".to_owned())
    }
}

fuzz_target!(|text: &str| {
    // What is wrong is shown with its place, which takes looking at the text again.
    let _shown = Expr::parse(text, &Host).map_err(|error| error.to_string());
});
