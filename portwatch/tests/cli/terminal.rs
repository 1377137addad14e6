//! What is shown on a terminal, and how it is given back.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use clap::Parser as _;
use portwatch::{
    cli::{self, Cli},
    config::Config,
    top,
    users::Users,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, mkfifoat},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};
use tempfile::TempDir;

use super::{player::Player, run::portwatch};

/// A terminal, and who sits at it.
struct Terminal {
    /// What is typed and shown
    seat: File,
    device: OwnedFd,
    shown: String,
}

impl Terminal {
    fn new() -> Self {
        let seat = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&seat).unwrap();
        unlockpt(&seat).unwrap();
        let name = ptsname(&seat, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let device = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&device, size).unwrap();
        Self {
            seat: seat.into(),
            device,
            shown: String::new(),
        }
    }

    fn stdio(&self) -> Stdio {
        self.device.try_clone().unwrap().into()
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.device).unwrap()
    }

    /// Reads until that is shown.
    fn wait_for(&mut self, expected: &str) {
        while !self.shown.contains(expected) {
            assert!(self.read(20), "no {expected:?} in {:?}", self.shown);
        }
    }

    /// Everything that was shown, once nobody writes any more.
    fn rest(&mut self) -> &str {
        while self.read(0) {}
        &self.shown
    }

    /// Reads what is there, or comes within that time; whether it was anything.
    fn read(&mut self, seconds: i64) -> bool {
        let limit = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let mut ready = [PollFd::new(&self.seat, PollFlags::IN)];
        if poll(&mut ready, Some(&limit)).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let count = self.seat.read(&mut bytes).unwrap();
        self.shown += &String::from_utf8_lossy(&bytes[..count]);
        true
    }

    fn press(&mut self, keys: &[u8]) {
        self.seat.write_all(keys).unwrap();
    }
}

