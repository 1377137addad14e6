//! Numbers, addresses and times in digits. Each attempt has a dozen of them, and the machinery of
//! `format!` takes several times as long as the digits do.

use std::net::{IpAddr, Ipv4Addr};

use jiff::tz::Offset;

use crate::event::Time;

/// Up to N characters of ASCII.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ascii<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Ascii<N> {
    const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Appends it. All N bytes are copied and what is not its own is cut off again: a copy of a length
    /// that the compiler knows takes a few instructions, another one a call.
    #[inline]
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }

    fn push_all(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn push_octet(&mut self, number: u8) {
        if number >= 100 {
            self.push(b'0' + number / 100);
        }
        if number >= 10 {
            self.push(b'0' + number / 10 % 10);
        }
        self.push(b'0' + number % 10);
    }

    /// In as many digits as `width` says, zeros before it.
    fn push_padded(&mut self, mut number: u32, width: usize) {
        let end = self.len + width;
        for digit in self.bytes[self.len..end].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.len = end;
    }
}

pub(super) fn ipv4(ip: Ipv4Addr) -> Ascii<15> {
    let mut text = Ascii::new();
    for (place, octet) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            text.push(b'.');
        }
        text.push_octet(octet);
    }
    text
}

/// An IPv4 address; those of IPv6 have rules that the standard library knows.
pub(super) const fn as_ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// `.678`
pub(super) fn millis(nanos: u32) -> Ascii<4> {
    let mut text = Ascii::new();
    text.push(b'.');
    text.push_padded(nanos / 1_000_000, 3);
    text
}

/// RFC 3339 in UTC, with nanoseconds.
pub(super) fn rfc3339(time: Time) -> Ascii<30> {
    let (second, nanos) = split(time);
    let mut text = Ascii::new();
    text.push_all(date_time(second).as_bytes());
    text.push_all(nanoseconds(nanos).as_bytes());
    text
}

/// What comes first of it: `2001-02-03T04:05:06`
pub(super) fn date_time(second: i64) -> Ascii<19> {
    // Every second that 64 bits of nanoseconds reach is within jiff's range.
    let at = Offset::UTC.to_datetime(jiff::Timestamp::from_second(second).unwrap_or_default());
    let mut text = Ascii::new();
    text.push_padded(at.year().unsigned_abs().into(), 4);
    for (before, number) in [
        (b'-', at.month()),
        (b'-', at.day()),
        (b'T', at.hour()),
        (b':', at.minute()),
        (b':', at.second()),
    ] {
        text.push(before);
        text.push_padded(number.unsigned_abs().into(), 2);
    }
    text
}

/// And what comes last: `.678901234Z`
pub(super) fn nanoseconds(nanos: u32) -> Ascii<11> {
    let mut text = Ascii::new();
    text.push(b'.');
    text.push_padded(nanos, 9);
    text.push(b'Z');
    text
}

/// The second, and the nanoseconds in it.
pub(super) fn split(Time(time): Time) -> (i64, u32) {
    const NANOS: i64 = 1_000_000_000;
    let nanos = time.rem_euclid(NANOS);
    (time.div_euclid(NANOS), u32::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_written_as_jiff_writes_it(nanos in any::<i64>()) {
            let expected = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap();
            let text = rfc3339(Time(nanos));
            prop_assert_eq!(text.as_str(), format!("{expected:.9}"));
        }

        #[test]
        fn an_address_is_written_as_the_standard_library_writes_it(octets in any::<[u8; 4]>()) {
            let ip = Ipv4Addr::from(octets);
            let text = ipv4(ip);
            prop_assert_eq!(text.as_str(), ip.to_string());
        }

        #[test]
        fn milliseconds_have_three_digits(nanos in 0..1_000_000_000_u32) {
            let text = millis(nanos);
            prop_assert_eq!(text.as_str(), format!(".{:03}", nanos / 1_000_000));
        }
    }

    #[test]
    fn the_ends_of_time_have_dates() {
        for nanos in [i64::MIN, -1, 0, i64::MAX] {
            let expected = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap();
            assert_eq!(rfc3339(Time(nanos)).as_str(), format!("{expected:.9}"));
        }
    }
}
