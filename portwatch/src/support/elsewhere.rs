//! Systems other than Linux: there is no source for them yet, and nothing to check.

use std::fmt;

use super::{Check, Status, Support};

/// Never met outside Linux.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPrivileges;

impl fmt::Display for MissingPrivileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not permitted to trace: run portwatch with sudo")
    }
}

impl std::error::Error for MissingPrivileges {}

pub fn probe() -> Support {
    let kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let check = Check {
        id: "system",
        title: "system",
        status: Status::Missing,
        detail: std::env::consts::OS.to_owned(),
        means: Some("portwatch traces Linux only, so far".to_owned()),
        remedy: Some("run it on Linux".to_owned()),
    };
    Support {
        kernel,
        checks: vec![check],
    }
}

pub fn privileges() -> Result<(), MissingPrivileges> {
    Ok(())
}

pub fn refused() -> Option<MissingPrivileges> {
    None
}
