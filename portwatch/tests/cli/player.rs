//! A program in dtrace's place that plays back what a dtrace prints.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::run::{Ended, ended, portwatch};

/// What every player begins with. It takes the script as dtrace does, and has functions for lines:
/// `call OP HOW SOCKADDR RET ERRNO` for a call that begins in an hour, when the watch has surely
/// begun, and `own` for portwatch's own.
const PRELUDE: &str = r#"#!/bin/sh
script=$(cat)
case "$script" in *dtrace:::BEGIN*) ;; *) echo "dtrace: no script" >&2; exit 1 ;; esac
later=$(($(date +%s) + 3600))000000000
zeros=0000000000000000000000000000000000000000
begin() { printf 'B\t1\t1\t2\n'; }
own() { printf 'E\t1\tbind\t1\t9\t%s\t1\t7\t501\t3\t16\t%s\t2\t1002000050000000%s\t0\t0\tportwatch\\0\n' "$PPID" "${1-2}" "${zeros}"; }
call() { printf 'E\t1\t%s\t%s\t7000\t4711\t1\t99\t501\t5\t16\t%s\t2\t%s%s\t%s\t%s\thttpd\\0\n' "$1" "$later" "$2" "$3" "$zeros" "$4" "$5"; }
total() { printf '\n\nC\t1\tbind\t2\t%s\n' "$1"; }
until_told() { while :; do sleep 60 >/dev/null 2>&1 & wait $!; done; }
LOCAL=100200507f000001
ANY=1002005000000000
"#;

/// A program in dtrace's place.
pub(super) struct Player {
    _directory: TempDir,
    path: PathBuf,
}

impl Player {
    pub(super) fn new(body: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dtrace");
        fs::write(&path, format!("{PRELUDE}\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    /// A Mac on which an ordinary user asks for port 80 at 127.0.0.1 and at 0.0.0.0.
    pub(super) fn origin() -> Self {
        Self::new(
            r"
trap 'total 3; exit 0' INT
begin; own
call bind 2 $LOCAL -1 13
call bind 2 $ANY 0 0
until_told",
        )
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a player may say which process it is.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.path.with_extension("pid")
    }

    pub(super) fn command(&self, system: &str, arguments: &[&str]) -> Command {
        let mut command = portwatch();
        command.args(["--source", "dtrace", "--dtrace"]);
        command.arg(&self.path).args(["--dtrace-system", system]);
        command.args(arguments);
        command
    }

    pub(super) fn run(&self, system: &str, arguments: &[&str]) -> Ended {
        ended(&mut self.command(system, arguments)).unwrap()
    }
}
