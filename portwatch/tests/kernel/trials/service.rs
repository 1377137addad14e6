//! The unit that packaging/ has, under systemd itself.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufReader, Write as _},
    path::Path,
    process::{ChildStdout, Command},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{
        driver::{Impossible, Pace, Workload},
        process::{Process, next_line},
        source::{self, Source},
    },
    program::need,
    sink::{JOURNALD, is_attempt, read_journal, text},
};

const SYSTEMD: &str = "/usr/lib/systemd/systemd";
const UNIT: &str = include_str!("../../../../packaging/systemd/portwatch.service");

/// As much of a system as the unit takes.
const UNITS: [(&str, &str); 3] = [
    (
        "trial.target",
        "[Unit]\n\
         DefaultDependencies=no\n\
         Wants=journald.service portwatch.service trial.service\n",
    ),
    (
        "journald.service",
        "[Unit]\n\
         DefaultDependencies=no\n\
         Before=portwatch.service\n\
         [Service]\n\
         Type=notify\n\
         ExecStart=/usr/lib/systemd/systemd-journald\n",
    ),
    // Once portwatch has said that it is ready, or was given up.
    (
        "trial.service",
        "[Unit]\n\
         DefaultDependencies=no\n\
         After=portwatch.service\n\
         [Service]\n\
         Type=oneshot\n\
         TimeoutStartSec=infinity\n\
         ExecStart=/bin/sh /run/systemd/system/trial.sh\n",
    ),
];

/// What is done within it: `said` is read, and `go` written, from outside.
const STEPS: &str = "\
    exec > DIRECTORY/said\n\
    state() {\n\
      systemctl show portwatch.service --property=ActiveState,Result,NRestarts; echo .\n\
    }\n\
    state\n\
    read -r go < DIRECTORY/go\n\
    systemctl stop portwatch.service\n\
    state\n";

/// In namespaces of its own, with a /run of its own.
const BOOT: &str = "set -e\n\
    mkdir -p /usr/local/bin\n\
    mount -t tmpfs tmpfs /usr/local/bin\n\
    cp \"$1\" /usr/local/bin/portwatch\n\
    mount -t tmpfs tmpfs /run\n\
    mkdir -p /run/systemd/system /run/log/journal\n\
    cp \"$2\"/*.* /run/systemd/system\n\
    exec env container=trial \"$0\" --system --unit=trial.target";

/// Sandboxed as it is, the unit starts, sees what others do, tells the journal, and ends well.
pub(super) fn the_unit_runs(_: Source) -> Result<()> {
    let alone = Impossible("it would run services on this machine".to_owned());
    ensure!(source::is_emulated(), alone);
    need(&["unshare", "systemctl", "journalctl"])?;
    for program in [SYSTEMD, JOURNALD] {
        let missing = Impossible(format!("there is no {program}"));
        ensure!(Path::new(program).exists(), missing);
    }
    let mut systemd = Systemd::boot()?;
    systemd.expect("active")?;
    let done = Workload::prepare("five_binds", Pace::Burst)?.run_watched_by(&mut [])?;
    systemd.go_on()?;
    systemd.expect("inactive")?;
    let entries = systemd.journal()?;
    let start = entries.first().context("no start")?;
    ensure!(start["PORTWATCH_BACKEND"] == "fexit", "{start:#}");
    let pid = done.pid.to_string();
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| is_attempt(entry, "PORTWATCH_KIND") && entry["PORTWATCH_PID"] == *pid)
        .map(|entry| {
            (
                text(&entry["PORTWATCH_PORT"]),
                text(&entry["PORTWATCH_RET"]),
            )
        })
        .collect();
    let number = |number: Option<i32>| number.map(|number| number.to_string());
    let made = done.truths.iter();
    let made: Vec<_> = made
        .map(|truth| (number(truth.port.map(i32::from)), number(truth.ret)))
        .collect();
    ensure!(!made.is_empty() && told == made, "{told:?}, not {made:?}");
    Ok(())
}

/// systemd as the first process of a pid namespace; gone when dropped.
struct Systemd {
    unshare: Process,
    /// What it says
    said: BufReader<ChildStdout>,
    _reader: Process,
    directory: TempDir,
}

impl Systemd {
    fn boot() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        for pipe in ["said", "go"] {
            mknodat(
                CWD,
                path.join(pipe),
                FileType::Fifo,
                Mode::RUSR | Mode::WUSR,
                0,
            )?;
        }
        let steps = STEPS.replace("DIRECTORY", &path.display().to_string());
        let own = [("portwatch.service", UNIT), ("trial.sh", &*steps)];
        for (name, text) in UNITS.into_iter().chain(own) {
            fs::write(path.join(name), text)?;
        }
        let mut reader = Process::spawn(Command::new("cat").arg(path.join("said")))?;
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount", "--mount-proc"]);
        unshare.args(["sh", "-c", BOOT, SYSTEMD]);
        unshare.arg(source::binary()?).arg(path);
        Ok(Self {
            unshare: Process::spawn(&mut unshare)?,
            said: reader.stdout()?,
            _reader: reader,
            directory,
        })
    }

    /// Waits for what it says of the unit, which never failed.
    fn expect(&mut self, state: &str) -> Result<()> {
        let mut properties = BTreeMap::new();
        while let Some(line) = next_line(&mut self.said)?
            && line.trim() != "."
        {
            let (name, value) = line.trim().split_once('=').context("a property")?;
            properties.insert(name.to_owned(), value.to_owned());
        }
        let expected = [
            ("ActiveState", state),
            ("NRestarts", "0"),
            ("Result", "success"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        ensure!(properties == expected.into(), "{properties:?}");
        Ok(())
    }

    /// Has it take the next step.
    fn go_on(&self) -> Result<()> {
        let mut go = fs::File::create(self.directory.path().join("go"))?;
        Ok(writeln!(go, "go")?)
    }

    fn journal(&self) -> Result<Vec<Value>> {
        let root = format!("/proc/{}/root", self.unshare.pid());
        read_journal(&Path::new(&root).join("run/log/journal"))
    }
}

impl Drop for Systemd {
    /// With the first of its processes, all of a pid namespace go.
    fn drop(&mut self) {
        let pid = self.unshare.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            if let Some(child) = child.parse().ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile.
                let _ = kill_process(child, Signal::KILL);
            }
        }
    }
}
