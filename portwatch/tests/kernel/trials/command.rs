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
use rustix::process::Signal;

use super::{
    super::{
        portwatch::Started,
        process::{Ended, Process},
        source::{self, Source},
        stream::Stream,
        workload::USER,
    },
    program::need,
};

/// Binds, notes in a file who did, and waits until its standard input ends.
const BIND: &str = "
import os, socket, sys
def bind():
    socket.socket().bind(('127.0.0.1', 0))
    with open(sys.argv[1], 'a') as notes:
        notes.write(f'{os.getpid()}\\n')
    sys.stdin.read()
";

/// It binds itself, its grandchild does, and a daemon does once nobody is left above it. It ends
/// after them.
const TREE: &str = "
over, held = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        bind()
        os._exit(0)
    os._exit(os.wait()[1])
middle = os.fork()
if middle == 0:
    middle = os.getpid()
    if os.fork() == 0:
        os.setsid()
        while os.getppid() == middle:
            os.sched_yield()
        bind()
    os._exit(0)
os.close(held)
bind()
os.read(over, 1)
os.wait()
";

/// A run that has ended.
struct Run {
    ended: Ended,
    stdout: String,
}

impl Run {
    /// With portwatch's JSON on standard error.
    fn of(source: Source, args: &[&str], variables: &[(&str, &str)]) -> Result<Self> {
        Self::by(Command::new(source::binary()?), source, args, variables)
    }

    /// The same, by a command that runs portwatch.
    fn by(
        mut portwatch: Command,
        source: Source,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
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
    need(&["python3"])?;
    let directory = tempfile::tempdir()?;
    let (ours, others) = (
        directory.path().join("ours"),
        directory.path().join("others"),
    );
    let script = [BIND, TREE].concat();
    let mut command = Command::new(source::binary()?);
    command.args(["--source", source.name(), "-o", "none"]);
    // Live, which standard error is not read.
    command.args([
        "--quiet",
        "--log-file",
        "/dev/stdout",
        "--",
        "python3",
        "-c",
    ]);
    command.arg(script).arg(&ours);
    let mut portwatch = Started::run(&mut command)?.check_backend(source)?.read();
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

/// A bind that is not the command's.
fn bind_elsewhere(notes: &Path) -> Result<()> {
    let mut python = Command::new("python3");
    python.args(["-c", &[BIND, "bind()\n"].concat()]).arg(notes);
    let mut python = Process::spawn(&mut python)?;
    drop(python.stdin()?);
    python.wait()?.expect_code(0)?.expect_quiet().map(drop)
}

fn noted(notes: &Path) -> Result<BTreeSet<u32>> {
    let notes = fs::read_to_string(notes)?;
    notes.lines().map(|line| Ok(line.parse()?)).collect()
}

/// Under sudo the command is its caller's, with nothing of root's; as root where that is asked for.
pub(super) fn runs_as_who_called_sudo(source: Source) -> Result<()> {
    need(&["python3", "unshare"])?;
    let uid = USER.to_string();
    let directory = tempfile::tempdir()?;
    let services = directory.path().join("nsswitch.conf");
    fs::write(&services, "passwd: files\ngroup: files\n")?;
    let sudo = [("SUDO_UID", uid.as_str()), ("SUDO_GID", uid.as_str())];
    let who = "import os; print(os.getresuid(), os.getresgid(), 'SUDO_UID' in os.environ);\
               print([line for line in open('/proc/self/status') if line[:4] in ('CapP', 'CapE')])";
    let said = |args: &[&str]| -> Result<String> {
        let args = [args, &["--", "python3", "-c", who]].concat();
        let run = Run::by(with_services(&services)?, source, &args, &sudo)?;
        run.ended.expect_code(0)?;
        Ok(run.stdout)
    };
    let nothing = "0000000000000000";
    let as_user = said(&[])?;
    ensure!(
        as_user.starts_with(&format!("({uid}, {uid}, {uid})")) && as_user.contains("False"),
        "{as_user}"
    );
    ensure!(as_user.matches(nothing).count() == 2, "{as_user}");
    let as_root = said(&["--run-as", "root"])?;
    ensure!(
        as_root.starts_with("(0, 0, 0)") && !as_root.contains(nothing),
        "{as_root}"
    );
    Ok(())
}

/// portwatch where users and groups are looked up as that file says: the tests' portwatch is a static
/// program, and those cannot load the modules that glibc has for other places.
fn with_services(services: &Path) -> Result<Command> {
    const SCRIPT: &str = r#"mount --bind "$0" /etc/nsswitch.conf && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT]).arg(services);
    command.arg(source::binary()?);
    Ok(command)
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
