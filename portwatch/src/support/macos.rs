//! macOS: whether DTrace may see system calls and the addresses in them.

use super::{Check, Requirements, Status};

/// Its one source.
pub(super) const SOURCES: [Requirements; 1] = [Requirements {
    name: "dtrace",
    checks: &["root", "dtrace", "sip"],
    sees: "system calls, their addresses and results; not the socket",
}];

/// What the host says of itself.
#[derive(Clone, Debug)]
struct Facts {
    /// `macOS 14.5`, or why that is not known
    system: Result<String, String>,
    root: bool,
    dtrace: bool,
    /// What `csrutil status` printed
    csrutil: Option<String>,
}

/// What System Integrity Protection keeps from DTrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    Off,
    On,
    Unknown,
}

impl Protection {
    /// `System Integrity Protection status: enabled.`; with some of it switched off `unknown (Custom
    /// Configuration).`, and a line for each part.
    fn parse(said: &str) -> Self {
        let after = |name: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(|value| value.trim().trim_end_matches('.'))
        };
        let part = after("DTrace Restrictions:");
        match part.or_else(|| after("System Integrity Protection status:")) {
            Some("disabled") => Self::Off,
            Some("enabled") => Self::On,
            _ => Self::Unknown,
        }
    }
}

fn checks(facts: &Facts) -> Vec<Check> {
    vec![system(facts), root(facts), dtrace(facts), protection(facts)]
}

fn system(facts: &Facts) -> Check {
    match &facts.system {
        Ok(name) => found("system", "system", name),
        Err(why) => Check {
            status: Status::Limited,
            means: Some("causes depend on the version".to_owned()),
            ..found("system", "system", why)
        },
    }
}

fn root(facts: &Facts) -> Check {
    if facts.root {
        return found("root", "root", "yes");
    }
    Check {
        status: Status::Missing,
        means: Some("DTrace is for root only".to_owned()),
        remedy: Some("sudo portwatch".to_owned()),
        ..found("root", "root", "no")
    }
}

fn dtrace(facts: &Facts) -> Check {
    let path = crate::source::dtrace::PROGRAM;
    if facts.dtrace {
        return found("dtrace", "dtrace", path);
    }
    Check {
        status: Status::Missing,
        means: Some("it is part of macOS, and the only source there".to_owned()),
        ..found("dtrace", "dtrace", &format!("no {path}"))
    }
}

/// What it takes away: docs/MACOS.md.
fn protection(facts: &Facts) -> Check {
    let check = |detail| found("sip", "System Integrity Protection", detail);
    let said = facts.csrutil.as_deref();
    match said.map_or(Protection::Unknown, Protection::parse) {
        Protection::Off => check("off, for DTrace"),
        Protection::On => Check {
            status: Status::Missing,
            means: Some("DTrace sees no system calls, or not their addresses".to_owned()),
            remedy: Some("csrutil enable --without dtrace, in Recovery".to_owned()),
            ..check("on")
        },
        Protection::Unknown => Check {
            status: Status::Limited,
            means: Some(
                "if it is on, DTrace sees no system calls, or not their addresses".to_owned(),
            ),
            remedy: Some("csrutil status".to_owned()),
            ..check("not known: csrutil does not tell")
        },
    }
}

fn found(id: &'static str, title: &'static str, detail: &str) -> Check {
    Check {
        id,
        title,
        status: Status::Ok,
        detail: detail.to_owned(),
        means: None,
        remedy: None,
    }
}

#[cfg(target_os = "macos")]
pub use self::host::probe;

#[cfg(target_os = "macos")]
mod host {
    use std::{path::Path, process::Command};

    use super::{Facts, checks};
    use crate::{
        source::dtrace::{PROGRAM, this_system},
        support::Support,
    };

    /// Looks at everything; starts `sw_vers` and `csrutil`.
    pub fn probe() -> Support {
        let kernel = rustix::system::uname();
        Support {
            kernel: kernel.release().to_string_lossy().into_owned(),
            checks: checks(&Facts {
                system: this_system()
                    .map(|system| system.to_string())
                    .map_err(|error| error.to_string()),
                root: rustix::process::geteuid().is_root(),
                dtrace: Path::new(PROGRAM).exists(),
                csrutil: csrutil(),
            }),
        }
    }

    fn csrutil() -> Option<String> {
        let output = Command::new("/usr/bin/csrutil").arg("status").output();
        Some(String::from_utf8_lossy(&output.ok()?.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Support;

    const CUSTOM: &str = "\
System Integrity Protection status: unknown (Custom Configuration).

Configuration:
\tApple Internal: disabled
\tKext Signing: enabled
\tFilesystem Protections: enabled
\tDebugging Restrictions: enabled
\tDTrace Restrictions: disabled
\tNVRAM Protections: enabled

This is an unsupported configuration, likely to break in the future and leave your machine in an unknown state.
";

    #[test]
    fn what_csrutil_says_of_dtrace_comes_before_the_whole() {
        assert_eq!(Protection::parse(CUSTOM), Protection::Off);
        let restricted = CUSTOM.replace(
            "DTrace Restrictions: disabled",
            "DTrace Restrictions: enabled",
        );
        assert_eq!(Protection::parse(&restricted), Protection::On);
        for (word, expected) in [
            ("enabled", Protection::On),
            ("disabled", Protection::Off),
            ("unknown (Custom Configuration)", Protection::Unknown),
        ] {
            let said = format!("System Integrity Protection status: {word}.\n");
            assert_eq!(Protection::parse(&said), expected, "{word}");
        }
        assert_eq!(Protection::parse(""), Protection::Unknown);
    }

    fn support(facts: &Facts) -> Support {
        Support {
            kernel: "23.5.0".to_owned(),
            checks: checks(facts),
        }
    }

    #[test]
    fn dtrace_needs_root_and_no_protection() {
        let facts = Facts {
            system: Ok("macOS 14.5".to_owned()),
            root: true,
            dtrace: true,
            csrutil: Some(CUSTOM.to_owned()),
        };
        let blockers = |facts| {
            let source = SOURCES[0].on(&support(&facts));
            (source.usable, source.why)
        };
        assert_eq!(blockers(facts.clone()), (true, SOURCES[0].sees.to_owned()));
        let on = "System Integrity Protection status: enabled.";
        let refused = Facts {
            root: false,
            dtrace: false,
            csrutil: Some(on.to_owned()),
            ..facts.clone()
        };
        let why = "root: no; dtrace: no /usr/sbin/dtrace; System Integrity Protection: on";
        assert_eq!(blockers(refused), (false, why.to_owned()));
        // It is tried, and says then what is wrong.
        let unknown = Facts {
            csrutil: None,
            ..facts
        };
        assert!(blockers(unknown).0);
    }
}
