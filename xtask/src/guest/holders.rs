//! Processes that hold ports, and others: what a tracer that looks for a holder looks through.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    ops::RangeInclusive,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    net::{bind, listen},
    process::{Resource, Rlimit, setrlimit},
};

use super::calls::tcp;
use crate::figures::Others;

/// The first argument of a process that holds ports; an address, and the first and the last follow.
pub const HOLD: &str = "hold";
/// Ports that are held on loopback, by so many each.
pub const HELD: RangeInclusive<u16> = 50_001..=50_040;
const EACH: u16 = 5;
const READY: &str = "ready";

/// Processes of this program, which end with this.
#[derive(Default)]
pub struct Holders(Vec<Child>);

impl Holders {
    /// Those that hold [`HELD`], and as many more as there are to be.
    pub fn among(others: Others) -> Result<Self> {
        let mut holders = Self::default();
        let mut ports = HELD.step_by(EACH.into());
        for _ in 0..others.processes() {
            let (first, count) = ports.next().map_or((0, 0), |first| (first, EACH));
            holders.add(Ipv4Addr::LOCALHOST, first, count)?;
        }
        ensure!(ports.next().is_none(), "not all ports are held");
        Ok(holders)
    }

    /// 50,000 sockets.
    pub fn hoard() -> Result<Self> {
        let mut holders = Self::default();
        for host in [2, 3] {
            holders.add(Ipv4Addr::new(127, 0, 0, host), 20_001, 25_000)?;
        }
        Ok(holders)
    }

    fn add(&mut self, address: Ipv4Addr, first: u16, count: u16) -> Result<()> {
        let mut child = Command::new(env::current_exe()?)
            .arg(HOLD)
            .args([address.to_string(), first.to_string(), count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a holder cannot be started")?;
        let output = child.stdout.take().context("no pipe")?;
        self.0.push(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim_end() == READY, "a holder holds nothing");
        Ok(())
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
        }
        for child in &mut self.0 {
            // Without its input it ends.
            drop(child.wait());
        }
    }
}

/// In such a process: holds what its arguments say until its input ends.
pub fn hold(arguments: &[String]) -> Result<()> {
    let [address, first, count] = arguments else {
        anyhow::bail!("an address, a port and a number make a holder");
    };
    let (address, first, count): (Ipv4Addr, u16, u16) =
        (address.parse()?, first.parse()?, count.parse()?);
    // What it takes beside the sockets is little.
    let limit = Some(u64::from(count) + 64);
    let limit = Rlimit {
        current: limit,
        maximum: limit,
    };
    setrlimit(Resource::Nofile, limit)?;
    let held = (first..first + count).map(|port| {
        let socket = tcp()?;
        bind(&socket, &SocketAddrV4::new(address, port))?;
        listen(&socket, 8)?;
        Ok(socket)
    });
    let _held = held.collect::<Result<Vec<_>>>()?;
    writeln!(io::stdout(), "{READY}")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
