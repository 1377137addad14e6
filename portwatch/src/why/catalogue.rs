//! `portwatch explain`: what can cause an error, without a case at hand.

use serde::Serialize;
use strsim::levenshtein;

use super::{NoSystem, system};
use crate::{
    cli,
    errno::Errno,
    event::{Code, Op, System},
    explain::catalogue::{self, Entry},
    output::text::wrap,
};

/// What is asked: an error, or one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Error(Errno),
    Cause(Code),
}

/// What is known about it.
#[derive(Clone, Debug)]
pub struct Causes {
    what: What,
    system: System,
    entries: Vec<Entry>,
}

/// Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCauses {
    #[error(transparent)]
    System(#[from] NoSystem),
    #[error("`{typed}` is no error and no cause{}", suggestion(*near))]
    Unknown {
        typed: String,
        near: Option<&'static str>,
    },
    #[error("no bind or connect ends in {0}, as far as portwatch knows")]
    Foreign(Errno),
}

impl Causes {
    pub fn find(typed: &cli::ExplainCause) -> Result<Self, NoCauses> {
        let system = system::parse(&typed.os)?;
        let what = parse(&typed.what, system)?;
        let entries = match what {
            What::Cause(code) => vec![catalogue::entry(code)],
            What::Error(errno) => catalogue::of(errno)
                .filter(|entry| is_there(*entry, system))
                .collect(),
        };
        match what {
            What::Error(errno) if entries.is_empty() => Err(NoCauses::Foreign(errno)),
            _ => Ok(Self {
                what,
                system,
                entries,
            }),
        }
    }

    /// For people. Ends in a newline.
    pub fn render_text(&self, width: Option<u16>) -> String {
        let mut text = match self.what {
            What::Cause(_) => String::new(),
            What::Error(errno) => format!(
                "{errno} ({}): on {}, a bind or connect ends in it for one of these reasons\n",
                errno.describe().unwrap_or("no text"),
                self.system,
            ),
        };
        for entry in &self.entries {
            add(&mut text, entry, width.map(usize::from));
        }
        text
    }

    /// One JSON object on one line, with a newline.
    pub fn render_json(&self) -> String {
        let document = Document {
            v: 1,
            kind: "explain",
            system: self.system.to_string(),
            errno: match self.what {
                What::Error(errno) => Some(errno.to_string()),
                What::Cause(_) => None,
            },
            causes: self.entries.iter().map(CauseJson::of).collect(),
        };
        let json = serde_json::to_string(&document).expect("strings always serialise");
        json + "\n"
    }
}

fn is_there(entry: Entry, system: System) -> bool {
    match entry.system {
        catalogue::System::Both => true,
        catalogue::System::Linux => system == System::Linux,
        catalogue::System::MacOs => system != System::Linux,
    }
}

/// A name in any case, a number as the system has it, or the word of a cause.
fn parse(typed: &str, system: System) -> Result<What, NoCauses> {
    let number = typed.strip_prefix('-').unwrap_or(typed).parse::<i32>();
    if let Ok(number) = number
        && let Some(errno) = numbered(number, system)
    {
        return Ok(What::Error(errno));
    }
    if let Some(errno) = Errno::from_name(&typed.to_ascii_uppercase()) {
        return Ok(What::Error(errno));
    }
    let code = Code::ALL.iter().find(|code| code.name() == typed);
    code.map(|code| What::Cause(*code))
        .ok_or_else(|| NoCauses::Unknown {
            typed: typed.to_owned(),
            near: nearest(typed),
        })
}

/// One that has a name.
fn numbered(number: i32, system: System) -> Option<Errno> {
    let errno = system.errno(number.checked_neg()?)?;
    errno.name().map(|_| errno)
}

fn suggestion(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// A name that was perhaps meant.
fn nearest(typed: &str) -> Option<&'static str> {
    const FAR: usize = 3;
    let upper = typed.to_ascii_uppercase();
    let errors = Errno::named().filter_map(Errno::name);
    let errors = errors.map(|name| (levenshtein(&upper, name), name));
    let codes = Code::ALL.iter().map(|code| code.name());
    let codes = codes.map(|name| (levenshtein(typed, name), name));
    let (distance, name) = errors.chain(codes).min()?;
    (distance < FAR).then_some(name)
}

