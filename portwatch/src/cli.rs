//! The command line, exactly as it was typed. What it means is decided in [`crate::config`].

mod choices;
mod filters;
mod mistake;
pub mod moot;
mod why;

use std::{ffi::OsString, num::NonZeroU32, path::PathBuf};

use clap::{ArgAction, ArgMatches, CommandFactory as _, Parser, Subcommand};

pub use self::{
    choices::{Colour, Explain, Format, Source},
    filters::Filters,
    why::{ExplainCause, Why},
};

use crate::{
    event::System,
    fields::{List, Template},
};

pub(crate) const EXAMPLES: &str = "\
Examples:
  portwatch                       every attempt on this machine, as it happens
  portwatch -x                    only those that fail
  portwatch -x -- ./server        run a command: why does it not start
  portwatch -x -P 80,443          who fails to open port 80 or 443
  portwatch -u www-data --json    one user's attempts, as JSON lines
  portwatch -c 1 -P 8080          wait until something touches port 8080
  portwatch why 80                may I open port 80, and if not, why not
  portwatch explain EACCES        what can cause an error
  portwatch top                   who is busy and what fails, live on the terminal
  portwatch replay day.jsonl -x   the failures of a recording that --json made
  portwatch doctor                what this host and these privileges allow";

pub(crate) const EXIT_CODES: &str = "\
Exit status:
  0  ended as asked: by Ctrl-C, SIGTERM, -c, -d, or because the reader of the output went away
  1  something failed while running
  2  the command line is wrong, or an option that a file or the environment gives
  3  privileges are missing
  4  no source of events works on this host
  5  the answer is no: portwatch why was asked about a call that would fail
  6  macOS: System Integrity Protection hides the system calls
  7  macOS: System Integrity Protection hides the addresses
  126  the command of portwatch -- COMMAND cannot be run
  127  it is not found
  N  what that command ended with; 128 and the signal's number if a signal ended it";

/// Every bind() and connect() attempt on this machine, live: who, what, and how it ended.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, before_long_help = EXAMPLES, before_help = EXAMPLES, after_long_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub watch: Watch,

    #[command(flatten)]
    pub run: Run,

    #[command(flatten)]
    pub files: Files,
}

/// Where else options are given (docs/CONFIG.md).
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options file")]
pub struct Files {
    /// Take options from this file, not from ~/.config/portwatch/config.toml and
    /// /etc/portwatch.toml (docs/CONFIG.md)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Take options from no file
    #[arg(long, conflicts_with = "config")]
    pub no_config: bool,

    /// Print the options that result, as such a file, with where each comes from
    #[arg(long)]
    pub print_config: bool,
}

impl Cli {
    /// Reads a command line, with its program name.
    pub fn matches(args: &[OsString]) -> Result<ArgMatches, clap::Error> {
        let matches = Self::command().try_get_matches_from(args);
        let matches = matches.map_err(|error| mistake::mended(error, args))?;
        // `-- $EMPTY` asks for one command, and must not watch the whole machine.
        if matches.subcommand().is_none() && args.last().is_some_and(|last| last == "--") {
            return Err(mistake::no_command());
        }
        Ok(matches)
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Command")]
pub struct Run {
    /// Run this, follow it and all that comes of it, nothing else, and end with its status. What
    /// portwatch says goes to standard error
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// Run it as this user, by name or number; if not given, as whoever called sudo, else as
    /// whoever runs portwatch
    #[arg(long, value_name = "USER", requires = "command")]
    pub run_as: Option<String>,

    /// Stay until all that came of it has ended too, daemons included
    #[arg(long, requires = "command")]
    pub wait_all: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what this host and these privileges allow, and how to get what is missing
    Doctor {
        /// Print one JSON object instead of a table
        #[arg(long)]
        json: bool,
        /// Load the eBPF programs of every source, attaching none, and show what each takes
        #[arg(long)]
        programs: bool,
    },
    /// Show a recording again: JSON lines that portwatch wrote, through the same filters and formats
    #[command(mut_args(|arg| moot::hidden(arg, moot::IN_REPLAY)))]
    Replay {
        /// Files, gzip and zstd included; - is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,

        #[command(flatten)]
        watch: Box<Watch>,

        #[command(flatten)]
        places: Files,
    },
    /// Show what happens now on the terminal: who is busy, what fails, and why
    #[command(mut_args(|arg| moot::hidden(arg, moot::IN_TOP)))]
    Top {
        #[command(flatten)]
        watch: Box<Watch>,

        #[command(flatten)]
        places: Files,
    },
    /// Say whether a bind or connect would succeed, and if not, why not; nothing is traced
    Why(Why),
    /// List what can cause an error, or say more about one cause
    Explain(ExplainCause),
    /// Print what a shell needs to complete portwatch's options and subcommands
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all subcommands into a directory
    Man {
        /// As man looks for them: /usr/local/share/man/man1
        directory: Option<PathBuf>,
    },
    /// The process that `why --try` starts
    #[command(hide = true)]
    WhyTrial {
        /// What to do, as JSON
        order: String,
    },
}

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(next_help_heading = "Filters (all that are given must hold)")]
pub struct Watch {
    #[command(flatten)]
    pub filters: Filters,

