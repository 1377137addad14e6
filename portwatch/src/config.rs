//! What the command line means: validated, with the defaults that depend on the surroundings.

mod contradiction;
mod dtrace;
mod filters;
mod names;

use std::{ffi::OsString, num::NonZeroU32, path::PathBuf};

pub use self::contradiction::why_beyond;
use self::{contradiction::Contradiction, names::Host};
use crate::{
    cli::{self, Watch, moot},
    command::{Login, NoLogin},
    event::System,
    fields::{List, Template, WIDE, named},
    filter::{self, Expr, Filter, Pinned},
    users::Users,
};

/// Everything that watching needs to know.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Clone, Debug)]
pub struct Config {
    pub filter: Filter,
    pub pinned: Pinned,
    /// The filters as they were typed, for the start line
    pub filters_typed: Vec<String>,
    pub kernel_threads: bool,
    pub seccomp: bool,
    /// Where events are written, and how; standard output, if at all, is the first
    pub outputs: Vec<Output>,
    /// Lines may wait for others, to be written with them
    pub buffer: bool,
    /// Whether the arguments of processes are wanted
    pub cmdline: bool,
    /// How much to say of causes; `None` where they are not wanted
    pub explain: Option<cli::Explain>,
    pub colour: bool,
    pub header: bool,
    pub quiet: bool,
    /// A live view has the terminal
    pub on_screen: bool,
    /// What to say where a command made no attempt that is shown; `None` where all is watched, and
    /// more is said of it
    pub brief: Option<&'static str>,
    /// 0 says warnings, 1 also what portwatch does, 2 also what the eBPF side says
    pub verbosity: u8,
    pub count: Option<u64>,
    pub duration: Option<std::time::Duration>,
    /// Who the watch is once everything is attached, if not who started it
    pub ring_size: Option<NonZeroU32>,
    pub user_after: Option<Login>,
    pub source: cli::Source,
    /// For `--source dtrace`, if it is not macOS's own
    pub dtrace: Option<PathBuf>,
    pub dtrace_system: Option<System>,
}

/// How events are written, with what the format needs to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    Text,
    Columns(List),
    Template(Template),
    Tally(Counted),
    Json,
    Logfmt(Option<List>),
    Csv(Option<List>),
    Ecs,
    Ocsf,
    Otel,
    Journald,
    Syslog,
}

/// Attempts are counted, not listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// What attempts of one group have in common
    pub by: List,
    pub form: Form,
}

/// How counts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Table,
    Csv,
    Json,
}

/// One place that events are written to.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub target: Target,
    pub format: Format,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Stdout,
    /// In its place where a command has standard output
    Stderr,
    File(PathBuf),
    Journald(PathBuf),
    Syslog(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::File(path) => path.display().fmt(f),
            Self::Journald(path) => write!(f, "the journal at {}", path.display()),
            Self::Syslog(path) => write!(f, "syslog at {}", path.display()),
        }
    }
}

fn outputs(watch: &Watch) -> Result<Vec<Output>, ConfigError> {
    let stdout = Format::of_stdout(watch)?.map(|format| (Target::Stdout, format));
    let file = match &watch.log_file {
        Some(path) => {
            Format::of_log_file(watch)?.map(|format| (Target::File(path.clone()), format))
        }
        None => None,
    };
    let journald = watch.journald.clone();
    let journald = journald.map(|path| (Target::Journald(path), Format::Journald));
    let syslog = watch.syslog.clone();
    let syslog = syslog.map(|path| (Target::Syslog(path), Format::Syslog));
    let outputs = [stdout, file, journald, syslog].into_iter().flatten();
    let outputs: Vec<_> = outputs
        .map(|(target, format)| Output { target, format })
        .collect();
    if outputs.is_empty() {
        return Err(ConfigError::NoOutput);
    }
    Ok(outputs)
}

