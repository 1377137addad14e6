//! Which source of Linux runs: [`open`] tries the best and falls back, as a whole and with the
//! reason; it never asks for the kernel's version.

use super::{
    Backend, BlindSpot, Choice, Kind, OUTCOMES, Opened, Request, Source, blind_spot, ebpf,
};
use crate::event::{Degradation, System};

const SECCOMP: BlindSpot = (
    "attempts that seccomp denies are not seen",
    "they end before any hook of this source",
    None,
);
const SECCOMP_UNASKED: BlindSpot = (
    "attempts that seccomp denies are not seen",
    "the hook for them slows every system call on this host, so it must be asked for",
    Some("--seccomp"),
);
const SCTP: BlindSpot = (
    "of attempts by SCTP, connects by io_uring and those in the instant when its module is loaded may be missing, or lack protocol and local address",
    "its functions are hooked once the module is there; sockets are looked up after the call",
    None,
);
const UNRETURNED: BlindSpot = (
    if cfg!(target_arch = "aarch64") {
        "what a connect by io_uring, of a 32-bit program or from inside the kernel returned may be missing"
    } else {
        "what a connect by io_uring or from inside the kernel returned may be missing"
    },
    "a return probe on a function that waits would lose calls; how a connect of TCP ended is told",
    None,
);
const OTHER_CALLERS: BlindSpot = (
    "attempts of 32-bit programs, by io_uring and from inside the kernel are not seen",
    "the kernel's system call tracepoints leave them out",
    None,
);
const LOOKED_UP: BlindSpot = (
    "protocol, local address, network namespace, parent and effective user may be missing",
    "they are looked up after the call, when the process or the socket may be gone",
    None,
);

impl Kind {
    /// What this source cannot see even when all its hooks are attached, and why.
    fn blind_spots(self, request: &Request) -> Vec<BlindSpot> {
        match self {
            Self::Fexit if request.seccomp => vec![SCTP],
            Self::Fexit => vec![SECCOMP_UNASKED, SCTP],
            Self::Kprobe => vec![SECCOMP, UNRETURNED, SCTP],
            Self::Tracepoint => vec![SECCOMP, OUTCOMES, OTHER_CALLERS, LOOKED_UP],
        }
    }
}

/// No source works here.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.tried))]
pub struct NoSource {
    tried: Vec<(Kind, String)>,
    refused: bool,
}

impl NoSource {
    /// Whether the kernel refused something for want of a permission.
    pub const fn is_refusal(&self) -> bool {
        self.refused
    }
}

fn describe(tried: &[(Kind, String)]) -> String {
    let mut text = String::from("no source of events works on this host:");
    for (kind, why) in tried {
        text.push_str("\n  ");
        text.push_str(kind.name());
        text.push_str(": ");
        text.push_str(why);
    }
    text.push_str("\n`portwatch doctor` shows what is missing and how to get it");
    text
}

/// Opens the source that was asked for, or the best that works.
pub fn open(request: &Request) -> Result<Opened, NoSource> {
    let kinds = match request.choice {
        Choice::Auto => Kind::ALL.to_vec(),
        Choice::Only(kind) => vec![kind],
    };
    let mut loader = ebpf::Loader::default();
    let mut tried = Vec::new();
    let mut refused = false;
    for kind in kinds {
        match ebpf::Source::open(&mut loader, kind, request) {
            Ok((source, attached)) => {
                return Ok(Opened {
                    source: Source::Ebpf(Box::new(source)),
                    system: System::Linux,
                    backend: Backend::Ebpf(kind),
                    ring_bytes: Some(attached.ring_bytes),
                    hooks: attached.hooks,
                    missing: attached.missing,
                    degradations: degradations(kind, request, &tried, attached.degradations),
                });
            }
            Err(error) => {
                refused |= is_refusal(&error);
                tried.push((kind, format!("{error:#}")));
            }
        }
    }
    Err(NoSource { tried, refused })
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
}

/// What is weaker than it could be: better sources that did not load, what of this one does not
/// work, and its blind spots.
fn degradations(
    kind: Kind,
    request: &Request,
    tried: &[(Kind, String)],
    found: Vec<Degradation>,
) -> Vec<Degradation> {
    let refused = tried.iter().map(|(better, why)| Degradation {
        what: format!("source {} is not available", better.name()),
        why: why.clone(),
        remedy: Some("`portwatch doctor` names what is missing and how to get it".to_owned()),
    });
    let blind = kind.blind_spots(request).into_iter().map(blind_spot);
    refused.chain(found).chain(blind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_names_each_source_and_the_next_step() {
        let error = NoSource {
            tried: vec![
                (Kind::Kprobe, "this kernel has no kprobes".to_owned()),
                (Kind::Tracepoint, "tracefs is not mounted".to_owned()),
            ],
            refused: false,
        };
        insta::assert_snapshot!(error, @r"
        no source of events works on this host:
          kprobe: this kernel has no kprobes
          tracepoint: tracefs is not mounted
        `portwatch doctor` shows what is missing and how to get it
        ");
    }

    #[test]
    fn a_fallback_says_why_the_better_source_does_not_run() {
        let request = Request::default();
        let tried = [(Kind::Kprobe, "no kprobes".to_owned())];
        let all = degradations(Kind::Tracepoint, &request, &tried, Vec::new());
        assert_eq!(all[0].what, "source kprobe is not available");
        assert_eq!(all[0].why, "no kprobes");
        assert_eq!(all.len(), 1 + Kind::Tracepoint.blind_spots(&request).len());
    }
}
