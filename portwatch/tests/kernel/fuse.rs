//! A file that whoever closes it waits for: see workload/fuse.rs.

use std::{
    io::{BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{ChildStdin, ChildStdout, Command},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{
    driver::Impossible,
    process::{Process, next_line},
    workload::{FLAG, FUSE},
};

/// The file, and the process that has it open; both are gone once this is dropped.
///
/// Whoever waits for the server is free then: it is to be made after whatever may wait.
pub(crate) struct Stuck {
    /// Who has the file open
    pub(crate) pid: u32,
    /// Which port it holds
    pub(crate) port: SocketAddr,
    stdout: BufReader<ChildStdout>,
    stdin: ChildStdin,
    server: Process,
    _directory: TempDir,
}

impl Stuck {
    /// Done once the file is open.
    pub(crate) fn open() -> Result<Self> {
        if !Path::new("/dev/fuse").exists() {
            return Err(Impossible("there is no /dev/fuse".to_owned()).into());
        }
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([FLAG, FUSE]).arg(directory.path());
        let mut server = Process::spawn(&mut command)?;
        let (mut stdout, stdin) = (server.stdout()?, server.stdin()?);
        let Some(line) = next_line(&mut stdout)? else {
            return Err(server.obituary().context("there is no such file"));
        };
        let (pid, port) = serde_json::from_str(&line)?;
        Ok(Self {
            pid,
            port,
            stdout,
            stdin,
            server,
            _directory: directory,
        })
    }

    /// Has it call connect and bind on the file.
    pub(crate) fn call(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n")?;
        let line = next_line(&mut self.stdout)?.context("who had the file open has ended")?;
        ensure!(line == "done", "{line}");
        Ok(())
    }

    /// Nobody was set free by its end so far.
    pub(crate) fn still_serves(&self) -> bool {
        Path::new(&format!("/proc/{}/ns/mnt", self.server.pid())).exists()
    }
}
