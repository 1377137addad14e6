//! Daemons that others wrote read what portwatch sends them.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{
        driver::{Impossible, Pace, Workload},
        portwatch,
        process::{Process, next_line},
        source::Source,
        stream::Stream,
    },
    program::{need, wait_until, which},
};

pub(super) const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";

/// What an attempt must have kept on its way: the field's name in JSON.
const KEPT: [&str; 10] = [
    "seq",
    "op",
    "pid",
    "uid",
    "addr",
    "port",
    "ret",
    "errno",
    "outcome",
    "cause.code",
];

pub(super) fn journald_has_it(source: Source) -> Result<()> {
    need(&["unshare", "journalctl"])?;
    if !Path::new(JOURNALD).exists() {
        return Err(Impossible(format!("there is no {JOURNALD}")).into());
    }
    let journal = Journal::start()?;
    let socket = journal.inside("run/systemd/journal/socket");
    let stream = watched(source, &format!("--journald={}", socket.display()))?;
    let entries = journal.read()?;
    let kept = entries
        .iter()
        .filter(|entry| is_attempt(entry, "PORTWATCH_KIND"));
    let name = |field: &str| format!("PORTWATCH_{}", field.replace('.', "_").to_uppercase());
    let read = |entry: &Value, field: &str| text(&entry[name(field)]);
    same(&stream, &kept.collect::<Vec<_>>(), read)?;
    entries.iter().try_for_each(journald_knows)
}

/// What journald and its readers go by has its place too.
fn journald_knows(entry: &Value) -> Result<()> {
    let is = |field: &str, expected: &Option<String>| {
        ensure!(text(&entry[field]) == *expected, "{field} in {entry:#}");
        Ok(())
    };
    ensure!(text(&entry["MESSAGE"]).is_some_and(|message| !message.is_empty()));
    is("SYSLOG_IDENTIFIER", &Some("portwatch".to_owned()))?;
    if is_attempt(entry, "PORTWATCH_KIND") {
        is("OBJECT_PID", &text(&entry["PORTWATCH_PID"]))?;
        let ret = text(&entry["PORTWATCH_RET"]).unwrap_or_default();
        let errno = ret.strip_prefix('-').map(str::to_owned);
        let priority = if text(&entry["PORTWATCH_OUTCOME"]).as_deref() == Some("failed") {
            "4"
        } else {
            "6"
        };
        is("ERRNO", &errno)?;
        is("PRIORITY", &Some(priority.to_owned()))?;
    }
    Ok(())
}

pub(super) fn rsyslogd_has_it(source: Source) -> Result<()> {
    need(&["rsyslogd"])?;
    let syslog = Syslog::start()?;
    let socket = syslog.directory.path().join("socket");
    let stream = watched(source, &format!("--syslog={}", socket.display()))?;
    let messages = syslog.read()?;
    let kept = messages
        .iter()
        .filter(|message| is_attempt(message, "msgid"));
    let read = |message: &Value, field: &str| parameter(message["data"].as_str()?, field);
    same(&stream, &kept.collect::<Vec<_>>(), read)?;
    for message in &messages {
        ensure!(
            message["app"] == "portwatch"
                && message["version"] == "1"
                && message["message"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
            "{message:#}"
        );
    }
    Ok(())
}

/// Watches what succeeds and what fails, and names that mean harm.
fn watched(source: Source, sink: &str) -> Result<Stream> {
    let mut portwatch = portwatch::start(source, &[sink])?;
    for workload in ["mixture", "hostile_names"] {
        Workload::prepare(workload, Pace::Burst)?.run(&mut portwatch)?;
    }
    portwatch.stop()
}

/// The daemon has each attempt of the stream once, in its order, with the same values.
fn same(
    stream: &Stream,
    read: &[&Value],
    field: impl Fn(&Value, &str) -> Option<String>,
) -> Result<()> {
    let sent: Vec<Value> = stream
        .text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let sent: Vec<_> = sent
        .iter()
        .filter(|event| is_attempt(event, "kind"))
        .collect();
    ensure!(!sent.is_empty(), "nothing happened");
    ensure!(
        read.len() == sent.len(),
        "{} of {} attempts were read back",
        read.len(),
        sent.len()
    );
    for (sent, read) in sent.into_iter().zip(read) {
        for name in KEPT {
            let value = name.split('.').fold(sent, |value, part| &value[part]);
            ensure!(
                field(read, name) == text(value),
                "{name} of {sent:#} came as {read:#}"
            );
        }
    }
    Ok(())
}

pub(super) fn is_attempt(event: &Value, kind: &str) -> bool {
    event[kind] == "attempt"
}

/// A value as others write it; what has no value has no text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A parameter of RFC 5424's structured data.
fn parameter(data: &str, name: &str) -> Option<String> {
    let (_, rest) = data.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// journald with a /run of its own.
struct Journal(Process);

impl Journal {
    fn start() -> Result<Self> {
        const SCRIPT: &str = "set -e\n\
            mount -t tmpfs tmpfs /run\n\
            mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal\n\
            printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\nForwardToSyslog=no\\n\
            RateLimitIntervalSec=0\\n' > /run/systemd/journald.conf.d/test.conf\n\
            : > /run/is-its-own\n\
            exec \"$0\"";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", SCRIPT, JOURNALD]);
        let journal = Self(Process::spawn(&mut unshare)?);
        let (own, socket) = ("run/is-its-own", "run/systemd/journal/socket");
        wait_until("journald takes entries", || {
            Ok(journal.inside(own).exists() && is_open(&journal.inside(socket)))
        })?;
        Ok(journal)
    }

    /// A path as it sees it.
    fn inside(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.0.pid())).join(path)
    }

    fn read(&self) -> Result<Vec<Value>> {
        read_journal(&self.inside("run/log/journal"))
    }
}

