//! What the command line means: validated, with the defaults that depend on the surroundings.

mod filters;
mod names;

use std::io::IsTerminal as _;

use self::names::Host;
use crate::{
    cli::{self, Watch},
    filter::{self, Filter},
    users::Users,
};

/// Everything that watching needs to know.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Clone, Debug)]
pub struct Config {
    pub filter: Filter,
    /// The filters as they were typed, for the start line
    pub filters_typed: Vec<String>,
    pub kernel_threads: bool,
    pub seccomp: bool,
    /// Whether look-ups may take as long as they do
    pub patient: bool,
    pub format: cli::Format,
    /// Whether the arguments of processes are wanted
    pub cmdline: bool,
    /// How much to say of causes; `None` where they are not wanted
    pub explain: Option<cli::Explain>,
    pub colour: bool,
    pub header: bool,
    pub quiet: bool,
    /// 0 says warnings, 1 also what portwatch does, 2 also what the eBPF side says
    pub verbosity: u8,
    pub count: Option<u64>,
    pub duration: Option<std::time::Duration>,
    pub source: cli::Source,
}

/// The command line cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("invalid value for '--{option}': {error}")]
    Filter {
        option: &'static str,
        error: filter::Error,
    },
    #[error("{0} has no meaning in a replay")]
    NotInReplay(&'static str),
}

impl Config {
    pub fn new(watch: &Watch, users: &Users) -> Result<Self, ConfigError> {
        let filter = filters::compile(&watch.filters, &Host::new(users))?;
        Ok(Self {
            filter,
            filters_typed: filters::typed(&watch.filters),
            kernel_threads: watch.kernel,
            seccomp: watch.seccomp,
            patient: watch.patient,
            format: if watch.json {
                cli::Format::Json
            } else {
                watch.output
            },
            cmdline: watch.cmdline,
            explain: (!watch.no_explain).then_some(watch.explain),
            colour: colour(watch.color),
            header: !watch.no_header,
            quiet: watch.quiet,
            verbosity: watch.verbose,
            count: watch.count,
            duration: watch.duration,
            source: watch.source,
        })
    }
}

impl Config {
    /// For a replay, in which nothing is watched.
    pub fn of_replay(watch: &Watch, users: &Users) -> Result<Self, ConfigError> {
        let live = [
            (watch.kernel, "--kernel"),
            (watch.seccomp, "--seccomp"),
            (watch.cmdline, "--cmdline"),
            (watch.duration.is_some(), "--duration"),
            (watch.source != cli::Source::Auto, "--source"),
        ];
        match live.into_iter().find(|(given, _)| *given) {
            Some((_, option)) => Err(ConfigError::NotInReplay(option)),
            None => Self::new(watch, users),
        }
    }

    /// Whether standard output takes colours, where nobody says when to use them.
    pub fn colour_by_default() -> bool {
        colour(cli::Colour::Auto)
    }
}

/// On a terminal that can, unless NO_COLOR or TERM=dumb asks otherwise.
fn colour(wanted: cli::Colour) -> bool {
    let stdout = std::io::stdout();
    match wanted {
        cli::Colour::Always => true,
        cli::Colour::Never => false,
        cli::Colour::Auto => {
            stdout.is_terminal()
                && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn config(args: &[&str]) -> Result<Config, ConfigError> {
        let args = std::iter::once("portwatch").chain(args.iter().copied());
        Config::new(&Cli::try_parse_from(args).unwrap().watch, &Users::new())
    }

    #[test]
    fn a_filter_that_cannot_be_read_names_its_option() {
        let error = config(&["-u", "0,no-such-user"]).unwrap_err();
        insta::assert_snapshot!(error, @r"
        invalid value for '--user': there is no user `no-such-user` on this host; a number works without a name
          0,no-such-user
            ^^^^^^^^^^^^
        ");
    }

    #[test]
    fn a_replay_takes_no_option_of_a_watch() {
        let parsed = |args: &[&str]| {
            let args = ["portwatch", "replay", "-"].iter().chain(args);
            match Cli::try_parse_from(args).unwrap().command {
                Some(cli::Command::Replay { watch, .. }) => {
                    Config::of_replay(&watch, &Users::new())
                }
                other => panic!("{other:?}"),
            }
        };
        assert!(parsed(&["-x", "--json", "-c", "1"]).is_ok());
        for option in [
            "--kernel",
            "--seccomp",
            "--cmdline",
            "--duration=1",
            "--source=fexit",
        ] {
            let error = parsed(&[option]).unwrap_err().to_string();
            let name = option.split('=').next().unwrap();
            assert_eq!(error, format!("{name} has no meaning in a replay"));
        }
    }

    #[test]
    fn json_is_short_for_the_format() {
        assert_eq!(config(&["--json"]).unwrap().format, cli::Format::Json);
    }
}
