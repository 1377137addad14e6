//! A command with children: each process binds once, and says so in a file.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{getppid, setsid};

use super::{FAMILY, FLAG};

/// Which of them: the first argument.
struct Member {
    /// Where they say who has bound: the second argument
    notes: PathBuf,
    /// The third argument, if there is one
    parent: Option<i32>,
}

pub(super) fn live(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let role = args.next().context("which of the family?")?;
    let notes = args.next().context("where to say it?")?;
    let parent = args.next().and_then(|pid| pid.to_str()?.parse().ok());
    let member = Member {
        notes: notes.into(),
        parent,
    };
    match role.to_str() {
        Some("head") => member.head(),
        Some("middle") => member.middle(),
        Some("leaver") => member.leaver(),
        Some("daemon") => member.daemon(),
        Some("leaf") => member.leaf(),
        _ => bail!("the family has no {}", role.display()),
    }
}

impl Member {
    /// It binds itself, its grandchild does, and a daemon does once nobody is left above it. It ends
    /// after them.
    fn head(&self) -> Result<()> {
        let mut middle = self.start("middle")?.spawn()?;
        let (mut over, held) = io::pipe()?;
        let left = self.start("leaver")?.stdout(held).status()?;
        ensure!(left.success(), "the leaver has failed");
        self.leaf()?;
        over.read_to_end(&mut Vec::new())?;
        ensure!(middle.wait()?.success(), "the middle has failed");
        Ok(())
    }

    fn middle(&self) -> Result<()> {
        let ended = self.start("leaf")?.status()?;
        ensure!(ended.success(), "the leaf has failed");
        Ok(())
    }

    /// Its child outlives it.
    fn leaver(&self) -> Result<()> {
        let own = std::process::id().to_string();
        self.start("daemon")?.arg(own).spawn()?;
        Ok(())
    }

    fn daemon(&self) -> Result<()> {
        setsid()?;
        while getppid().map(|parent| parent.as_raw_nonzero().get()) == self.parent {
            thread::yield_now();
        }
        self.leaf()
    }

    fn leaf(&self) -> Result<()> {
        self.bind()?;
        wait_for_end_of_input()
    }

    fn bind(&self) -> Result<()> {
        drop(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        self.note(&std::process::id().to_string())
    }

    fn note(&self, what: &str) -> Result<()> {
        let mut notes = fs::File::options()
            .append(true)
            .create(true)
            .open(&self.notes)?;
        Ok(notes.write_all(format!("{what}\n").as_bytes())?)
    }

    fn start(&self, role: &str) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([FLAG, FAMILY, role]).arg(&self.notes);
        Ok(command)
    }
}

fn wait_for_end_of_input() -> Result<()> {
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
