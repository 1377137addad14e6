//! The command: parse, run, exit. Exit codes live here and nowhere else.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{CommandFactory as _, error::ErrorKind};
use portwatch::{
    cli::{self, Cli, Command},
    command::{CannotRun, Login, NoLogin, Order},
    config::{Config, ConfigError},
    doctor, manual,
    options::{self, Options, Surroundings},
    output, pipeline, replay,
    source::{self, Opened, dtrace},
    support,
    top::NoTerminal,
    users::{self, Users},
    why::{self, Causes, Conclusion, NoCauses, Question},
};

const FAILURE: u8 = 1;
const NO_PRIVILEGES: u8 = 3;
const NO_SOURCE: u8 = 4;
const NO: u8 = 5;
const NO_PROBES: u8 = 6;
const NO_ADDRESSES: u8 = 7;

fn main() -> ExitCode {
    users::ask_no_modules();
    let args: Vec<_> = std::env::args_os().collect();
    let options = options::read(&args, &Surroundings::host());
    let Options {
        cli,
        printed,
        warnings,
    } = options.unwrap_or_else(|error| error.exit());
    for warning in warnings {
        drop(writeln!(io::stderr(), "portwatch: {warning}"));
    }
    if let Some(text) = printed {
        return print(&text).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS);
    }
    let result = match cli.command {
        Some(Command::Doctor { json, programs }) => print_support(json, programs).map(|()| 0),
        Some(Command::Why(typed)) => answer(&typed),
        Some(Command::Explain(typed)) => explain(&typed).map(|()| 0),
        Some(Command::Completions { shell }) => write(&manual::completions(shell)).map(|()| 0),
        Some(Command::Man { directory }) => manual(directory.as_deref()).map(|()| 0),
        Some(Command::WhyTrial { order }) => perform(&order).map(|()| 0),
        Some(Command::Replay { files, watch, .. }) => replay(&files, &watch).map(|()| 0),
        Some(Command::Top { watch, .. }) => top(&watch).map(|()| 0),
        None => watch(&cli.watch, &cli.run),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error),
    }
}

/// Says what went wrong and picks the exit code.
fn fail(error: &anyhow::Error) -> ExitCode {
    // Shown in the shape of clap's own errors, with the usage and its exit code.
    let wrong = |command: &mut clap::Command| command.error(ErrorKind::ValueValidation, error);
    if error.is::<ConfigError>() || error.is::<NoLogin>() {
        wrong(&mut Cli::command()).exit();
    }
    if error.is::<why::Wrong>() {
        wrong(&mut subcommand("why")).exit();
    }
    if error.is::<NoCauses>() {
        wrong(&mut subcommand("explain")).exit();
    }
    let refused: Option<&dtrace::Refused> = error.downcast_ref();
    let code = if let Some(cannot) = error.downcast_ref::<CannotRun>() {
        cannot.exit_code()
    } else if let Some(refused) = refused {
        of_dtrace(refused)
    } else {
        ebpf::exit_code(error).unwrap_or(FAILURE)
    };
    let remedy = refused.and_then(dtrace::Refused::remedy);
    let remedy = remedy.map_or_else(String::new, |remedy| format!("\n  remedy: {remedy}"));
    // Nobody may be there to read it.
    drop(writeln!(io::stderr(), "portwatch: {error:#}{remedy}"));
    ExitCode::from(code)
}

const fn of_dtrace(refused: &dtrace::Refused) -> u8 {
    use dtrace::Refused;
    match refused {
        Refused::NotRoot => NO_PRIVILEGES,
        Refused::NoProbes => NO_PROBES,
        Refused::NoAddresses => NO_ADDRESSES,
        Refused::NotThere { .. } | Refused::NoVersion(_) | Refused::Silent | Refused::NotReady => {
            NO_SOURCE
        }
        Refused::Ended { .. } | Refused::Pipes(_) => FAILURE,
    }
}

fn print_support(json: bool, programs: bool) -> anyhow::Result<()> {
    let support = support::probe();
    let programs = programs.then(source::cost::measure);
    let text = if json {
        doctor::render_json(&support, programs.as_deref())
    } else {
        doctor::render_table(
            &support,
            programs.as_deref(),
            output::terminal_width(),
            Config::colour_by_default(),
        )
    };
    print(&text)
}

fn print(text: &str) -> anyhow::Result<()> {
    write(format!("{}\n", text.trim_end()).as_bytes())
}

/// Nobody may be there to read it.
fn write(text: &[u8]) -> anyhow::Result<()> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn subcommand(name: &str) -> clap::Command {
    let mut cli = Cli::command();
    cli.build();
    cli.find_subcommand(name).cloned().unwrap_or(cli)
}

/// `portwatch why`
fn answer(typed: &cli::Why) -> anyhow::Result<u8> {
    let mut users = Users::new();
    let question = Question::new(typed, &users)?;
    let working = why::Working::begin();
    let answers = why::answer(&question, &mut users);
    drop(working);
    let answers = answers?;
    print(&if typed.json {
        why::render_json(&answers, &mut users)
    } else {
        let (width, colour) = (output::terminal_width(), Config::colour_by_default());
        why::render_text(&answers, width, colour, &mut users)
    })?;
    Ok(match answers.conclusion() {
        Conclusion::Ok => 0,
        Conclusion::Fails => NO,
        Conclusion::Unknown => FAILURE,
    })
}

