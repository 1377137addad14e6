//! The options that result from what was typed, the environment and the files: the stronger has its
//! way, and a list is never mixed.
//!
//! There is one definition, clap's. What stands elsewhere is turned into arguments that are put
//! before the typed ones, as far as nothing stronger says otherwise.

mod file;
mod print;
mod value;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgMatches, Args as _, CommandFactory as _, FromArgMatches as _, error::ErrorKind,
    parser::ValueSource,
};

use self::value::Value;
use crate::{
    alike,
    cli::{
        Cli, Watch,
        moot::{self, Moot},
    },
    config::{Config, ConfigError},
    users::Users,
};

/// For everybody on this host.
const SYSTEM: &str = "/etc/portwatch.toml";
/// Below the directory for one's own.
const OWN: &str = "portwatch/config.toml";
/// The variable that names a file instead of these.
const CONFIG: &str = "PORTWATCH_CONFIG";

/// Where options come from beside the command line.
pub struct Surroundings<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The names of all variables
    pub variables: Vec<OsString>,
    pub system: PathBuf,
    /// Whose files are believed, beside root's
    pub uid: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Options {
    pub cli: Cli,
    /// The options themselves are asked for, not what they ask for
    pub printed: Option<String>,
    /// Of files that were passed over, and of variables that mean nothing
    pub warnings: Vec<String>,
}

/// An option that was given elsewhere.
#[derive(Debug)]
struct Given {
    long: String,
    /// What would be typed for it; nothing where it is turned off
    arguments: Vec<OsString>,
    origin: Origin,
}

/// Where an option was given.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Variable(String),
    Line {
        file: PathBuf,
        line: usize,
        column: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Line { file, line, column } => {
                write!(f, "{}:{line}:{column}", file.display())
            }
        }
    }
}

impl Surroundings<'_> {
    /// Those of this process.
    pub fn host() -> Self {
        Self {
            variable: &|name| std::env::var_os(name),
            variables: std::env::vars_os().map(|(name, _)| name).collect(),
            system: SYSTEM.into(),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// An empty one is as good as none.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// `$XDG_CONFIG_HOME/portwatch/config.toml` (XDG Base Directory Specification).
    fn own_file(&self) -> Option<PathBuf> {
        let stated = self.variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || Some(Path::new(&self.variable("HOME")?).join(".config"));
        let directory = stated.filter(|path| path.is_absolute()).or_else(home)?;
        Some(directory.join(OWN))
    }
}

/// A command line that asks for what takes the options of a watch.
struct Taker<'a> {
    typed: &'a ArgMatches,
    /// Words before its options: the program's name, and the subcommand's
    head: usize,
    /// Options that mean nothing in it
    moot: &'static [Moot],
}

impl<'a> Taker<'a> {
    fn of(typed: &'a ArgMatches) -> Option<Self> {
        let (typed, head, moot) = match typed.subcommand() {
            None => (typed, 1, &[][..]),
            Some(("replay", typed)) => (typed, 2, moot::IN_REPLAY),
            Some(("top", typed)) => (typed, 2, moot::IN_TOP),
            Some(_) => return None,
        };
        Some(Self { typed, head, moot })
    }
}

/// Reads the command line, and the rest where it asks for what takes it.
pub fn read(args: &[OsString], around: &Surroundings<'_>) -> Result<Options, clap::Error> {
    let typed = Cli::matches(args)?;
    let Some(taker) = Taker::of(&typed) else {
        return Ok(Options {
            cli: Cli::from_arg_matches(&typed)?,
            printed: None,
            warnings: Vec::new(),
        });
    };
    let wrong = |message: String| Cli::command().error(ErrorKind::ValueValidation, message);
    let mut warnings = Vec::new();
    let keys = keys();
    let layers = layers(taker.typed, &keys, around, &mut warnings).map_err(wrong)?;
    let given = chosen(layers, &keys, &taker);
    let before = given.iter().flat_map(|given| &given.arguments);
    let all: Vec<_> = args
        .iter()
        .take(taker.head)
        .chain(before)
        .chain(args.iter().skip(taker.head))
        .cloned()
        .collect();
    let matches = Cli::matches(&all)?;
    let is_asked_for = taker.typed.get_flag("print_config");
    let printed = Taker::of(&matches).filter(|_| is_asked_for);
    let printed = printed.map(|taker| print::toml(&keys, taker.typed, &given));
    Ok(Options {
        cli: Cli::from_arg_matches(&matches)?,
        printed,
        warnings,
    })
}

/// What is wrong with the text of a file of options, with its place.
pub fn check_text(file: &Path, text: &str) -> Result<(), String> {
    file::parse(file, text).map(drop)
}

/// The options that can be given elsewhere: all that people see of a watch.
fn keys() -> clap::Command {
    let mut keys = Watch::augment_args(clap::Command::new("portwatch"));
    // What each option takes is settled only then.
    keys.build();
    keys
}

fn named<'a>(keys: &'a clap::Command, long: &str) -> Option<&'a Arg> {
    let mut visible = keys.get_arguments().filter(|arg| !arg.is_hide_set());
    visible.find(|arg| arg.get_long() == Some(long))
}

