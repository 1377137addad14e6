//! Why DTrace does not run, and what to do about it.

use std::{path::PathBuf, process::ExitStatus};

use super::said::Said;

const UNPROTECT: &str = "\
start the Mac in Recovery and run `csrutil enable --without dtrace`; on some Macs with an M2 only \
`csrutil disable` helps. Neither can be done from afar, and a managed Mac may forbid it";

/// DTrace does not run here, or not so that portwatch could use it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("DTrace is for root only")]
    NotRoot,
    #[error("System Integrity Protection hides the system calls from DTrace: nothing can be seen")]
    NoProbes,
    #[error("System Integrity Protection lets DTrace see calls and not their addresses")]
    NoAddresses,
    #[error("{} cannot be started", .path.display())]
    NotThere {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
    #[error("dtrace runs, and does not show portwatch's own bind()")]
    Silent,
    #[error("dtrace does not get ready")]
    NotReady,
    #[error("dtrace ended ({status}){}", said(.words.as_deref()))]
    Ended {
        status: String,
        words: Option<String>,
    },
    #[error("which macOS this is cannot be told: sw_vers said `{0}`")]
    NoVersion(String),
    #[error("the pipes to dtrace do not work")]
    Pipes(#[from] std::io::Error),
}

fn said(words: Option<&str>) -> String {
    words.map_or_else(String::new, |words| format!(": {words}"))
}

impl Refused {
    /// What to do about it, where that is known.
    pub const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NotRoot => Some("run portwatch with sudo"),
            Self::NoProbes | Self::NoAddresses => Some(UNPROTECT),
            _ => None,
        }
    }

    /// From what a dtrace said that has ended.
    pub(super) fn ended(said: &Said, status: Option<ExitStatus>) -> Self {
        if said.needs_root() {
            Self::NotRoot
        } else if said.no_probes() {
            Self::NoProbes
        } else {
            Self::Ended {
                status: status.map_or_else(|| "unknown".to_owned(), |status| status.to_string()),
                words: said.words(),
            }
        }
    }
}
