//! `portwatch explain`: what can cause an error, without a case at hand.

use serde::Serialize;

use super::{NoSystem, system};
use crate::{
    alike, cli,
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
            What::Error(errno) => catalogue::of(errno, system).collect(),
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
            add(&mut text, entry, self.system, width.map(usize::from));
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
            causes: self
                .entries
                .iter()
                .map(|entry| CauseJson::of(entry, self.system))
                .collect(),
        };
        let json = serde_json::to_string(&document).expect("strings always serialise");
        json + "\n"
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
    let name = typed.to_ascii_uppercase();
    let named = match system {
        System::Linux => Errno::from_name(&name),
        System::MacOs(_) => Errno::from_darwin_name(&name),
    };
    if let Some(errno) = named {
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
    let errors = Errno::named().filter_map(Errno::name);
    alike::nearest(
        typed,
        errors.chain(Code::ALL.iter().map(|code| code.name())),
    )
}

fn errnos(entry: &Entry, on: System) -> Vec<String> {
    let errnos = entry.errnos_on(on).iter();
    errnos.map(ToString::to_string).collect()
}

fn add(text: &mut String, entry: &Entry, on: System, width: Option<usize>) {
    const INDENT: usize = 4;
    let Entry {
        code,
        errnos: _,
        ops,
        system,
        what,
        fix,
    } = entry;
    let ops: Vec<_> = ops.iter().copied().map(Op::name).collect();
    let errnos = errnos(entry, on);
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
    fn of(entry: &Entry, on: System) -> Self {
        let Entry {
            code,
            errnos: _,
            ops,
            system,
            what,
            fix,
        } = entry;
        Self {
            code: code.name(),
            errnos: errnos(entry, on),
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
    fn what_a_version_of_macos_has_not_yet_is_no_cause_there() {
        let has = |what, os, code| codes(what, os).contains(&code);
        for (os, exempt, kept) in [
            ("macos-10.13", false, false),
            ("macos-10.14", true, false),
            ("macos-10.15", true, true),
            ("macos-14", true, true),
            ("macos-15", true, true),
        ] {
            assert_eq!(has("EADDRINUSE", os, "macos_restricted_port"), kept, "{os}");
            let system = system::parse(os).unwrap();
            let all = catalogue::all().filter(|entry| entry.is_on(system));
            let there = all.map(|entry| entry.code).collect::<Vec<_>>();
            assert_eq!(there.contains(&Code::MacosWildcardExempt), exempt, "{os}");
            assert!(has("EACCES", os, "macos_low_port_address"), "{os}");
        }
    }

    #[test]
    fn macos_has_other_errors_for_the_same_causes() {
        let mac = |what| codes(what, "macos-15");
        assert_eq!(mac("EDESTADDRREQ"), ["bad_pointer"]);
        assert_eq!(mac("ENAMETOOLONG"), ["bad_address_length"]);
        assert_eq!(mac("EPERM"), ["macos_policy_denied"]);
        assert_eq!(mac("102"), ["socket_listening"]);
        assert!(mac("EADDRINUSE").contains(&"tuple_in_use"));
        assert!(!mac("EADDRNOTAVAIL").contains(&"tuple_in_use"));
        assert!(codes("EADDRNOTAVAIL", "linux").contains(&"tuple_in_use"));
        assert!(found("EDESTADDRREQ", "linux").is_err());
        let text = found("39", "macos-15").unwrap().render_text(None);
        assert!(
            text.contains("bad_pointer: EFAULT, EDESTADDRREQ of"),
            "{text}"
        );
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
}