impl Format {
    /// `None` where nothing is to be written.
    fn new(typed: cli::Format, fields: Option<List>) -> Result<Option<Self>, ConfigError> {
        Ok(Some(match (typed, fields) {
            (cli::Format::Text, None) => Self::Text,
            (cli::Format::Text | cli::Format::Wide, Some(fields)) => Self::Columns(fields),
            (cli::Format::Wide, None) => Self::Columns(named(WIDE)),
            (cli::Format::Logfmt, fields) => Self::Logfmt(fields),
            (cli::Format::Csv, fields) => Self::Csv(fields),
            (cli::Format::Json, None) => Self::Json,
            (cli::Format::Ecs, None) => Self::Ecs,
            (cli::Format::Ocsf, None) => Self::Ocsf,
            (cli::Format::Otel, None) => Self::Otel,
            (cli::Format::None, None) => return Ok(None),
            (_, Some(_)) => return Err(ConfigError::FixedFields),
        }))
    }

    /// Of standard output.
    fn of_stdout(watch: &Watch) -> Result<Option<Self>, ConfigError> {
        if watch.summary || watch.group_by.is_some() {
            return Counted::new(watch).map(|counted| Some(Self::Tally(counted)));
        }
        match (&watch.format, watch.json, watch.output) {
            (Some(template), ..) => Ok(Some(Self::Template(template.clone()))),
            (None, true, _) => Ok(Some(Self::Json)),
            // What is chosen is then for the log file.
            (None, false, cli::Format::None) => Ok(None),
            (None, false, typed) => Self::new(typed, watch.fields.clone()),
        }
    }

    fn of_log_file(watch: &Watch) -> Result<Option<Self>, ConfigError> {
        let fields = match watch.output {
            cli::Format::None => watch.fields.clone(),
            _ => None,
        };
        Self::new(watch.log_format, fields)
    }

    /// Whether it shows what stands behind the caller: executable, cgroup, interface.
    pub fn shows_origin(&self) -> bool {
        match self {
            Self::Text => false,
            Self::Tally(counted) => counted.by.has_origin(),
            _ => true,
        }
    }
}

impl Counted {
    /// What attempts are counted by, where nobody says by what: who wants which port, and what
    /// comes of it. Addresses are left out, since a client has as many as it has servers.
    const BY: &str = "comm,op,proto,port,errno";

    fn new(watch: &Watch) -> Result<Self, ConfigError> {
        let form = match (watch.json, watch.output) {
            (true, _) | (_, cli::Format::Json) => Form::Json,
            (_, cli::Format::Text) => Form::Table,
            (_, cli::Format::Csv) => Form::Csv,
            _ => return Err(ConfigError::NotCounted),
        };
        let by = watch.group_by.clone().unwrap_or_else(|| named(Self::BY));
        Ok(Self { by, form })
    }
}

