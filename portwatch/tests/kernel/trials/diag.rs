//! A kernel that cannot tell of its sockets by sock_diag(7).

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{
        asked::{Answered, ask},
        portwatch,
        source::{self, Source},
        sys,
    },
    Impossible,
    path::modprobe,
    privilege::PublicCopy,
};

/// What the kernel asks to load modules; nothing, where it is empty.
const LOADER: &str = "/proc/sys/kernel/modprobe";

/// Its modules are gone, and cannot be loaded, until this is dropped.
struct WithoutModules {
    loader: String,
}

impl WithoutModules {
    fn new() -> Result<Self> {
        let why = "it would change the whole machine";
        ensure!(source::is_emulated(), Impossible(why.to_owned()));
        let without = Self {
            loader: fs::read_to_string(LOADER)?,
        };
        fs::write(LOADER, "\n")?;
        // What uses another one goes first; those that are not loaded need not.
        for module in [
            c"mptcp_diag",
            c"raw_diag",
            c"sctp_diag",
            c"udp_diag",
            c"tcp_diag",
            c"inet_diag",
        ] {
            drop(sys::unload_module(module));
        }
        let left = fs::exists("/sys/module/inet_diag")?;
        ensure!(!left, Impossible("inet_diag cannot be unloaded".to_owned()));
        Ok(without)
    }
}

impl Drop for WithoutModules {
    fn drop(&mut self) {
        drop(fs::write(LOADER, &self.loader));
        drop(modprobe(&["-a", "tcp_diag", "udp_diag"]));
    }
}

/// /proc/net tells who has a port; what is missing is said by name, at the start and by doctor.
pub(super) fn modules_are_not_there(source: Source) -> Result<()> {
    let _without = WithoutModules::new()?;
    let doctor = Command::new(source::binary()?).arg("doctor").output()?;
    let doctor = String::from_utf8_lossy(&doctor.stdout);
    ensure!(doctor.contains("no tcp_diag, udp_diag"), "{doctor}");
    let stream = portwatch::start(source, &[])?.stop()?;
    let degradations = stream.starts.iter().flat_map(|start| &start.degradations);
    let mut remedies = degradations.filter_map(|degradation| degradation.remedy.as_deref());
    let said = remedies.any(|remedy| remedy == "sudo modprobe -a tcp_diag udp_diag");
    ensure!(said, "{:?}", stream.starts);
    let copy = PublicCopy::new()?;
    let (tcp, udp) = (
        TcpListener::bind("127.0.0.1:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    );
    for (is_udp, address) in [(false, tcp.local_addr()?), (true, udp.local_addr()?)] {
        is_named(&ask(Command::new(source::binary()?), is_udp, address)?)?;
        let unprivileged = copy.without_privileges()?;
        is_known_by_table(address, &ask(unprivileged, is_udp, address)?)?;
    }
    Ok(())
}

fn is_named(Answered { cause, text, .. }: &Answered) -> Result<()> {
    let holder = cause.holder.first().with_context(|| text.clone())?;
    ensure!(holder.pid == Some(std::process::id()), "{text}");
    Ok(())
}

/// Whose process it is may not be seen; what the socket is stands in /proc/net.
fn is_known_by_table(address: SocketAddr, answered: &Answered) -> Result<()> {
    let Answered { cause, text, .. } = answered;
    let holder = cause.holder.first().with_context(|| text.clone())?;
    let is_it = holder.pid.is_none() && holder.uid == Some(0) && holder.port == address.port();
    ensure!(is_it, "{text}");
    Ok(())
}
