//! A server that everybody knows, as the one who has the port.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{
    super::{
        cgroup_bpf::own_cgroup,
        driver::{Done, Pace, Workload},
        portwatch::{self, Portwatch},
        process::Process,
        record::Cause,
        source::Source,
        sys,
        workload::SERVED,
    },
    program::{need, wait_until_listening},
};

const UNIT: &str = "nginx.service";

/// nginx as distributions run it: a master and a worker, in a cgroup of its own.
pub(super) fn has_the_port(source: Source) -> Result<()> {
    need(&["nginx"])?;
    // nginx's own bind, which succeeds, is not shown: when it was is known all the same.
    let mut portwatch = portwatch::start(source, &["--failed"])?;
    let (nginx, done) = sys::in_own_netns(|| refused(&mut portwatch))?;
    let stream = portwatch.stop()?;
    let attempt = stream.of(done.pid).next().context("not reported")?;
    let cause = attempt.cause.as_ref().context("no cause")?;
    is_nginx(cause, nginx).with_context(|| format!("{cause:#?}"))?;
    let since = cause
        .holder
        .first()
        .and_then(|holder| holder.since.as_ref());
    // A system call's number says nothing of when its process began.
    ensure!(
        source == Source::Tracepoint || since.is_some(),
        "it is not said since when"
    );
    Ok(())
}

/// The port is taken by nginx, and asked for again; nginx's pid, and who asked.
fn refused(portwatch: &mut Portwatch) -> Result<(u32, Done)> {
    let site = Site::new()?;
    let unit = Unit::new()?;
    let mut nginx = Process::spawn(&mut site.server(&unit))?;
    wait_until_listening(nginx.pid())?;
    let done = Workload::prepare("taken", Pace::Stepwise)?.run(portwatch)?;
    // The master takes its worker with it, and the cgroup can go.
    nginx.signal(rustix::process::Signal::TERM)?;
    nginx.wait()?.expect_code(0)?;
    drop(unit);
    Ok((nginx.pid(), done))
}

fn is_nginx(cause: &Cause, pid: u32) -> Result<()> {
    ensure!(
        cause.code == "port_in_use" && cause.confidence == "checked",
        "another cause"
    );
    let [holder] = &cause.holder[..] else {
        anyhow::bail!("{} holders", cause.holder.len());
    };
    let exe = holder.exe.as_deref().unwrap_or_default();
    ensure!(
        holder.pid == Some(pid) && holder.comm.as_deref() == Some("nginx"),
        "not nginx's master, which is {pid}"
    );
    ensure!(Path::new(exe).ends_with("nginx"), "runs {exe:?}");
    ensure!(holder.unit.as_deref() == Some(UNIT), "in another unit");
    ensure!(
        holder.state == "listen" && holder.port == SERVED,
        "another socket"
    );
    ensure!(holder.reuseaddr == Some(true), "nginx sets SO_REUSEADDR");
    let named = ["nginx", &pid.to_string(), UNIT];
    let missing = named.iter().find(|word| !cause.text.contains(*word));
    ensure!(missing.is_none(), "{missing:?} is not in the text");
    let stops = |fix: &super::super::record::Fix| {
        fix.command.as_deref() == Some("sudo systemctl stop nginx.service")
    };
    ensure!(cause.fix.iter().any(stops), "it is not said how to stop it");
    Ok(())
}

/// A configuration, and a place for what nginx writes.
struct Site(TempDir);

impl Site {
    fn new() -> Result<Self> {
        fs::create_dir_all(std::env::temp_dir())?;
        let site = Self(tempfile::tempdir()?);
        let path = site.0.path().display();
        let configuration = format!(
            "daemon off; user root; worker_processes 1; pid {path}/pid; error_log stderr;\n\
             events {{}}\n\
             http {{\n\
               access_log off;\n\
               client_body_temp_path {path}; proxy_temp_path {path}; fastcgi_temp_path {path};\n\
               uwsgi_temp_path {path}; scgi_temp_path {path};\n\
               server {{ listen 127.0.0.1:{SERVED}; }}\n\
             }}\n"
        );
        fs::write(site.configuration(), configuration)?;
        Ok(site)
    }

    fn configuration(&self) -> PathBuf {
        self.0.path().join("nginx.conf")
    }

    /// nginx, in that cgroup from its first moment.
    fn server(&self, unit: &Unit) -> Command {
        let mut nginx = Command::new("sh");
        nginx.args(["-c", r#"echo $$ > "$0" && exec nginx "$@""#]);
        nginx.arg(unit.service().join("cgroup.procs"));
        nginx.arg("-p").arg(self.0.path());
        nginx.arg("-c").arg(self.configuration());
        // Before it reads that, it would write to where it was installed.
        nginx.args(["-e", "stderr"]);
        nginx
    }
}

/// A cgroup as systemd makes one for a service; gone when dropped.
struct Unit {
    slice: PathBuf,
}

impl Unit {
    fn new() -> Result<Self> {
        let slice = own_cgroup()?.join(format!("portwatch-test-{}.slice", std::process::id()));
        let unit = Self { slice };
        fs::create_dir_all(unit.service()).context("cannot make a cgroup")?;
        Ok(unit)
    }

    fn service(&self) -> PathBuf {
        self.slice.join(UNIT)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // What fails here leaves empty cgroups behind, and a test that went well went well.
        drop(fs::remove_dir(self.service()));
        drop(fs::remove_dir(&self.slice));
    }
}
