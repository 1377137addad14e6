use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::Path,
    time::Duration,
};

use clap::Parser as _;

use super::*;
use crate::{cli::Cli, output::frame, users::Users};

fn open(arguments: &[&str]) -> anyhow::Result<Sinks> {
    let arguments = [&["portwatch", "-o", "none"], arguments].concat();
    let cli = Cli::try_parse_from(arguments)?;
    Sinks::open(&Config::new(&cli.watch, &Users::new())?)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

fn option(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// A daemon's socket, on which nothing is waited for in vain.
fn daemon(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket
}

fn received(socket: &UnixDatagram) -> Vec<u8> {
    let mut message = vec![0; 1 << 16];
    let length = socket.recv(&mut message).unwrap();
    message.truncate(length);
    message
}

fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        frame::add(&mut out, message);
    }
    out
}

#[test]
fn each_output_gets_its_own_lines() {
    let directory = tempfile::tempdir().unwrap();
    let (log, socket) = (
        directory.path().join("log"),
        directory.path().join("socket"),
    );
    let daemon = daemon(&socket);
    let sinks = open(&[&option("--log-file", &log), &option("--journald", &socket)]).unwrap();
    let mut lines = [b"one\ntwo\n".to_vec(), framed(&[b"A=1\n", b"B=2\n"])];
    sinks.put(&mut lines);
    runtime().block_on(sinks.finish()).unwrap();
    assert_eq!(fs::read(&log).unwrap(), b"one\ntwo\n");
    assert_eq!(received(&daemon), b"A=1\n");
    assert_eq!(received(&daemon), b"B=2\n");
    assert_eq!(lines, [[0_u8; 0], []]);
}

#[test]
fn a_log_file_that_was_moved_is_made_anew_and_keeps_what_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let (log, old) = (directory.path().join("log"), directory.path().join("log.1"));
    fs::write(&log, "before\n").unwrap();
    let sinks = open(&[&option("--log-file", &log)]).unwrap();
    runtime().block_on(async {
        for lines in ["one\n", "two\n"] {
            sinks.put(&mut [lines.into()]);
            // Taken, that is: for the file that is open.
            sinks.emptied().await;
        }
        fs::rename(&log, &old).unwrap();
        sinks.reopen();
        sinks.put(&mut [b"three\n".to_vec()]);
        sinks.finish().await.unwrap();
    });
    assert_eq!(fs::read_to_string(&old).unwrap(), "before\none\ntwo\n");
    assert_eq!(fs::read_to_string(&log).unwrap(), "three\n");
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "not for others: {mode:o}");
}

#[test]
fn a_log_file_that_cannot_be_opened_again_is_written_on() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let log = inner.join("log");
    let sinks = open(&[&option("--log-file", &log)]).unwrap();
    fs::rename(&inner, directory.path().join("moved")).unwrap();
    sinks.reopen();
    sinks.put(&mut [b"one\n".to_vec()]);
    runtime().block_on(sinks.finish()).unwrap();
    let moved = directory.path().join("moved/log");
    assert_eq!(fs::read(moved).unwrap(), b"one\n");
}

#[test]
fn a_daemon_that_is_away_for_a_while_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let first = daemon(&socket);
    let sinks = open(&[&option("--syslog", &socket)]).unwrap();
    runtime().block_on(async {
        drop(first);
        sinks.put(&mut [framed(&[b"lost"])]);
        // The writer takes one buffer at a time: when it takes the second, the first is dealt with.
        sinks.emptied().await;
        sinks.put(&mut [framed(&[b"lost too"])]);
        sinks.emptied().await;
        assert!(!sinks.has_ended());
        sinks.finish().await.unwrap();
    });
    fs::remove_file(&socket).unwrap();
    let again = daemon(&socket);
    let sinks = open(&[&option("--syslog", &socket)]).unwrap();
    sinks.put(&mut [framed(&[&vec![b'x'; 1 << 20], b"short"])]);
    runtime().block_on(sinks.finish()).unwrap();
    assert_eq!(
        received(&again),
        b"short",
        "one that is too long is passed over"
    );
}

#[test]
fn what_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere/log");
    for name in ["--log-file", "--journald", "--syslog"] {
        let error = open(&[&option(name, &nowhere)]).err().unwrap();
        let message = format!("{error:#}");
        assert!(
            message.contains("nowhere/log") && message.contains("No such file"),
            "{message}"
        );
    }
}

#[test]
fn a_full_disk_is_told() {
    let sinks = open(&["--log-file=/dev/full"]).unwrap();
    sinks.put(&mut [b"one\n".to_vec()]);
    let error = runtime().block_on(sinks.finish()).unwrap_err();
    assert!(
        format!("{error:#}").contains("cannot write to /dev/full: No space left"),
        "{error:#}"
    );
}