/// The environment, and the files: the stronger first.
fn layers(
    typed: &ArgMatches,
    keys: &clap::Command,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Vec<Given>>, String> {
    let mut layers = vec![environment(keys, around)?];
    warnings.extend(mistyped(keys, around));
    let stated = typed.get_one::<PathBuf>("config").cloned();
    let stated = stated.or_else(|| around.variable(CONFIG).map(PathBuf::from));
    if typed.get_flag("no_config") {
        return Ok(layers);
    }
    if let Some(file) = stated {
        layers.push(file::read(&file)?);
        return Ok(layers);
    }
    let usual = around.own_file().into_iter().chain([around.system.clone()]);
    for file in usual.filter(|file| file.is_file()) {
        match file::stranger(&file, around.uid) {
            Some(owner) => warnings.push(format!(
                "{} is not read, for it belongs to uid {owner}; --config reads it all the same",
                file.display()
            )),
            None => layers.push(file::read(&file)?),
        }
    }
    Ok(layers)
}

fn environment(keys: &clap::Command, around: &Surroundings<'_>) -> Result<Vec<Given>, String> {
    let mut given = Vec::new();
    for arg in keys.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let name = variable_of(arg);
        if let Some(value) = around.variable(&name) {
            let origin = Origin::Variable(name);
            given.push(Given::new(arg, &Value::of_variable(arg, &value), origin)?);
        }
    }
    Ok(given)
}

fn variable_of(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    format!("PORTWATCH_{}", long.to_uppercase().replace('-', "_"))
}

/// Variables that were perhaps meant for an option. Others may be somebody else's.
fn mistyped(keys: &clap::Command, around: &Surroundings<'_>) -> Vec<String> {
    let visible = keys.get_arguments().filter(|arg| !arg.is_hide_set());
    let known: Vec<_> = visible
        .map(variable_of)
        .chain([CONFIG.to_owned()])
        .collect();
    let typed = around.variables.iter().filter_map(|name| name.to_str());
    let unknown = typed.filter(|name| !known.iter().any(|known| known == name));
    let warning = |name: &str| {
        let options = known
            .iter()
            .filter_map(|known| known.strip_prefix("PORTWATCH_"));
        let meant = alike::nearest(name.strip_prefix("PORTWATCH_")?, options)?;
        Some(format!(
            "{name} sets no option; did you mean PORTWATCH_{meant}?"
        ))
    };
    unknown.filter_map(warning).collect()
}

impl Given {
    fn new(arg: &Arg, value: &Value, origin: Origin) -> Result<Self, String> {
        let at = |message: String| format!("{origin}: {message}");
        let arguments = value.arguments(arg).map_err(at)?;
        check(&arguments).map_err(at)?;
        Ok(Self {
            long: arg.get_long().unwrap_or_default().to_owned(),
            arguments,
            origin,
        })
    }
}

/// What is wrong with an option, whatever others say.
fn check(arguments: &[OsString]) -> Result<(), String> {
    let name = OsStr::new("portwatch");
    let parsed = Cli::matches(&[&[name.to_owned()], arguments].concat());
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => match Config::new(&cli.watch, &Users::new()) {
            Err(error @ ConfigError::Filter { .. }) => Err(error.to_string()),
            _ => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => Ok(()),
        Err(error) => {
            let text = error.to_string();
            let text = text.trim_start_matches("error: ");
            let ends = ["\n\nUsage:", "\n\nFor more"].map(|end| text.find(end));
            let end = ends.into_iter().flatten().min().unwrap_or(text.len());
            Err(text[..end].to_owned())
        }
    }
}

/// What holds of the layers: the first that gives an option, unless that contradicts a stronger one.
fn chosen(layers: Vec<Vec<Given>>, keys: &clap::Command, taker: &Taker<'_>) -> Vec<Given> {
    let is_typed = |arg: &&Arg| {
        let source = taker.typed.value_source(arg.get_id().as_str());
        source == Some(ValueSource::CommandLine)
    };
    let typed = keys.get_arguments().filter(is_typed);
    let mut known: Vec<String> = typed.filter_map(Arg::get_long).map(str::to_owned).collect();
    // A format needs its file.
    let has_log = |known: &[String]| known.iter().any(|long| long == "log-file");
    let mut chosen = Vec::new();
    for layer in layers {
        let fits = |given: &Given| {
            let mut moot = taker.moot.iter();
            let mut stronger = known.iter();
            !moot.any(|(long, _)| *long == given.long)
                && stronger.all(|long| !contradicts(keys, long, &given.long))
        };
        let (fitting, _): (Vec<_>, Vec<_>) = layer.into_iter().partition(fits);
        known.extend(fitting.iter().map(|given| given.long.clone()));
        chosen.extend(fitting);
    }
    if !has_log(&known) {
        chosen.retain(|given: &Given| given.long != "log-format");
    }
    chosen
}

/// Whether two options are the same, or cannot both be given.
fn contradicts(keys: &clap::Command, one: &str, other: &str) -> bool {
    // Which fields there are is for the format to say.
    let fields = ["fields", "output"];
    let (Some(a), Some(b)) = (named(keys, one), named(keys, other)) else {
        return one == other;
    };
    let excludes = |a: &Arg, b: &Arg| {
        let excluded = keys.get_arg_conflicts_with(a);
        excluded.iter().any(|arg| arg.get_id() == b.get_id())
    };
    one == other
        || excludes(a, b)
        || excludes(b, a)
        || (fields.contains(&one) && fields.contains(&other))
}

#[cfg(test)]
mod tests;
