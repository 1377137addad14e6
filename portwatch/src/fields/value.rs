//! What a field holds, before a format has made text of it.

use std::net::IpAddr;

use crate::{
    errno::Errno,
    event::{Options, Proto, Time},
};

/// A value, and by its kind whether somebody else may have chosen it.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Not known, or not there
    Unknown,
    Flag(bool),
    Signed(i64),
    Unsigned(u64),
    /// As /proc/PID/status has capabilities
    Hex(u64),
    Time(Time),
    Address(IpAddr),
    Errno(Errno),
    Proto(Proto),
    Options(Options),
    /// One of our own words
    Word(&'static str),
    Words(&'static [&'static str]),
    /// The name behind a user id
    User(u32),
    /// Chosen by others, byte for byte
    Foreign(&'a [u8]),
    /// The same, several
    List(&'a [String]),
    /// A sentence or a command of our own, which may quote what others chose
    Prose(&'a str),
    Proses(&'a [String]),
    /// The same, made for this value: of what comes once in a run
    Made(String),
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Into::into)
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $made:expr;)*) => {
        $(impl From<$type> for Value<'_> {
            fn from($value: $type) -> Self {
                $made
            }
        })*
    };
}

from! {
    bool => |value| Self::Flag(value);
    i64 => |value| Self::Signed(value);
    i32 => |value| Self::Signed(value.into());
    u8 => |value| Self::Unsigned(value.into());
    u16 => |value| Self::Unsigned(value.into());
    u32 => |value| Self::Unsigned(value.into());
    u64 => |value| Self::Unsigned(value);
    Time => |value| Self::Time(value);
    IpAddr => |value| Self::Address(value);
    Errno => |value| Self::Errno(value);
    Proto => |value| Self::Proto(value);
    Options => |value| Self::Options(value);
    &'static str => |value| Self::Word(value);
    String => |value| Self::Made(value);
}