/// A recording that is larger than a pipe.
fn recording(directory: &TempDir) -> PathBuf {
    let once = include_str!("recording.jsonl");
    let lines = once.split_inclusive('\n');
    let attempts: String = lines.filter(|line| line.contains(r#""attempt""#)).collect();
    let path = directory.path().join("day.jsonl");
    let times = 512 * 1024 / attempts.len();
    fs::write(&path, attempts.repeat(times)).unwrap();
    path
}

/// Replays it for somebody who begins to read late: by then somebody waits for it.
fn replay_slowly(command: &mut Command) {
    /// What a replay takes that says nothing of itself
    const PATIENCE: Duration = Duration::from_millis(600);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut byte = [0];
    stdout.read_exact(&mut byte).unwrap();
    // Meanwhile it cannot go on, since the pipe is full.
    thread::sleep(PATIENCE);
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_long_replay_says_how_far_it_is_on_a_terminal_and_takes_that_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new();
    let mut command = portwatch();
    command
        .args(["replay", "--json"])
        .arg(recording(&directory));
    replay_slowly(command.stderr(terminal.stdio()));
    let shown = terminal.rest();
    assert!(shown.starts_with("\rday.jsonl: "), "{shown:?}");
    assert!(
        shown.contains(" %, ") && shown.contains(" lines/s\x1b[K"),
        "{shown:?}"
    );
    assert!(shown.ends_with("\r\x1b[K"), "{shown:?}");
}

#[test]
fn a_long_replay_says_nothing_of_it_elsewhere_or_when_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let recording = recording(&directory);
    let said = directory.path().join("said");
    let mut command = portwatch();
    command.args(["replay", "--json"]).arg(&recording);
    replay_slowly(command.stderr(File::create(&said).unwrap()));
    assert_eq!(fs::read_to_string(said).unwrap(), "");
    let mut terminal = Terminal::new();
    let mut command = portwatch();
    command.args(["replay", "--json", "-q"]).arg(&recording);
    replay_slowly(command.stderr(terminal.stdio()));
    assert_eq!(terminal.rest(), "");
}

#[test]
fn a_long_look_up_of_why_says_so_on_a_terminal_and_takes_that_away() {
    let directory = tempfile::tempdir().unwrap();
    // Whoever opens it waits until somebody writes to it.
    let place = directory.path().join("place");
    mkfifoat(CWD, &place, Mode::RUSR | Mode::WUSR).unwrap();
    let ask = |stderr: Stdio| {
        let mut command = portwatch();
        command.args(["why", "127.0.0.1:1", "--netns"]).arg(&place);
        command.stderr(stderr).stdout(Stdio::null()).spawn()
    };
    let mut terminal = Terminal::new();
    let mut child = ask(terminal.stdio()).unwrap();
    terminal.wait_for("looking it up");
    drop(File::options().write(true).open(&place).unwrap());
    assert!(!child.wait().unwrap().success());
    let shown = terminal.rest();
    let said = shown.strip_prefix("\rlooking it up; Ctrl-C gives up\x1b[K\r\x1b[K");
    let said = said.unwrap_or_else(|| panic!("{shown:?}"));
    assert!(said.starts_with("portwatch: "), "{said:?}");
}

/// `portwatch top` of a Mac on which something fails, on a terminal that it has taken over.
struct Top {
    child: Child,
    terminal: Terminal,
    before: String,
    _player: Player,
}

impl Top {
    fn start() -> Self {
        let player = Player::new(
            "trap 'total 2; exit 0' INT; begin; own; call bind 2 $LOCAL -1 13; until_told",
        );
        let mut terminal = Terminal::new();
        let before = format!("{:?}", terminal.settings());
        let mut command = portwatch();
        command.args(["top", "--source", "dtrace"]).arg("--dtrace");
        command
            .arg(player.path())
            .args(["--dtrace-system", "macOS 14"]);
        command.env("TERM", "xterm");
        command.stdin(terminal.stdio()).stdout(terminal.stdio());
        let child = command.stderr(terminal.stdio()).spawn().unwrap();
        terminal.wait_for("httpd");
        assert!(terminal.shown.contains("\x1b[?1049h"), "no other screen");
        assert!(!terminal.settings().local_modes.contains(LocalModes::ICANON));
        Self {
            child,
            terminal,
            before,
            _player: player,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn has_given_back_the_terminal(mut self) {
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(format!("{:?}", self.terminal.settings()), self.before);
        let shown = self.terminal.rest();
        let screen = shown.rfind("\x1b[?1049l").unwrap();
        let drawn = shown.rfind("httpd").unwrap();
        assert!(drawn < screen, "drawn after the end: {shown:?}");
    }
}

#[test]
fn top_gives_the_terminal_back_when_a_key_ends_it() {
    for key in ["q", "\u{3}"] {
        let mut top = Top::start();
        top.terminal.press(key.as_bytes());
        top.has_given_back_the_terminal();
    }
}

#[test]
fn top_gives_the_terminal_back_when_a_signal_ends_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let top = Top::start();
        top.signal(signal);
        top.has_given_back_the_terminal();
    }
}

/// What tells the test below that it is the program that panics: portwatch itself does so for nobody.
const PANICS: &str = "TOP_PANICS";

#[test]
fn top_gives_the_terminal_back_when_it_panics() {
    if std::env::var_os(PANICS).is_some() {
        panic_in_a_live_view();
    }
    let mut terminal = Terminal::new();
    let before = format!("{:?}", terminal.settings());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["top_gives_the_terminal_back_when_it_panics", "--nocapture"]);
    command.env(PANICS, "1").env("TERM", "xterm");
    command.stdin(terminal.stdio()).stdout(terminal.stdio());
    let mut child = command.stderr(terminal.stdio()).spawn().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(format!("{:?}", terminal.settings()), before);
    let shown = terminal.rest();
    let at = |what: &str| {
        shown
            .find(what)
            .unwrap_or_else(|| panic!("no {what:?} in {shown:?}"))
    };
    let (taken, raw, given_back) = (at("\x1b[?1049h"), at("is raw"), at("\x1b[?1049l"));
    let order = [taken, raw, given_back, at("something is wrong")];
    assert!(order.is_sorted(), "{shown:?}");
}

/// As released, a panic aborts and drops nothing: the view is leaked to be like that.
fn panic_in_a_live_view() {
    let cli = Cli::try_parse_from(["portwatch", "top"]).unwrap();
    let Some(cli::Command::Top { watch, .. }) = cli.command else {
        unreachable!("it is top");
    };
    let config = Config::of_top(&watch, &Users::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    std::mem::forget(top::Top::open(&config).unwrap());
    let stdin = std::io::stdin();
    let is_raw = !tcgetattr(stdin)
        .unwrap()
        .local_modes
        .contains(LocalModes::ICANON);
    println!("{}", if is_raw { "is raw" } else { "is not" });
    panic!("something is wrong");
}

#[test]
fn top_refuses_a_filter_that_dtrace_cannot_decide() {
    let mut top = Top::start();
    top.terminal.press(b"/op=listen\r");
    top.terminal.wait_for("meaning");
    top.signal(Signal::TERM);
    assert_eq!(top.child.wait().unwrap().code(), Some(0));
}

#[test]
fn top_needs_a_terminal() {
    let ended = super::run::run(&["top", "--source", "dtrace"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("needs a terminal"),
        "{}",
        ended.stderr
    );
}
