//! What this host and these privileges allow; backs `portwatch doctor` and the message of a start
//! without privileges.
//!
//! Everything is measured on the host as it is: by reading what the kernel publishes of itself, or
//! by trying. Nothing is concluded from the kernel's version.

#[cfg(target_os = "linux")]
mod capability;
#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod command;
#[cfg(target_os = "linux")]
mod facts;
#[cfg(any(test, target_os = "macos"))]
mod macos;
#[cfg(target_os = "linux")]
mod privilege;
#[cfg(target_os = "linux")]
mod tracefs;

#[cfg(target_os = "linux")]
pub use linux::{privileges, probe, refused};
#[cfg(target_os = "macos")]
pub use macos::probe;
#[cfg(target_os = "linux")]
pub use privilege::MissingPrivileges;

#[cfg(target_os = "linux")]
use self::linux::SOURCES;
#[cfg(target_os = "macos")]
use self::macos::SOURCES;

/// What a host allows: one check for each thing that portwatch rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// The release, as `uname -r` prints it
    pub kernel: String,
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable, for machines: `btf`
    pub id: &'static str,
    /// For people: `BTF`
    pub title: &'static str,
    pub status: Status,
    /// What was found
    pub detail: String,
    /// What is lost by it
    pub means: Option<String>,
    /// What to type or to change; one thing a line
    pub remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    /// Something is lost, or it cannot be told
    Limited,
    Missing,
}

/// Whether a source could run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSupport {
    /// As `--source` takes it: `kprobe`
    pub name: &'static str,
    pub usable: bool,
    /// What it sees, or what it lacks
    pub why: String,
}

/// What one source rests on.
struct Requirements {
    name: &'static str,
    /// Checks none of which may be missing
    checks: &'static [&'static str],
    sees: &'static str,
}

/// Which sources could run here, the best first: the first usable one is what `--source auto` is
/// expected to end up with. It still tries them all.
pub fn sources(support: &Support) -> Vec<SourceSupport> {
    SOURCES.iter().map(|source| source.on(support)).collect()
}

impl Requirements {
    fn on(&self, support: &Support) -> SourceSupport {
        let Self { name, checks, sees } = *self;
        let check = |id: &&str| support.checks.iter().find(|check| check.id == *id);
        let blockers: Vec<_> = checks
            .iter()
            .filter_map(check)
            .filter(|check| check.status == Status::Missing)
            .map(|check| format!("{}: {}", check.title, check.detail))
            .collect();
        let usable = blockers.is_empty();
        SourceSupport {
            name,
            usable,
            why: if usable {
                sees.to_owned()
            } else {
                blockers.join("; ")
            },
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{
        MissingPrivileges, Requirements, Support, check,
        command::Command,
        facts::{Facts, Grants},
    };

    /// Best first, the order in which `--source auto` tries them.
    pub(super) const SOURCES: [Requirements; 3] = [
        Requirements {
            name: "fexit",
            checks: &[
                "capabilities",
                "namespaces",
                "bpf",
                "ring_buffer",
                "btf",
                "fentry",
            ],
            sees: "every attempt with its socket, its stages and its outcome, at the least cost",
        },
        Requirements {
            name: "kprobe",
            checks: &[
                "capabilities",
                "namespaces",
                "bpf",
                "ring_buffer",
                "btf",
                "kprobes",
                "tracefs",
                "perf_event_paranoid",
            ],
            sees: "every attempt with its socket, its stages and its outcome, at a greater cost",
        },
        Requirements {
            name: "tracepoint",
            checks: &[
                "capabilities",
                "namespaces",
                "bpf",
                "ring_buffer",
                "tracepoints",
                "tracefs",
                "perf_event_paranoid",
            ],
            sees: "system calls and their results; not the socket, io_uring or 32-bit programs",
        },
    ];

    /// Looks at everything. Takes some milliseconds and, with the capabilities for it, loads and
    /// drops a few two-instruction programs.
    pub fn probe() -> Support {
        let facts = Facts::read();
        Support {
            checks: check::all(&facts, &Command::bare()),
            kernel: facts.release,
        }
    }

    /// Whether this process may trace at all; for every start, before anything is loaded.
    ///
    /// Only what lacks for certain is an error: where the kernel must be asked
    /// (`kernel.perf_event_paranoid` above 2), loading goes ahead, and [`refused`] has the message
    /// if the kernel then says no.
    pub fn privileges() -> Result<(), MissingPrivileges> {
        match MissingPrivileges::certain(&Grants::read(), Command::running()) {
            Some(missing) => Err(missing),
            None => Ok(()),
        }
    }

    /// For a loader to which the kernel answered EPERM or EACCES: what may have been lacking;
    /// `None` where it cannot have been a capability.
    pub fn refused() -> Option<MissingPrivileges> {
        MissingPrivileges::likely(&Grants::read(), Command::running())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn support(missing: &[&str]) -> Support {
        let check = |id: &&'static str| Check {
            id,
            title: id,
            status: if missing.contains(id) {
                Status::Missing
            } else {
                Status::Ok
            },
            detail: "not here".to_owned(),
            means: None,
            remedy: None,
        };
        let mut ids: Vec<_> = SOURCES.iter().flat_map(|source| source.checks).collect();
        ids.sort();
        ids.dedup();
        Support {
            kernel: "6.1.0".to_owned(),
            checks: ids.into_iter().map(check).collect(),
        }
    }

    fn usable(missing: &[&str]) -> Vec<&'static str> {
        let sources = sources(&support(missing));
        sources
            .iter()
            .filter(|source| source.usable)
            .map(|source| source.name)
            .collect()
    }

    #[test]
    fn kprobe_comes_before_tracepoint() {
        assert_eq!(usable(&[]), ["fexit", "kprobe", "tracepoint"]);
    }

    #[test]
    fn tracepoint_needs_neither_kprobes_nor_btf() {
        assert_eq!(usable(&["kprobes", "fentry"]), ["tracepoint"]);
        assert_eq!(usable(&["btf"]), ["tracepoint"]);
    }

    #[test]
    fn nothing_runs_without_capabilities_or_ring_buffer() {
        assert!(usable(&["capabilities"]).is_empty());
        assert!(usable(&["ring_buffer"]).is_empty());
    }

    #[test]
    fn a_source_says_all_that_it_lacks() {
        let sources = sources(&support(&["btf", "kprobes"]));
        assert_eq!(sources[1].why, "btf: not here; kprobes: not here");
        assert_eq!(sources[0].why, "btf: not here");
    }
}
