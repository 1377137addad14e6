//! A line of JSON that is written straight into its buffer.
//!
//! For attempts alone: what comes as often as they do has no use for a serializer that asks of each
//! character of each key whether it is to be escaped. What only some of them have is left to serde.

use std::{borrow::Cow, io, net::IpAddr};

use serde::Serialize;

use crate::{
    event::{Options, Time},
    output::{digits, memo::Memo},
};

/// An object, as far as it is written.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
}

/// The fields of a [`Line`], in their order: name, method, value. The names hold nothing that JSON
/// escapes.
macro_rules! fields {
    ($line:ident: $($name:literal $method:ident $value:expr;)*) => {
        $($line.$method(concat!(",\"", $name, "\":"), $value);)*
    };
}
pub(super) use fields;

impl<'a> Line<'a> {
    /// With its first fields.
    pub(super) fn begin(out: &'a mut Vec<u8>, first: &'static str) -> Self {
        out.extend_from_slice(first.as_bytes());
        Self { out }
    }

    /// What is not known is null. Inlined, so that the length of a key is known where it is copied.
    #[inline]
    pub(super) fn put(&mut self, key: &'static str, value: impl Put) {
        self.out.extend_from_slice(key.as_bytes());
        value.put(self.out);
    }

    /// What is not known is left out.
    #[inline]
    pub(super) fn known(&mut self, key: &'static str, value: Option<impl Put>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// Only what is true is written.
    pub(super) fn flag(&mut self, key: &'static str, value: bool) {
        if value {
            self.put(key, true);
        }
    }

    /// Fields that are written of `key` alone, which may have been written before.
    pub(super) fn remembered<K: PartialEq>(
        &mut self,
        memo: &mut Memo<K>,
        key: K,
        write: impl FnOnce(&K, &mut Line<'_>),
    ) {
        memo.put(self.out, key, |key, out| write(key, &mut Line { out }));
    }

    /// Of many times in a row the second is the same.
    pub(super) fn time(&mut self, key: &'static str, seconds: &mut Memo<i64>, time: Time) {
        let (second, nanos) = digits::split(time);
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'"');
        seconds.put(self.out, second, |second, out| {
            digits::date_time(*second).append_to(out);
        });
        digits::nanoseconds(nanos).append_to(self.out);
        self.out.push(b'"');
    }

    /// An object of serde's; left out where there is none.
    pub(super) fn object(
        &mut self,
        key: &'static str,
        value: Option<impl Serialize>,
    ) -> io::Result<()> {
        if let Some(value) = value {
            self.out.extend_from_slice(key.as_bytes());
            serde_json::to_writer(&mut *self.out, &value)?;
        }
        Ok(())
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

/// A value that is written as it comes.
pub(super) trait Put {
    fn put(self, out: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Put for $number {
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
            }
        })*
    };
}

numbers! { u8 u16 u32 u64 i32 }

impl Put for bool {
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self { b"true" } else { b"false" });
    }
}

impl<T: Put> Put for Option<T> {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.put(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// A name of our own, in which nothing is to be escaped.
pub(super) struct Name(pub(super) &'static str);

impl Put for Name {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        quote(out, self.0.as_bytes());
    }
}

impl Put for &str {
    fn put(self, out: &mut Vec<u8>) {
        let is_special = |byte| byte < b' ' || byte == b'"' || byte == b'\\';
        // Of all bytes, without an end at the first: many are looked at in one instruction.
        let special = self.bytes().fold(false, |any, byte| any | is_special(byte));
        if special {
            serde_json::to_writer(out, self).expect("a string always serialises");
        } else {
            quote(out, self.as_bytes());
        }
    }
}

impl Put for Cow<'_, str> {
    fn put(self, out: &mut Vec<u8>) {
        (&*self).put(out);
    }
}

impl Put for IpAddr {
    fn put(self, out: &mut Vec<u8>) {
        match digits::as_ipv4(self) {
            Some(ip) => {
                out.push(b'"');
                digits::ipv4(ip).append_to(out);
                out.push(b'"');
            }
            None => serde_json::to_writer(out, &self).expect("an address always serialises"),
        }
    }
}

impl Put for Options {
    fn put(self, out: &mut Vec<u8>) {
        list(out, self.names().map(Name));
    }
}

impl Put for &[String] {
    fn put(self, out: &mut Vec<u8>) {
        list(out, self.iter().map(String::as_str));
    }
}

fn list(out: &mut Vec<u8>, items: impl Iterator<Item = impl Put>) {
    out.push(b'[');
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        item.put(out);
    }
    out.push(b']');
}

/// What needs no escape, in quotes.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: impl Put) -> String {
        let mut out = Vec::new();
        value.put(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn whatever_a_string_holds_is_written_as_serde_writes_it(text in any::<String>()) {
            prop_assert_eq!(written(text.as_str()), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn so_is_an_address(ip in any::<IpAddr>()) {
            prop_assert_eq!(written(ip), serde_json::to_string(&ip).unwrap());
        }

        #[test]
        fn so_are_lists(items in proptest::collection::vec(any::<String>(), 0..4)) {
            prop_assert_eq!(written(&items[..]), serde_json::to_string(&items).unwrap());
        }

        #[test]
        fn so_are_numbers_and_what_is_not_known(number in any::<Option<i32>>()) {
            prop_assert_eq!(written(number), serde_json::to_string(&number).unwrap());
        }
    }
}
