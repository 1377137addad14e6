//! Files of /proc/PID, in which processes have a say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portwatch::{
    cgroup::{container, membership, mount::Mounts, unit},
    facts::Credentials,
    process::{stat::Stat, status::Status},
};

fuzz_target!(|bytes: &[u8]| {
    let stat = Stat::parse(bytes);
    assert!(stat.is_none_or(|stat| stat.comm.len() < 16));
    Status::parse(bytes);
    Credentials::parse(bytes);
    Mounts::parse(bytes);
    for line in membership::lines(bytes) {
        let path = String::from_utf8_lossy(line.path);
        unit::of(&path);
        container::of(&path);
    }
});
