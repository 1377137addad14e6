//! The command line, exactly as it was typed. What it means is decided in [`crate::config`].

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  portwatch                       every attempt on this machine, as it happens
  portwatch -x                    only those that fail
  portwatch -x -P 80,443          who fails to open port 80 or 443
  portwatch -u www-data --json    one user's attempts, as JSON lines
  portwatch -c 1 -P 8080          wait until something touches port 8080
  portwatch doctor                what this host and these privileges allow";

const EXIT_CODES: &str = "\
Exit status:
  0  ended as asked: by Ctrl-C, SIGTERM, -c, -d, or because the reader of the output went away
  1  something failed while running
  2  the command line is wrong
  3  privileges are missing
  4  no source of events works on this host";

/// Every bind() and connect() attempt on this machine, live: who, what, and how it ended.
#[derive(Debug, Parser)]
#[command(version, before_long_help = EXAMPLES, before_help = EXAMPLES, after_long_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub watch: Watch,
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
}

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(next_help_heading = "Filters (all that are given must hold)")]
pub struct Watch {
    /// Only these processes; repeat or separate by commas
    #[arg(short, long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,

    /// Only these users (effective user), by name or number
    #[arg(
        short,
        long,
        visible_alias = "uid",
        value_name = "USER",
        value_delimiter = ','
    )]
    pub user: Vec<String>,

    /// Only these ports: the one asked for, or of a bind to port 0 the one given
    #[arg(short = 'P', long, value_name = "PORT", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,

    /// Only attempts that failed
    #[arg(short = 'x', long)]
    pub failed: bool,

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

    /// Add the arguments of each process to the JSON. They can hold secrets
    #[arg(long, help_heading = "Output")]
    pub cmdline: bool,

    /// How much to say of causes in text; JSON carries all of it
    #[arg(
        long,
        value_enum,
        value_name = "DETAIL",
        default_value_t,
        conflicts_with = "no_explain",
        help_heading = "Output"
    )]
    pub explain: Explain,

    /// Do not look for causes: neither text nor JSON has them
    #[arg(long, help_heading = "Output")]
    pub no_explain: bool,

    /// When to use colours; NO_COLOR is honoured
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = "Output"
    )]
    pub color: Colour,

    /// Leave out the header line of the text output
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

    /// Where events come from; auto takes the best that works here
    #[arg(
        long,
        value_enum,
        value_name = "SOURCE",
        default_value_t,
        help_heading = "Run"
    )]
    pub source: Source,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people
    #[default]
    Text,
    /// JSON Lines: one object a line (docs/EVENTS.md)
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Explain {
    /// The cause and the first fix
    #[default]
    Short,
    /// Also the evidence, who has the port, and every fix
    Full,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Source {
    #[default]
    Auto,
    /// Trampolines (fentry, fexit): sees most and costs least; needs BTF
    Fexit,
    /// kprobes and kretprobes; needs BTF
    Kprobe,
    /// System call tracepoints: what works where kprobes are refused
    Tracepoint,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn error(args: &[&str]) -> String {
        let args = std::iter::once("portwatch").chain(args.iter().copied());
        Cli::try_parse_from(args).unwrap_err().to_string()
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
    fn ports_that_cannot_be_are_refused() {
        assert!(error(&["-P", "0"]).contains("0 is not in 1..=65535"));
        assert!(error(&["-P", "80,70000"]).contains("70000 is not in 1..=65535"));
        assert!(error(&["-P", "http"]).contains("invalid digit"));
    }

    #[test]
    fn a_typo_gets_a_suggestion() {
        assert!(error(&["--jsn"]).contains("--json"));
        assert!(error(&["--source", "kprob"]).contains("kprobe"));
    }
}
