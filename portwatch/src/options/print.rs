//! The options as a file would have them, each with where it comes from.

use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource};

use super::{Given, contradicts, value::is_list};

/// One option a line; those that have no value are left out.
pub(super) fn toml(keys: &clap::Command, matches: &ArgMatches, given: &[Given]) -> String {
    let visible = keys.get_arguments().filter(|arg| !arg.is_hide_set());
    let lines = visible.filter_map(|arg| {
        let long = arg.get_long()?;
        let value = value(arg, matches)?;
        let given = given.iter().find(|given| given.long == long);
        let typed = matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let origin = match given {
            Some(given) => given.origin.to_string(),
            None if typed => "command line".to_owned(),
            // Beside what was given it would say nothing, and could not be read again.
            None if is_overruled(long, keys, matches) => return None,
            None => "default".to_owned(),
        };
        Some(format!("{long} = {value}  # {origin}\n"))
    });
    lines.collect()
}

/// Whether an option that was given contradicts a default.
fn is_overruled(long: &str, keys: &clap::Command, matches: &ArgMatches) -> bool {
    let is_given = |arg: &&Arg| {
        let source = matches.value_source(arg.get_id().as_str());
        source == Some(ValueSource::CommandLine)
    };
    let mut given = keys.get_arguments().filter(is_given);
    given.any(|arg| {
        arg.get_long()
            .is_some_and(|other| contradicts(keys, other, long))
    })
}

fn value(arg: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = arg.get_id().as_str();
    match arg.get_action() {
        ArgAction::SetTrue => Some(matches.get_flag(id).to_string()),
        ArgAction::Count => Some(matches.get_count(id).to_string()),
        _ => {
            let raw = matches.get_raw(id).into_iter().flatten();
            let mut texts: Vec<_> = raw.map(|raw| quoted(&raw.to_string_lossy())).collect();
            if is_list(arg) {
                return Some(format!("[{}]", texts.join(", ")));
            }
            texts.pop()
        }
    }
}

/// What JSON escapes, TOML reads: its basic strings have the same escapes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
