//! When lines leave: at once, or with `--buffer` together.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::{Pid, Signal, kill_process},
};
use tempfile::TempDir;

use super::player::Player;

/// A watch of calls that are made one by one, when the test says so.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// One for all calls: between two, the player would not be there to read
    orders: File,
    _files: (TempDir, Player),
}

impl Watch {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let orders = directory.path().join("orders");
        mkfifoat(CWD, &orders, Mode::RUSR | Mode::WUSR).unwrap();
        let player = Player::new(&format!(
            r#"
trap 'exit 0' INT
begin; own
while read -r port; do call bind 2 "1002${{port}}7f000001" 0 0; done < {}
until_told"#,
            orders.display()
        ));
        let mut command = player.command("macOS 14", &["-q", "-H", "-o", "csv"]);
        command.args(["--fields", "comm,port"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        Self {
            lines: BufReader::new(child.stdout.take().unwrap()),
            child,
            // Waits until the player asks what to do.
            orders: OpenOptions::new().write(true).open(orders).unwrap(),
            _files: (directory, player),
        }
    }

    /// Has a call made, and reads one line.
    fn call(&mut self, port: u16) -> String {
        writeln!(self.orders, "{port:04x}").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn end(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        drop(self.orders);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn each_line_leaves_a_pipe_before_there_is_another() {
    let mut watch = Watch::start(&[]);
    for port in 80..84 {
        assert_eq!(watch.call(port), format!("httpd,{port}"));
    }
    watch.end();
}

#[test]
fn buffered_lines_wait_for_others() {
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut watch = Watch::start(&["--buffer"]);
    let before = Instant::now();
    assert_eq!(watch.call(80), "httpd,80");
    assert!(before.elapsed() >= PATIENCE, "{:?}", before.elapsed());
    watch.end();
}
