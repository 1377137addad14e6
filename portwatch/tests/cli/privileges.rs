//! A start without privileges. The kernel tests try it with each source; this one needs no kernel.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

use super::run::{away_from_terminals, ended, portwatch};

const NOBODY: u32 = 65534;

#[test]
fn start_without_privileges_names_them_and_a_way_to_get_them() {
    let copy = tempfile::tempdir().unwrap();
    let ended = match unprivileged(copy.path()).and_then(|mut command| ended(&mut command)) {
        Ok(ended) => ended,
        Err(error) => return skip(&error.to_string()),
    };
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""));
    let message = ended.stderr;
    assert!(message.starts_with("portwatch: not permitted to trace: "));
    for part in ["CAP_BPF", "CAP_PERFMON", "`portwatch doctor`"] {
        assert!(message.contains(part), "no {part} in: {message}");
    }
    // Which of them depends on what surrounds this test: a container, a service.
    let ways = ["\n  sudo ", "\n  docker run ", "NoNewPrivileges=no"];
    assert!(ways.iter().any(|way| message.contains(way)), "{message}");
}

/// The command by a user who holds no capability.
fn unprivileged(directory: &std::path::Path) -> io::Result<Command> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let effective = field("CapEff:").unwrap_or_default().trim();
    if effective.bytes().all(|digit| digit == b'0') {
        return Ok(portwatch());
    }
    let uids = field("Uid:").unwrap_or_default();
    if uids.split_whitespace().nth(1) != Some("0") {
        return Err(io::Error::other("this user holds capabilities"));
    }
    // The build's own directory may be closed to others.
    let program = directory.join("portwatch");
    fs::copy(env!("CARGO_BIN_EXE_portwatch"), &program)?;
    for path in [directory, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    let mut command = away_from_terminals(program);
    command.uid(NOBODY).gid(NOBODY);
    Ok(command)
}

/// Says so past the test harness, which would keep it to itself.
fn skip(why: &str) {
    let line = "skipped: start_without_privileges_names_them_and_a_way_to_get_them";
    writeln!(io::stderr(), "{line}: {why}").unwrap();
}
