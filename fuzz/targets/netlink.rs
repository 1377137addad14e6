//! Answers of netlink.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portwatch::{
    facts::address::{self, Link},
    netlink::{attributes, messages},
    sockets::diag,
};

fuzz_target!(|bytes: &[u8]| {
    for message in messages(bytes) {
        diag::parse(message.body);
        address::parse(message.body);
        Link::parse(message.body);
        for (_, value) in attributes(message.body) {
            attributes(value).for_each(drop);
        }
    }
});
