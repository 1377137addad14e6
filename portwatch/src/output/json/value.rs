//! How single values are written.
#![expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference to the field"
)]

use serde::Serializer;

use crate::{event::Time, output::digits};

pub(super) fn rfc3339<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(digits::rfc3339(*time).as_str())
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