/// `portwatch explain`
fn explain(typed: &cli::ExplainCause) -> anyhow::Result<()> {
    let causes = Causes::find(typed)?;
    print(&if typed.json {
        causes.render_json()
    } else {
        causes.render_text(output::terminal_width())
    })
}

/// `portwatch man`
fn manual(directory: Option<&Path>) -> anyhow::Result<()> {
    let Some(directory) = directory else {
        return manual::pages()?
            .first()
            .map_or(Ok(()), |page| write(&page.text));
    };
    let written = manual::write(directory).with_context(|| directory.display().to_string())?;
    let written = written.iter().map(|path| format!("{}\n", path.display()));
    print(&written.collect::<String>())
}

/// The process that `portwatch why --try` starts.
fn perform(order: &str) -> anyhow::Result<()> {
    let order: why::Order = serde_json::from_str(order)?;
    print(&serde_json::to_string(&order.perform()?)?)
}

fn watch(typed: &cli::Watch, run: &cli::Run) -> anyhow::Result<u8> {
    let users = Users::new();
    let config = if run.command.is_empty() {
        Config::new(typed, &users)?
    } else {
        Config::of_command(typed, &run.command, &users)?
    };
    let order = order(run)?;
    trace(&config, users, order.as_ref())
}

/// `portwatch top`
fn top(typed: &cli::Watch) -> anyhow::Result<()> {
    let users = Users::new();
    let config = Config::of_top(typed, &users)?;
    NoTerminal::check()?;
    trace(&config, users, None).map(|_| ())
}

/// Opens a source and passes on what comes from it; tells the exit code.
fn trace(config: &Config, users: Users, order: Option<&Order>) -> anyhow::Result<u8> {
    start_log(config.verbosity);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let opened = open(config).await?;
        pipeline::watch(config, opened, users, order).await
    })
}

/// The command to run, if there is one.
fn order(run: &cli::Run) -> Result<Option<Order>, NoLogin> {
    if run.command.is_empty() {
        return Ok(None);
    }
    Ok(Some(Order {
        words: run.command.clone(),
        login: Login::find(run.run_as.as_deref())?,
        wait_all: run.wait_all,
    }))
}

/// The source that was asked for, or the one that is this system's.
async fn open(config: &Config) -> anyhow::Result<Opened> {
    if config.source.is_dtrace() {
        let program = dtrace::Program {
            path: config
                .dtrace
                .clone()
                .unwrap_or_else(|| dtrace::PROGRAM.into()),
            system: config.dtrace_system,
        };
        return Ok(dtrace::open(&program).await?);
    }
    ebpf::open(config)
}

fn replay(files: &[PathBuf], typed: &cli::Watch) -> anyhow::Result<()> {
    let config = Config::of_replay(typed, &Users::new())?;
    start_log(config.verbosity);
    replay::replay(&config, files, io::stdout())
}

fn start_log(verbosity: u8) {
    let level = match verbosity {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new()
        // The libraries' own debugging would bury ours.
        .filter_level(level.min(log::LevelFilter::Warn))
        .filter_module("portwatch", level)
        .filter_module("portwatch_ebpf", level)
        .format_timestamp(None)
        .init();
}

/// The sources of Linux.
#[cfg(target_os = "linux")]
mod ebpf {
    use portwatch::{
        cli,
        config::Config,
        source::{self, Choice, Kind, NoSource, Opened, Request},
        support::{self, MissingPrivileges},
    };

    use super::{NO_PRIVILEGES, NO_SOURCE};

    pub(super) fn open(config: &Config) -> anyhow::Result<Opened> {
        support::privileges()?;
        let request = Request {
            choice: choice(config.source),
            kernel_threads: config.kernel_threads,
            seccomp: config.seccomp,
            filter: config.filter.clone(),
            pinned: config.pinned.clone(),
            keeps_binds: config.explain.is_some(),
            ring_size: config.ring_size,
            diagnostics: (config.verbosity >= 2).then_some(log::Level::Debug),
        };
        source::ebpf::check(&request.pinned)?;
        source::open(&request).map_err(explain_refusal)
    }

    /// A refusal that more privileges would have averted is said as such.
    fn explain_refusal(error: NoSource) -> anyhow::Error {
        match support::refused() {
            Some(missing) if error.is_refusal() => missing.into(),
            _ => error.into(),
        }
    }

    const fn choice(typed: cli::Source) -> Choice {
        match typed {
            cli::Source::Auto | cli::Source::Dtrace => Choice::Auto,
            cli::Source::Fexit => Choice::Only(Kind::Fexit),
            cli::Source::Kprobe => Choice::Only(Kind::Kprobe),
            cli::Source::Tracepoint => Choice::Only(Kind::Tracepoint),
        }
    }

    pub(super) fn exit_code(error: &anyhow::Error) -> Option<u8> {
        if error.is::<MissingPrivileges>() {
            return Some(NO_PRIVILEGES);
        }
        error.is::<NoSource>().then_some(NO_SOURCE)
    }
}

/// There are none of them.
#[cfg(not(target_os = "linux"))]
mod ebpf {
    use portwatch::{
        config::{Config, ConfigError},
        source::Opened,
    };

    pub(super) fn open(config: &Config) -> anyhow::Result<Opened> {
        Err(ConfigError::SourceOfLinux(config.source.name()).into())
    }

    pub(super) const fn exit_code(_: &anyhow::Error) -> Option<u8> {
        None
    }
}
