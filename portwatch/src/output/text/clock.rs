//! Wall-clock time in a time zone.

use std::fmt::{self, Write};

use jiff::{Timestamp, tz::TimeZone};

use crate::{event::Time, output::digits};

/// Writes times of day; remembers the last second, since many attempts share one.
#[derive(Debug)]
pub(crate) struct Clock {
    timezone: TimeZone,
    second: Option<i64>,
    /// `03:04:05`
    text: String,
}

impl Clock {
    pub(crate) const fn new(timezone: TimeZone) -> Self {
        Self {
            timezone,
            second: None,
            text: String::new(),
        }
    }

    /// `03:04:05.678`, or without the milliseconds.
    pub(crate) fn write(&mut self, out: &mut String, time: Time, millis: bool) -> fmt::Result {
        let (second, nanos) = digits::split(time);
        if self.second != Some(second) {
            self.text.clear();
            // Every second that 64 bits of nanoseconds reach is within jiff's range.
            let timestamp = Timestamp::from_second(second).map_err(|_| fmt::Error)?;
            let local = self.timezone.to_datetime(timestamp);
            write!(
                self.text,
                "{:02}:{:02}:{:02}",
                local.hour(),
                local.minute(),
                local.second()
            )?;
            self.second = Some(second);
        }
        out.push_str(&self.text);
        if millis {
            out.push_str(digits::millis(nanos).as_str());
        }
        Ok(())
    }
}
