//! What clap says of a mistake, made to fit a command line that takes words only after `--`.

use std::ffi::OsString;

use clap::{
    CommandFactory as _,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;
use crate::alike::nearest;

/// A word that stands alone was meant for a subcommand, and no option for a value.
pub(super) fn mended(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let word = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => {
            word.clone()
        }
        _ => return error,
    };
    let mut command = Cli::command();
    let first = args.get(1).and_then(|first| first.to_str());
    let within = first.is_some_and(|first| command.find_subcommand(first).is_some());
    if !within && !word.starts_with('-') {
        let message = about_subcommand(&word, &command);
        return command.error(ErrorKind::InvalidSubcommand, message);
    }
    if let Some(ContextValue::StyledStrs(tips)) = error.remove(ContextKind::Suggested) {
        let is_apt = |tip: &StyledStr| !tip.to_string().contains(" as a value");
        let tips: Vec<_> = tips.into_iter().filter(is_apt).collect();
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    error
}

/// `--` stands at the end.
pub(super) fn no_command() -> clap::Error {
    let message = "no command follows `--`\n\n  tip: if it comes from a variable, the variable is \
                   empty; to watch the whole machine, leave out `--`";
    Cli::command().error(ErrorKind::MissingRequiredArgument, message)
}

fn about_subcommand(word: &str, command: &clap::Command) -> String {
    let names = command
        .get_subcommands()
        .filter(|known| !known.is_hide_set());
    let names = names.map(clap::Command::get_name).chain(["help"]);
    match nearest(word, names) {
        Some(name) if name == word => {
            format!("the subcommand '{word}' comes first, and its options after it")
        }
        Some(name) => format!(
            "unrecognized subcommand '{word}'\n\n  tip: a similar subcommand exists: '{name}'"
        ),
        None => format!(
            "unrecognized subcommand '{word}'\n\n  tip: to run a command and watch it, use '-- {word}'"
        ),
    }
}
