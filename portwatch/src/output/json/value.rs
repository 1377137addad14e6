//! How single values are written.
#![expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference to the field"
)]

use serde::Serializer;

use crate::{
    errno::Errno,
    event::{self, Proto, Time},
};

pub(super) fn rfc3339<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::from_nanosecond(i128::from(time.0)) {
        Ok(time) => serializer.collect_str(&format_args!("{time:.9}")),
        Err(_) => serializer.serialize_none(),
    }
}

pub(super) fn maybe_rfc3339<S: Serializer>(
    time: &Option<Time>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn proto<S: Serializer>(
    proto: &Option<Proto>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match proto.map(|proto| (proto.name(), proto)) {
        Some((Some(name), _)) => serializer.serialize_str(name),
        // A protocol without a name is shown by its number: `proto-99`.
        Some((None, Proto::Ip(number))) => serializer.collect_str(&format_args!("proto-{number}")),
        Some((None, Proto::Raw)) | None => serializer.serialize_none(),
    }
}

pub(super) fn errno<S: Serializer>(
    errno: &Option<Errno>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match errno {
        Some(errno) => serializer.collect_str(errno),
        None => serializer.serialize_none(),
    }
}

pub(super) fn options<S: Serializer>(
    options: &Option<event::Options>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match options {
        Some(options) => serializer.collect_seq(options.names()),
        None => serializer.serialize_none(),
    }
}

/// As /proc/PID/status has it.
pub(super) fn hex<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(&format_args!("{value:016x}")),
        None => serializer.serialize_none(),
    }
}

pub(super) const fn is_false(value: &bool) -> bool {
    !*value
}
