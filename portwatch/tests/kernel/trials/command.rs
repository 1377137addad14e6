//! `portwatch -- COMMAND`: what comes of the command is watched, nothing else, and portwatch ends
//! as the command does.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{mount::mount_bind, process::Signal};
use tempfile::NamedTempFile;

use super::super::{
    driver::Impossible,
    portwatch::{Portwatch, Started},
    process::{Ended, Process},
    source::{self, Source},
    stream::Stream,
    sys,
    workload::{FAMILY, FLAG, USER},
};

/// A run that has ended.
struct Run {
    ended: Ended,
    stdout: String,
}

impl Run {
    /// With portwatch's JSON on standard error.
    fn of(source: Source, args: &[&str], variables: &[(&str, &str)]) -> Result<Self> {
        let mut portwatch = Command::new(source::binary()?);
        portwatch.args(["--json", "--quiet", "--source", source.name()]);
        portwatch.args(args).envs(variables.iter().copied());
        let mut process = Process::spawn(&mut portwatch)?;
        let mut stdout = String::new();
        process.stdout()?.read_to_string(&mut stdout)?;
        let ended = process.wait()?;
        Ok(Self { ended, stdout })
    }

    fn stream(&self) -> Result<Stream> {
        let mut stream = Stream::default();
        for line in self.ended.stderr.lines() {
            stream.push(line)?;
        }
        stream.check_end()?;
        Ok(stream)
    }
}

pub(super) fn ends_as_its_command(source: Source) -> Result<()> {
    for (script, code) in [
        ("echo out", 0),
        ("echo out; exit 7", 7),
        ("echo out; kill -KILL $$", 128 + libc::SIGKILL),
    ] {
        let run = Run::of(source, &["--", "sh", "-c", script], &[])?;
        ensure!(run.stdout == "out\n", "stdout is {:?}", run.stdout);
        run.stream()?;
        run.ended.expect_code(code)?;
    }
    Ok(())
}

pub(super) fn cannot_run_its_command(source: Source) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file");
    fs::write(&file, "no program")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    let file = file.to_str().context("not UTF-8")?;
    for (program, code) in [("no-such-program", 127), (file, 126)] {
        let run = Run::of(source, &["--", program], &[])?;
        let expected = format!("portwatch: cannot run {program}: ");
        let Run { ended, stdout } = run;
        ensure!(stdout.is_empty(), "stdout is {stdout:?}");
        ensure!(ended.stderr.starts_with(&expected), "{:?}", ended.stderr);
        ended.expect_code(code)?;
    }
    Ok(())
}

pub(super) fn is_followed_with_all_that_comes_of_it(source: Source) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (ours, others) = (
        directory.path().join("ours"),
        directory.path().join("others"),
    );
    let mut portwatch = watch_family(source, "head", &ours)?;
    bind_elsewhere(&others)?;
    portwatch.wait_for_any(3)?;
    portwatch.end_input()?;
    let stream = portwatch.finish()?;
    let seen: BTreeSet<_> = stream.attempts.iter().map(|attempt| attempt.pid).collect();
    let (ours, others) = (noted(&ours)?, noted(&others)?);
    ensure!((ours.len(), others.len()) == (3, 1), "{ours:?} {others:?}");
    ensure!(seen == ours, "of {ours:?} were seen {seen:?}");
    ensure!(stream.attempts.len() == 3, "{:#?}", stream.attempts);
    Ok(())
}

/// portwatch with that member of a family as its command, and its JSON read live, which standard
/// error is not.
fn watch_family(source: Source, member: &str, notes: &Path) -> Result<Portwatch> {
    let mut command = Command::new(source::binary()?);
    command.args(["--source", source.name(), "-o", "none", "--quiet"]);
    command.args(["--log-file", "/dev/stdout", "--"]);
    command.arg(std::env::current_exe()?);
    command.args([FLAG, FAMILY, member]).arg(notes);
    Ok(Started::run(&mut command)?.check_backend(source)?.read())
}