    /// Attempts of kernel threads too (NFS, WireGuard …)
    #[arg(long)]
    pub kernel: bool,

    /// Attempts that seccomp denies too (source fexit). Its hook slows every system call of every
    /// process on this host while portwatch runs
    #[arg(long)]
    pub seccomp: bool,

    /// How to print
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        help_heading = "Output"
    )]
    pub output: Format,

    /// Short for --output json
    #[arg(long, conflicts_with = "output", help_heading = "Output")]
    pub json: bool,

    /// Only these fields, in this order; for text, wide, logfmt and csv (docs/FORMATS.md)
    #[arg(
        long,
        value_name = "FIELD,…",
        conflicts_with = "json",
        help_heading = "Output"
    )]
    pub fields: Option<List>,

    /// A line for each attempt, laid out like this: '{time} {comm} {addr}:{port} {errno}'
    #[arg(
        long,
        value_name = "TEMPLATE",
        conflicts_with_all = ["output", "json", "fields"],
        help_heading = "Output"
    )]
    pub format: Option<Template>,

    /// Count attempts instead of listing them; a terminal shows the counts as they grow
    #[arg(long, conflicts_with_all = ["fields", "format"], help_heading = "Output")]
    pub summary: bool,

    /// The same, by these fields: comm,port,errno (docs/FORMATS.md)
    #[arg(
        long,
        value_name = "FIELD,…",
        conflicts_with_all = ["fields", "format"],
        help_heading = "Output"
    )]
    pub group_by: Option<List>,

    /// Add the arguments of each process, in formats that have them. They can hold secrets
    #[arg(long, help_heading = "Output")]
    pub cmdline: bool,

    /// How much to say of causes in text; JSON has all of it, the others the cause and one fix
    #[arg(
        long,
        value_enum,
        value_name = "DETAIL",
        default_value_t,
        conflicts_with = "no_explain",
        help_heading = "Output"
    )]
    pub explain: Explain,

    /// Do not look for causes: no format has them
    #[arg(long, help_heading = "Output")]
    pub no_explain: bool,

    /// Write to this file too; it is appended to, and opened again on SIGHUP
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub log_file: Option<PathBuf>,

    /// How to write to the log file
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "json",
        requires = "log_file",
        help_heading = "Output"
    )]
    pub log_format: Format,

    /// Write to the journal too, with every field
    #[arg(
        long,
        value_name = "SOCKET",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/run/systemd/journal/socket",
        help_heading = "Output"
    )]
    pub journald: Option<PathBuf>,

    /// Write to syslog too (RFC 5424, with every field)
    #[arg(
        long,
        value_name = "SOCKET",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/dev/log",
        help_heading = "Output"
    )]
    pub syslog: Option<PathBuf>,

    /// Write in blocks instead of at once: for throughput. Lines wait for a second at most
    #[arg(long, help_heading = "Output")]
    pub buffer: bool,

    /// When to use colours; NO_COLOR is honoured
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = "Output"
    )]
    pub color: Colour,

    /// Leave out the header line of text, wide and csv
    #[arg(short = 'H', long, help_heading = "Output")]
    pub no_header: bool,

    /// Say nothing on standard error but errors
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,

    /// Say more on standard error; -vv adds what the eBPF programs and the verifier say
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// End after this many attempts were printed
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Run")]
    pub count: Option<u64>,

    /// End after this many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds, help_heading = "Run")]
    pub duration: Option<std::time::Duration>,

    /// Room for attempts that wait to be read, such as 8M: a power of two, or the next; without it
    /// 2 MiB for each CPU, at most 8 MiB and a 128th of the memory
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "Run")]
    pub ring_size: Option<NonZeroU32>,

    /// Be this user, by name or number, once everything is attached: with no more than the
    /// capabilities that a watch takes. A log file is then opened by that user
    #[arg(long, value_name = "USER", help_heading = "Run")]
    pub user_after: Option<String>,

    /// Where events come from; auto takes the best that works here
    #[arg(
        long,
        value_enum,
        value_name = "SOURCE",
        default_value_t,
        help_heading = "Run"
    )]
    pub source: Source,

    /// The program that --source dtrace starts
    #[arg(long, value_name = "FILE", hide = true)]
    pub dtrace: Option<PathBuf>,

    /// Whose calls it traces, if not this system's: "macOS 14"
    #[arg(long, value_name = "SYSTEM", value_parser = system, requires = "dtrace", hide = true)]
    pub dtrace_system: Option<System>,
}

