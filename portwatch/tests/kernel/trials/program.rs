//! Programs that know nothing of a test: a server, and a client that fetches from it.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{
    super::{
        portwatch::{self, Portwatch},
        process::{Process, next_line},
        record::Attempt,
        source::Source,
        stream::Stream,
        sys,
        truth::Op,
    },
    Impossible,
};

const URL: &str = "http://127.0.0.1:8080/";
const ADDRESS: &str = "127.0.0.1";
const PORT: u16 = 8080;
/// State 0A is LISTEN (`include/net/tcp_states.h`); address and port as the kernel prints them.
const LISTENING: &str = "0100007F:1F90 00000000:0000 0A";

pub(super) fn python_and_curl(source: Source) -> Result<()> {
    need(&["python3", "curl"])?;
    serve_and_fetch(source, |site| {
        let mut python = Command::new("python3");
        python.args([
            "-u",
            "-m",
            "http.server",
            "--bind",
            ADDRESS,
            "--directory",
            site,
            "8080",
        ]);
        let mut server = Process::spawn(&mut python)?;
        next_line(&mut server.stdout()?)?.context("python3 serves nothing")?;
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--noproxy", "*", URL]);
        Ok((server, curl))
    })
}

pub(super) fn busybox_httpd_and_wget(source: Source) -> Result<()> {
    need(&["busybox"])?;
    serve_and_fetch(source, |site| {
        let mut httpd = Command::new("busybox");
        httpd.args(["httpd", "-f", "-p", "127.0.0.1:8080", "-h", site]);
        let server = Process::spawn(&mut httpd)?;
        wait_until_listening(server.pid())?;
        let mut wget = Command::new("busybox");
        wget.args(["wget", "-q", "-Y", "off", "-O", "/dev/null", URL]);
        Ok((server, wget))
    })
}

fn serve_and_fetch(
    source: Source,
    serve: impl FnOnce(&str) -> Result<(Process, Command)> + Send,
) -> Result<()> {
    fs::create_dir_all(std::env::temp_dir())?;
    let site: TempDir = tempfile::tempdir()?;
    fs::write(site.path().join("index.html"), "found")?;
    let path = site
        .path()
        .to_str()
        .context("the directory's name is not UTF-8")?;
    let mut portwatch = portwatch::start(source, &[])?;
    let (server, client) = sys::in_own_netns(|| {
        let (server, mut fetch) = serve(path)?;
        let mut client = Process::spawn(&mut fetch)?;
        client.wait()?.expect_code(0).context("the client failed")?;
        seen(&mut portwatch, [server.pid(), client.pid()])?;
        Ok((server.pid(), client.pid()))
    })?;
    let stream = portwatch.stop()?;
    only(&stream, server, Op::Bind)?;
    only(&stream, client, Op::Connect).map(drop)
}

/// Not needed for what is written, but for whoever looks things up while the server lives.
fn seen(portwatch: &mut Portwatch, pids: [u32; 2]) -> Result<()> {
    pids.into_iter()
        .try_for_each(|pid| portwatch.wait_for(pid, 1))
}

/// Whatever else the program did, it did this once.
fn only(stream: &Stream, pid: u32, op: Op) -> Result<&Attempt> {
    let is_it = |attempt: &&Attempt| {
        attempt.op == op
            && attempt.port == Some(PORT)
            && attempt.addr.is_some_and(|addr| addr.to_string() == ADDRESS)
    };
    let attempts: Vec<&Attempt> = stream.of(pid).filter(is_it).collect();
    let [attempt] = attempts[..] else {
        anyhow::bail!("{op} of {pid}: {attempts:#?}")
    };
    ensure!(
        attempt.outcome != "failed" && attempt.uid == 0 && attempt.tid == pid,
        "{attempt:#?}"
    );
    Ok(attempt)
}

pub(super) fn need(programs: &[&str]) -> Result<()> {
    match programs.iter().find(|program| which(program).is_none()) {
        Some(program) => Err(Impossible(format!("{program} is not installed")).into()),
        None => Ok(()),
    }
}

/// Where a program is.
pub(super) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(program));
    found.find(|path| path.is_file())
}

/// Servers do not say when they listen; the kernel does.
pub(super) fn wait_until_listening(pid: u32) -> Result<()> {
    wait_until("the server listens", || {
        let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
        Ok(sockets.contains(LISTENING))
    })
}

/// Waits for what nobody tells.
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let begin = Instant::now();
    while !holds()? {
        ensure!(
            begin.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::yield_now();
    }
    Ok(())
}