/// The command line cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("invalid value for '--{option}': {error}")]
    Filter {
        option: &'static str,
        error: filter::Error,
    },
    #[error("{0}")]
    Contradiction(Contradiction),
    #[error(transparent)]
    Login(#[from] NoLogin),
    #[error("--{0} has no meaning in a replay")]
    NotInReplay(&'static str),
    #[error("--{0} has no meaning in portwatch top")]
    NotInTop(&'static str),
    #[error("{0} has no meaning with the source dtrace: {1}")]
    NotWithDtrace(&'static str, &'static str),
    #[error("{0} has no meaning in a recording of {1}: {2}")]
    NotInRecording(&'static str, System, &'static str),
    #[error("the source {0} is for Linux: here there is dtrace")]
    SourceOfLinux(String),
    #[error("--fields goes with --output text, wide, logfmt or csv; the others have fixed fields")]
    FixedFields,
    #[error("--summary and --group-by go with --output text, json or csv")]
    NotCounted,
    #[error("--output none needs --log-file, --journald or --syslog: nothing would be written")]
    NoOutput,
}

impl Config {
    /// For a watch.
    pub fn new(watch: &Watch, users: &Users) -> Result<Self, ConfigError> {
        let host = Host::watching(users, watch.source, watch.dtrace_system);
        let config = Self::of_any(watch, &host)?;
        if config.source.is_dtrace() {
            dtrace::check(watch, &config.filter)?;
        }
        Ok(config)
    }

    fn of_any(watch: &Watch, host: &Host<'_>) -> Result<Self, ConfigError> {
        let filter = filters::compile(&watch.filters, host)?;
        if let Some(found) = Contradiction::find(&filter, &watch.filters) {
            return Err(ConfigError::Contradiction(found));
        }
        Ok(Self {
            filter,
            pinned: filters::pinned(&watch.filters),
            filters_typed: filters::typed(&watch.filters),
            kernel_threads: watch.kernel,
            seccomp: watch.seccomp,
            outputs: outputs(watch)?,
            buffer: watch.buffer,
            cmdline: watch.cmdline,
            explain: (!watch.no_explain).then_some(watch.explain),
            colour: colour(watch.color, &std::io::stdout()),
            header: !watch.no_header,
            quiet: watch.quiet,
            on_screen: false,
            brief: None,
            verbosity: watch.verbose,
            count: watch.count,
            duration: watch.duration,
            ring_size: watch.ring_size,
            user_after: user_after(watch)?,
            source: watch.source,
            dtrace: watch.dtrace.clone(),
            dtrace_system: watch.dtrace_system,
        })
    }
}

impl Config {
    /// A further filter of the watch; or what is wrong with the expression, with the place.
    pub fn expression(&self, text: &str, users: &Users) -> Result<Filter, String> {
        let host = Host::watching(users, self.source, self.dtrace_system);
        let expr = Expr::parse(text, &host).map_err(|error| error.to_string())?;
        let mut filter = Filter::default();
        filter.and(expr);
        let mut whole = self.filter.clone();
        whole.and_all(&filter);
        if let Some(found) = Contradiction::find(&whole, &cli::Filters::default()) {
            return Err(found.to_string());
        }
        if self.source.is_dtrace() {
            dtrace::check_filter(&filter).map_err(|error| error.to_string())?;
        }
        Ok(filter)
    }

    /// For a replay, in which nothing is watched.
    pub fn of_replay(watch: &Watch, users: &Users) -> Result<Self, ConfigError> {
        match moot::given(moot::IN_REPLAY, watch) {
            Some(option) => Err(ConfigError::NotInReplay(option)),
            None => Self::of_any(watch, &Host::new(users)),
        }
    }

    /// For a live view, which is in the place of standard output.
    pub fn of_top(watch: &Watch, users: &Users) -> Result<Self, ConfigError> {
        if let Some(option) = moot::given(moot::IN_TOP, watch) {
            return Err(ConfigError::NotInTop(option));
        }
        let mut config = Self::new(watch, users)?;
        config
            .outputs
            .retain(|output| output.target != Target::Stdout);
        config.on_screen = true;
        // What is said would stand in the middle of the view.
        config.quiet = true;
        Ok(config)
    }

    /// For a watch of one command: of its tree alone, which hangs on this process, and with
    /// standard output left to it.
    pub fn of_command(
        watch: &Watch,
        command: &[OsString],
        users: &Users,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::new(watch, users)?;
        if config.source.is_dtrace() {
            let why = "only Linux lets all that comes of a command be followed";
            return Err(ConfigError::NotWithDtrace("-- COMMAND", why));
        }
        config.brief = Some(filters::nothing_seen(&watch.filters));
        filters::follow(std::process::id(), &mut config.filter);
        let words = command.iter().map(|word| word.to_string_lossy());
        let words: Vec<_> = std::iter::once("--".into()).chain(words).collect();
        config.filters_typed.push(words.join(" "));
        for output in &mut config.outputs {
            if output.target == Target::Stdout {
                output.target = Target::Stderr;
            }
        }
        config.colour = colour(watch.color, &std::io::stderr());
        Ok(config)
    }

    pub fn writes_to_stdout(&self) -> bool {
        let mut targets = self.outputs.iter().map(|output| &output.target);
        targets.any(|target| *target == Target::Stdout)
    }

    pub fn logs_to_file(&self) -> bool {
        let mut targets = self.outputs.iter().map(|output| &output.target);
        targets.any(|target| matches!(target, Target::File(_)))
    }

    /// Whether an output shows what stands behind the caller.
    pub fn shows_origin(&self) -> bool {
        self.outputs
            .iter()
            .any(|output| output.format.shows_origin())
    }

    /// Whether standard output takes colours, where nobody says when to use them.
    pub fn colour_by_default() -> bool {
        colour(cli::Colour::Auto, &std::io::stdout())
    }
}

fn user_after(watch: &Watch) -> Result<Option<Login>, NoLogin> {
    let typed = watch.user_after.as_deref();
    let login = typed.map(|typed| Login::asked_for("--user-after", typed));
    Ok(login.transpose()?.flatten())
}

/// On a terminal that can, unless NO_COLOR or TERM=dumb asks otherwise.
fn colour(wanted: cli::Colour, stream: &impl anstream::stream::RawStream) -> bool {
    match wanted {
        cli::Colour::Always => true,
        cli::Colour::Never => false,
        cli::Colour::Auto => {
            stream.is_terminal()
                && anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
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
            "--cgroupmap=/sys/fs/bpf/x",
            "--mntnsmap=/sys/fs/bpf/x",
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
        assert_eq!(formats(&["--json"]), Ok(vec![Format::Json]));
    }

    fn formats(args: &[&str]) -> Result<Vec<Format>, ConfigError> {
        let outputs = config(args)?.outputs.into_iter();
        Ok(outputs.map(|output| output.format).collect())
    }

    #[test]
    fn fields_are_for_formats_that_can_leave_some_out() {
        let fields = || "pid,comm".parse::<List>().unwrap();
        let format = |output| formats(&["-o", output, "--fields", "pid,comm"]);
        assert_eq!(format("text"), Ok(vec![Format::Columns(fields())]));
        assert_eq!(format("wide"), Ok(vec![Format::Columns(fields())]));
        assert_eq!(format("csv"), Ok(vec![Format::Csv(Some(fields()))]));
        assert_eq!(format("logfmt"), Ok(vec![Format::Logfmt(Some(fields()))]));
        assert_eq!(format("json"), Err(ConfigError::FixedFields));
    }

    #[test]
    fn several_outputs_have_formats_of_their_own() {
        let args = [
            "--log-file",
            "x",
            "--log-format",
            "csv",
            "--journald",
            "--syslog=/s",
        ];
        let outputs = config(&args).unwrap().outputs;
        let targets: Vec<_> = outputs.iter().map(|output| output.target.clone()).collect();
        let expected = [
            Target::Stdout,
            Target::File("x".into()),
            Target::Journald("/run/systemd/journal/socket".into()),
            Target::Syslog("/s".into()),
        ];
        assert_eq!(targets, expected);
        assert_eq!(
            (&outputs[0].format, &outputs[1].format),
            (&Format::Text, &Format::Csv(None))
        );
    }

    #[test]
    fn fields_are_for_standard_output_and_without_it_for_the_log_file() {
        let log = ["--log-file", "x", "--log-format", "csv", "--fields", "pid"];
        let fields = || "pid".parse::<List>().unwrap();
        let expected = vec![Format::Columns(fields()), Format::Csv(None)];
        assert_eq!(formats(&log), Ok(expected));
        let alone = [&log[..], &["-o", "none"]].concat();
        assert_eq!(formats(&alone), Ok(vec![Format::Csv(Some(fields()))]));
    }

    #[test]
    fn nothing_at_all_is_refused() {
        assert_eq!(formats(&["-o", "none"]), Err(ConfigError::NoOutput));
    }
}