/// Every entry of portwatch's, up to the summary.
pub(super) fn read_journal(directory: &Path) -> Result<Vec<Value>> {
    let mut journalctl = Command::new("journalctl");
    journalctl.arg("--directory").arg(directory);
    journalctl.args(["--output=json", "--all", "--follow", "--no-tail"]);
    let mut process = Process::spawn(journalctl.arg("SYSLOG_IDENTIFIER=portwatch"))?;
    let mut lines = process.stdout()?;
    let mut entries = Vec::new();
    while let Some(line) = next_line(&mut lines)? {
        let entry: Value = serde_json::from_str(&line)?;
        let last = entry["PORTWATCH_KIND"] == "summary";
        entries.push(entry);
        if last {
            return Ok(entries);
        }
    }
    Err(process.obituary().context("journalctl broke off"))
}

/// rsyslogd with nothing but a socket and a file.
struct Syslog {
    process: Process,
    directory: TempDir,
}

impl Syslog {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let program = which("rsyslogd").context("no rsyslogd")?;
        let libraries = libraries(&program)?;
        fs::write(path.join("conf"), configuration(path))?;
        let mut rsyslogd = Command::new(&program);
        rsyslogd.env("LD_LIBRARY_PATH", &libraries);
        rsyslogd
            .args(["-n", "-i", "NONE", "-f"])
            .arg(path.join("conf"));
        rsyslogd.arg("-M").arg(libraries.join("rsyslog"));
        let process = Process::spawn(&mut rsyslogd)?;
        wait_until("rsyslogd takes messages", || {
            Ok(is_open(&path.join("socket")))
        })?;
        Ok(Self { process, directory })
    }

    /// Every message, up to the summary.
    fn read(mut self) -> Result<Vec<Value>> {
        let file = self.directory.path().join("messages");
        let mut messages = Vec::new();
        wait_until("rsyslogd has written the summary", || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let whole = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let read: Result<Vec<Value>, _> = whole.map(serde_json::from_str).collect();
            messages = read.unwrap_or_default();
            Ok(messages
                .last()
                .is_some_and(|last| last["msgid"] == "summary"))
        })?;
        self.process.signal(rustix::process::Signal::TERM)?;
        self.process.wait()?.expect_code(0)?;
        Ok(messages)
    }
}

fn configuration(directory: &Path) -> String {
    const PROPERTIES: [(&str, &str); 5] = [
        ("app", "app-name"),
        ("version", "protocol-version"),
        ("msgid", "msgid"),
        ("data", "structured-data"),
        ("message", "msg"),
    ];
    let directory = directory.display();
    let properties = PROPERTIES.map(|(name, property)| {
        format!("property(outname=\"{name}\" name=\"{property}\" format=\"jsonf\")")
    });
    let properties = properties.join(" constant(value=\",\") ");
    // Messages are as long as RFC 5424 lets senders hope for, and longer.
    format!(
        "global(maxMessageSize=\"64k\")\n\
         module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         input(type=\"imuxsock\" Socket=\"{directory}/socket\" UseSpecialParser=\"off\" \
           RateLimit.Interval=\"0\")\n\
         template(name=\"all\" type=\"list\") {{\n\
           constant(value=\"{{\") {properties} constant(value=\"}}\\n\")\n\
         }}\n\
         action(type=\"omfile\" file=\"{directory}/messages\" template=\"all\")\n"
    )
}

/// The libraries that were installed, or unpacked, with a program in `…/usr/sbin`.
fn libraries(program: &Path) -> Result<PathBuf> {
    let usr = program.ancestors().nth(2).context("no /usr")?;
    let mut found = fs::read_dir(usr.join("lib"))?
        .flatten()
        .map(|entry| entry.path());
    found
        .find(|path| path.join("rsyslog").is_dir())
        .context("rsyslogd has no modules")
}

/// Whether somebody reads from a datagram socket.
fn is_open(path: &Path) -> bool {
    UnixDatagram::unbound().is_ok_and(|socket| socket.connect(path).is_ok())
}
