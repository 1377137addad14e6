//! The kernel's type information, made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portwatch::source::btf::Btf;

const STRUCTS: [&str; 3] = ["sock", "inet_sock", "task_struct"];
const FUNCTIONS: [&str; 2] = ["inet_bind", "tcp_v4_connect"];
/// Deep, shallow, and a bit field.
const FIELDS: [&str; 4] = [
    "sock.__sk_common.skc_family",
    "sock.__sk_common.skc_reuse",
    "inet_sock.inet_flags",
    "task_struct.tgid",
];

fuzz_target!(|bytes: &[u8]| {
    if let Ok(btf) = Btf::parse(bytes, &STRUCTS, &FUNCTIONS) {
        for field in FIELDS {
            btf.field(field);
        }
    }
});