/// A bind that is not the command's.
fn bind_elsewhere(notes: &Path) -> Result<()> {
    let mut other = Command::new(std::env::current_exe()?);
    other.args([FLAG, FAMILY, "leaf"]).arg(notes);
    let mut other = Process::spawn(&mut other)?;
    drop(other.stdin()?);
    other.wait()?.expect_code(0)?.expect_quiet().map(drop)
}

fn noted(notes: &Path) -> Result<BTreeSet<u32>> {
    let notes = fs::read_to_string(notes)?;
    notes.lines().map(|line| Ok(line.parse()?)).collect()
}

/// Under sudo the command is its caller's, with nothing of root's; as root where that is asked for.
pub(super) fn runs_as_who_called_sudo(source: Source) -> Result<()> {
    let uid = USER.to_string();
    sys::user_name(USER).ok_or_else(|| Impossible(format!("no user has uid {USER}")))?;
    let sudo = [("SUDO_UID", uid.as_str()), ("SUDO_GID", uid.as_str())];
    let who = "while read -r line; do echo \"$line\"; done < /proc/self/status
               echo \"sudo ${SUDO_UID-nobody}\"";
    let said = |args: &[&str]| -> Result<String> {
        let args = [args, &["--", "sh", "-c", who]].concat();
        let run = sys::in_own_mntns(|| {
            take_users_from_files()?;
            Run::of(source, &args, &sudo)
        })?;
        run.ended.expect_code(0)?;
        Ok(run.stdout)
    };
    let ids = |uid: u32| format!("\t{uid}\t{uid}\t{uid}\t{uid}\n");
    let has = |said: &str, line: &str| said.contains(line);
    let nothing = ["CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n"];
    let as_user = said(&[])?;
    ensure!(
        ["Uid:", "Gid:"]
            .iter()
            .all(|name| has(&as_user, &format!("{name}{}", ids(USER))))
            && nothing.iter().all(|line| has(&as_user, line))
            && has(&as_user, "sudo nobody\n"),
        "{as_user}"
    );
    let as_root = said(&["--run-as", "root"])?;
    ensure!(
        ["Uid:", "Gid:"]
            .iter()
            .all(|name| has(&as_root, &format!("{name}{}", ids(0))))
            && !nothing.iter().any(|line| has(&as_root, line)),
        "{as_root}"
    );
    Ok(())
}

/// In the mount namespace of the calling thread: the tests' portwatch is a static program, and those
/// cannot load the modules that glibc has for other places.
fn take_users_from_files() -> Result<()> {
    const SERVICES: &str = "/etc/nsswitch.conf";
    if !Path::new(SERVICES).exists() {
        return Ok(());
    }
    let mut services = NamedTempFile::new()?;
    services.write_all(b"passwd: files\ngroup: files\n")?;
    // The file stays where it is mounted.
    mount_bind(services.path(), SERVICES).context("cannot replace nsswitch.conf")
}

/// SIGTERM goes to the command, which decides what to make of it; Ctrl-C's it has by itself.
pub(super) fn signals_are_its_commands(source: Source) -> Result<()> {
    let mut command = Command::new(source::binary()?);
    command.args(["--json", "--quiet", "--source", source.name(), "--"]);
    command.args([
        "sh",
        "-c",
        "trap 'exit 9' TERM; echo ready; read line; read line",
    ]);
    let mut process = Process::spawn(&mut command)?;
    let mut stdin = process.stdin()?;
    let mut stdout = process.stdout()?;
    let ready = super::super::process::next_line(&mut stdout)?;
    ensure!(ready.as_deref() == Some("ready"), "{ready:?}");
    process.signal(Signal::INT)?;
    process.signal(Signal::TERM)?;
    // A shell looks at its traps when what it waits for has ended.
    stdin.write_all(b"line\n")?;
    process.wait()?.expect_code(9).map(drop)
}
