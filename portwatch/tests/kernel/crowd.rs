//! A large and busy machine: many processes with many open descriptors, and more to compute than
//! there are CPUs.
//!
//! The processes come from one that ends with its input, and they end with it: a test that fails,
//! or is killed, leaves none of them.

use std::process::{ChildStdin, Command};

use anyhow::{Context as _, Result};

use super::{
    process::{Process, next_line},
    source,
    workload::{CROWD, FLAG},
};

/// How many processes there are more, and what they do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    /// Processes that sleep
    pub(crate) sleepers: u32,
    /// Open descriptors of each of them
    pub(crate) descriptors: u32,
    /// Processes that never wait
    pub(crate) busy: u32,
}

impl Size {
    /// A large machine: 200,000 descriptors in 2,000 processes.
    ///
    /// A test kernel has 1 GiB, and its emulated CPUs fork some hundred processes in a second. 20,000
    /// descriptors there take as long to look through as ten times as many elsewhere.
    pub(crate) fn large() -> Self {
        let (sleepers, descriptors) = if source::is_emulated() {
            (500, 40)
        } else {
            (2000, 100)
        };
        Self {
            sleepers,
            descriptors,
            ..Self::default()
        }
    }

    /// A busy machine: a load of 20.
    ///
    /// In a test kernel, which is slow by itself, a load of 8: four for each of its CPUs, so that
    /// whoever is woken waits longer than any look may take.
    pub(crate) fn busy() -> Self {
        Self {
            busy: if source::is_emulated() { 8 } else { 20 },
            ..Self::default()
        }
    }
}

/// The processes; they are gone once this is dropped.
pub(crate) struct Crowd {
    process: Process,
    /// Open as long as they are to live
    input: Option<ChildStdin>,
}

impl Crowd {
    /// Done once all are there.
    pub(crate) fn gather(size: Size) -> Result<Self> {
        let Size {
            sleepers,
            descriptors,
            busy,
        } = size;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([FLAG, CROWD])
            .args([sleepers, descriptors, busy].map(|number| number.to_string()));
        let mut process = Process::spawn(&mut command)?;
        let input = Some(process.stdin()?);
        match next_line(&mut process.stdout()?)?.as_deref() {
            Some("ready") => Ok(Self { process, input }),
            _ => Err(process.obituary()).context("the crowd did not gather"),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.input = None;
        // It waits for them all. If it does not end, its watchdog sees to it.
        drop(self.process.wait());
    }
}
