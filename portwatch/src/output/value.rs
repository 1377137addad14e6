//! How the value of a field is written: as harmless text, or as JSON.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
};

use super::{
    digits::rfc3339,
    sanitize::{escape_into, escape_prose_into},
};
use crate::{
    event::{Proto, Time},
    fields::Value,
    users::Users,
};

/// Appends a value as text in which nothing can end the line or move the cursor. False, and
/// nothing, where there is no value.
pub(super) fn write_text(out: &mut String, value: &Value<'_>, users: &mut Users) -> bool {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Unknown => return false,
        Value::Flag(flag) => write!(out, "{flag}"),
        Value::Signed(number) => write!(out, "{number}"),
        Value::Unsigned(number) => write!(out, "{number}"),
        Value::Hex(number) => write!(out, "{number:016x}"),
        Value::Time(time) => write!(out, "{}", Rfc3339(*time)),
        Value::Address(ip) => write!(out, "{ip}"),
        Value::Errno(errno) => write!(out, "{errno}"),
        Value::Proto(proto) => write!(out, "{}", ProtoName(*proto)),
        Value::Word(word) => out.write_str(word),
        Value::Options(options) => {
            join(out, options.names(), ",", String::push_str);
            Ok(())
        }
        Value::Words(words) => {
            join(out, words.iter(), ",", |out, word| out.push_str(word));
            Ok(())
        }
        Value::User(uid) => match users.name(*uid) {
            Some(name) => {
                escape_into(out, name.as_bytes());
                Ok(())
            }
            None => return false,
        },
        Value::Foreign(bytes) => {
            escape_into(out, bytes);
            Ok(())
        }
        Value::List(items) => {
            join(out, items.iter(), " ", |out, item| {
                escape_into(out, item.as_bytes());
            });
            Ok(())
        }
        Value::Prose(text) => {
            escape_prose_into(out, text);
            Ok(())
        }
        Value::Made(text) => {
            escape_prose_into(out, text);
            Ok(())
        }
        Value::Proses(items) => {
            join(out, items.iter(), "; ", |out, item| {
                escape_prose_into(out, item);
            });
            Ok(())
        }
    };
    true
}

fn join<T>(
    out: &mut String,
    items: impl Iterator<Item = T>,
    separator: &str,
    write: impl Fn(&mut String, T),
) {
    for (number, item) in items.enumerate() {
        if number > 0 {
            out.push_str(separator);
        }
        write(out, item);
    }
}

/// Writes a value as JSON; of bytes that are not UTF-8, U+FFFD. A user without a name is null.
pub(super) fn write_json<W: Write>(
    out: &mut W,
    value: &Value<'_>,
    users: &mut Users,
) -> io::Result<()> {
    match value {
        Value::Unknown => out.write_all(b"null"),
        Value::Flag(flag) => write!(out, "{flag}"),
        Value::Signed(number) => write!(out, "{number}"),
        Value::Unsigned(number) => write!(out, "{number}"),
        // None of these has a character that JSON escapes.
        Value::Hex(number) => write!(out, "\"{number:016x}\""),
        Value::Time(time) => write!(out, "\"{}\"", Rfc3339(*time)),
        Value::Address(ip) => write!(out, "\"{ip}\""),
        Value::Errno(errno) => write!(out, "\"{errno}\""),
        Value::Proto(proto) => write!(out, "\"{}\"", ProtoName(*proto)),
        Value::Word(word) => write!(out, "\"{word}\""),
        Value::Options(options) => array(out, options.names(), |out, name| string(out, name)),
        Value::Words(words) => array(out, words.iter(), |out, word| string(out, word)),
        Value::User(uid) => Ok(serde_json::to_writer(out, &users.name(*uid))?),
        Value::Foreign(bytes) => string(out, &String::from_utf8_lossy(bytes)),
        Value::Prose(text) => string(out, text),
        Value::Made(text) => string(out, text),
        Value::List(items) | Value::Proses(items) => {
            array(out, items.iter(), |out, item| string(out, item))
        }
    }
}

pub(super) fn string<W: Write>(out: &mut W, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

fn array<W: Write, T>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut W, T) -> io::Result<()>,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (number, item) in items.enumerate() {
        if number > 0 {
            out.write_all(b",")?;
        }
        write(out, item)?;
    }
    out.write_all(b"]")
}

/// In UTC, with nanoseconds.
pub(super) struct Rfc3339(pub(super) Time);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(rfc3339(self.0).as_str())
    }
}

/// `tcp`; `proto-99` of a number without a name.
struct ProtoName(Proto);

impl fmt::Display for ProtoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.name(), self.0) {
            (Some(name), _) => f.write_str(name),
            (None, Proto::Ip(number)) => write!(f, "proto-{number}"),
            (None, Proto::Raw) => f.write_str("raw"),
        }
    }
}
