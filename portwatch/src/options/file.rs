//! A file of options.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use toml::de::DeTable;

use super::{Given, Origin, Value, keys, named};
use crate::alike::nearest;

/// Bytes of a file that are read: far more than all options take.
const LEN: u64 = 1024 * 1024;

/// Who a file belongs to, if that is neither root nor the user.
pub(super) fn stranger(file: &Path, uid: u32) -> Option<u32> {
    let owner = fs::metadata(file).ok()?.uid();
    (owner != 0 && owner != uid).then_some(owner)
}

pub(super) fn read(file: &Path) -> Result<Vec<Given>, String> {
    let unreadable = |error| format!("cannot read {}: {error}", file.display());
    let mut text = String::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened
        .take(LEN)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    parse(file, &text)
}

/// What a file's text gives.
pub(super) fn parse(file: &Path, text: &str) -> Result<Vec<Given>, String> {
    let at = |offset| origin(file, text, offset);
    let table = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        format!("{}: {}", at(start), error.message())
    })?;
    let keys = keys();
    let mut given = Vec::new();
    // In the order of the file: the first mistake is the one that is said.
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let Some(arg) = named(&keys, key.get_ref()) else {
            return Err(format!(
                "{}: {}",
                at(key.span().start),
                unknown(key.get_ref(), &keys)
            ));
        };
        let origin = at(value.span().start);
        given.push(Given::new(arg, &Value::of_file(value.get_ref()), origin)?);
    }
    Ok(given)
}

fn unknown(key: &str, keys: &clap::Command) -> String {
    let visible = keys.get_arguments().filter(|arg| !arg.is_hide_set());
    let names = visible.filter_map(clap::Arg::get_long);
    match nearest(key, names) {
        Some(name) => format!("there is no option `{key}`; did you mean `{name}`?"),
        None => format!("there is no option `{key}` that a file can set"),
    }
}

/// Both from 1; columns are characters.
fn origin(file: &Path, text: &str, offset: usize) -> Origin {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Origin::Line {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: line.chars().count() + 1,
    }
}
