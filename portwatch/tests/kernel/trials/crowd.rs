//! Holders of ports on a large and busy machine.

use std::fs;

use anyhow::{Result, ensure};

use super::super::{
    crowd::{Crowd, Size},
    source::Source,
};

/// The crowd is what the others count on: all of it is there at once, and gone at once.
pub(super) fn is_as_large_as_said(_: Source) -> Result<()> {
    let before = open_descriptors()?;
    let size = Size::large();
    let large = Crowd::gather(size)?;
    let asked = size.sleepers as usize * size.descriptors as usize;
    let more = open_descriptors()?.saturating_sub(before);
    ensure!(more >= asked, "{more} descriptors more, not {asked}");
    drop(large);
    let after = open_descriptors()?;
    ensure!(after < before + asked / 2, "{after} of {before} are left");
    let size = Size::busy();
    let _busy = Crowd::gather(size)?;
    let running = running()?;
    ensure!(running >= size.busy as usize, "{running} processes run");
    Ok(())
}

/// Processes that run or wait for a CPU.
fn running() -> Result<usize> {
    let processes = fs::read_dir("/proc")?.flatten();
    let states = processes.filter_map(|it| fs::read_to_string(it.path().join("status")).ok());
    Ok(states.filter(|it| it.contains("State:\tR")).count())
}

/// Of every process.
fn open_descriptors() -> Result<usize> {
    let processes = fs::read_dir("/proc")?.flatten();
    // Some end meanwhile, and many are no processes.
    let tables = processes.filter_map(|process| fs::read_dir(process.path().join("fd")).ok());
    Ok(tables.map(Iterator::count).sum())
}