fn add(text: &mut String, entry: &Entry, width: Option<usize>) {
    const INDENT: usize = 4;
    let Entry {
        code,
        errnos,
        ops,
        system,
        what,
        fix,
    } = entry;
    let ops: Vec<_> = ops.iter().copied().map(Op::name).collect();
    let errnos: Vec<_> = errnos.iter().map(ToString::to_string).collect();
    let head = format!(
        "{}: {} of {} ({})\n",
        code.name(),
        if errnos.is_empty() {
            "success".to_owned()
        } else {
            errnos.join(", ")
        },
        ops.join(", "),
        system.name()
    );
    text.push_str(&head);
    let room = width.map(|width| width.saturating_sub(INDENT));
    for paragraph in [(*what).to_owned(), format!("what helps: {fix}")] {
        for line in wrap(&paragraph, room) {
            text.extend(std::iter::repeat_n(' ', INDENT));
            text.push_str(&line);
            text.push('\n');
        }
    }
}

#[derive(Serialize)]
struct Document {
    v: u8,
    kind: &'static str,
    system: String,
    errno: Option<String>,
    causes: Vec<CauseJson>,
}

#[derive(Serialize)]
struct CauseJson {
    code: &'static str,
    errnos: Vec<String>,
    ops: Vec<&'static str>,
    systems: &'static str,
    what: &'static str,
    fix: &'static str,
}

impl CauseJson {
    fn of(entry: &Entry) -> Self {
        let Entry {
            code,
            errnos,
            ops,
            system,
            what,
            fix,
        } = entry;
        Self {
            code: code.name(),
            errnos: errnos.iter().map(ToString::to_string).collect(),
            ops: ops.iter().copied().map(Op::name).collect(),
            systems: system.name(),
            what,
            fix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(what: &str, os: &str) -> Result<Causes, NoCauses> {
        Causes::find(&cli::ExplainCause {
            what: what.to_owned(),
            os: os.to_owned(),
            json: false,
        })
    }

    fn codes(what: &str, os: &str) -> Vec<&'static str> {
        let causes = found(what, os).unwrap();
        causes
            .entries
            .iter()
            .map(|entry| entry.code.name())
            .collect()
    }

    #[test]
    fn an_error_is_found_by_name_and_number() {
        let expected = codes("EACCES", "linux");
        assert!(expected.contains(&"low_port_no_capability"));
        assert!(!expected.contains(&"macos_low_port_address"));
        for typed in ["eacces", "13", "-13"] {
            assert_eq!(codes(typed, "linux"), expected, "{typed}");
        }
    }

    #[test]
    fn macos_has_its_own_numbers_and_causes() {
        let expected = codes("EADDRINUSE", "macos-14");
        assert!(expected.contains(&"macos_restricted_port"));
        assert_eq!(codes("48", "macos-14"), expected);
        assert_ne!(codes("98", "linux"), expected);
        assert!(found("98", "macos-14").is_err());
    }

    #[test]
    fn a_cause_is_found_by_its_word() {
        assert_eq!(codes("no_route", "linux"), ["no_route"]);
    }

    #[test]
    fn what_is_unknown_gets_a_suggestion_if_one_is_near() {
        let error = |typed| found(typed, "linux").unwrap_err().to_string();
        assert_eq!(
            error("EACESS"),
            "`EACESS` is no error and no cause; did you mean EACCES?"
        );
        assert_eq!(
            error("no_rout"),
            "`no_rout` is no error and no cause; did you mean no_route?"
        );
        assert_eq!(error("nonsense"), "`nonsense` is no error and no cause");
        assert_eq!(
            error("ENOTDIR"),
            "no bind or connect ends in ENOTDIR, as far as portwatch knows"
        );
    }

    #[test]
    fn distances_are_counted_in_letters() {
        for (one, other, expected) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "ac", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(levenshtein(one, other), expected);
        }
    }
}