fn system(typed: &str) -> Result<System, String> {
    System::named(typed).ok_or_else(|| format!("`{typed}` is no system"))
}

/// Seconds, with a fraction if wanted; more than 0.
fn seconds(typed: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = typed
        .parse()
        .map_err(|_| format!("`{typed}` is not a number of seconds"))?;
    if seconds <= 0.0 {
        return Err("it must be more than 0".to_owned());
    }
    std::time::Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("`{typed}` seconds cannot be counted"))
}

/// Bytes, with `K` or `M` in units of 1,024 of the one before; at most 256 MiB.
fn bytes(typed: &str) -> Result<NonZeroU32, String> {
    const MOST: u32 = 256 << 20;
    let (number, unit) = match typed.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (&typed[..end], 1 << 10),
        Some((end, 'm' | 'M')) => (&typed[..end], 1 << 20),
        _ => (typed, 1),
    };
    let number: u32 = number
        .parse()
        .map_err(|_| format!("`{typed}` is not a size such as 512K or 8M"))?;
    let bytes = number.checked_mul(unit).filter(|bytes| *bytes <= MOST);
    let bytes = bytes.ok_or("it must be 256M at most")?;
    NonZeroU32::new(bytes).ok_or_else(|| "it must be more than 0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn error(args: &[&str]) -> String {
        let args = std::iter::once("portwatch").chain(args.iter().copied());
        let args: Vec<_> = args.map(OsString::from).collect();
        Cli::matches(&args).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn zero_counts_and_durations_are_refused() {
        assert!(error(&["-c", "0"]).contains("0 is not in 1.."));
        assert!(error(&["-d", "0"]).contains("it must be more than 0"));
        assert!(error(&["-d", "-1"]).contains("error"));
        assert!(error(&["-d", "soon"]).contains("`soon` is not a number of seconds"));
        assert!(error(&["-d", "NaN"]).contains("cannot be counted"));
    }

    #[test]
    fn sizes_have_units() {
        let read = |typed| bytes(typed).map(NonZeroU32::get);
        assert_eq!(read("512K"), Ok(512 << 10));
        assert_eq!(read("8m"), Ok(8 << 20));
        assert_eq!(read("65536"), Ok(65536));
        assert_eq!(read("256M"), Ok(256 << 20));
        for (typed, why) in [
            ("257M", "it must be 256M at most"),
            ("99999999M", "it must be 256M at most"),
            ("0", "it must be more than 0"),
            ("", "`` is not a size such as 512K or 8M"),
            ("M", "`M` is not a size such as 512K or 8M"),
            ("1G", "`1G` is not a size such as 512K or 8M"),
            ("-1", "`-1` is not a size such as 512K or 8M"),
            ("4€", "`4€` is not a size such as 512K or 8M"),
        ] {
            assert_eq!(read(typed), Err(why.to_owned()), "{typed}");
        }
    }

    #[test]
    fn nothing_after_the_dashes_is_a_mistake() {
        for typed in [&["--"][..], &["-x", "--"], &["--json", "-P", "80", "--"]] {
            assert!(
                error(typed).contains("no command follows `--`"),
                "{typed:?}"
            );
        }
        let args = ["portwatch", "-x", "--", "--"].map(OsString::from);
        assert!(Cli::matches(&args[..]).is_err());
    }

    #[test]
    fn letters_of_other_tools_are_taken() {
        let typed = [
            "portwatch",
            "-t",
            "-U",
            "-w",
            "-E",
            "-N",
            "1",
            "--errno",
            "-13",
        ];
        let Filters {
            failed,
            netns,
            errno,
            ..
        } = Cli::try_parse_from(typed).unwrap().watch.filters;
        assert!(failed);
        assert_eq!((&netns[0][..], &errno[0][..]), ("1", "-13"));
    }

    #[test]
    fn a_typo_gets_a_suggestion() {
        assert!(error(&["--jsn"]).contains("--json"));
        assert!(error(&["--source", "kprob"]).contains("kprobe"));
        assert!(error(&["wyh", "80"]).contains("a similar subcommand exists: 'why'"));
        assert!(error(&["./server"]).contains("use '-- ./server'"));
        assert!(error(&["why", "80", "81"]).contains("unexpected argument '81'"));
    }
}
