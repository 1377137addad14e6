//! The source that runs, whichever it is.

use std::{collections::VecDeque, io};

#[cfg(target_os = "linux")]
use super::ebpf;
use super::record::{LossCount, Record};
use super::{Callers, dtrace};
use crate::{clock, event::Degradation, sockets::kernel::Kernel};

pub enum Source {
    #[cfg(target_os = "linux")]
    Ebpf(Box<ebpf::Source>),
    Dtrace(Box<dtrace::Source>),
}

impl Source {
    /// Waits until there is something to read.
    pub async fn readable(&mut self) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.readable().await,
            Self::Dtrace(source) => source.readable().await,
        }
    }

    /// What look-ups can ask the kernel's side of it, for a source that has one: once, and from then on
    /// whoever has it. With it, why there is no iterator, if there is none.
    pub fn kernel(&mut self) -> Option<(Box<dyn Kernel>, Option<String>)> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.kernel(),
            Self::Dtrace(_) => None,
        }
    }

    /// Moves what there is to the end of `records`, until there is nothing left or there are
    /// `most` of them. Gives whether nothing was left.
    pub fn fill(&mut self, records: &mut VecDeque<Record>, most: usize) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.fill(records, most),
            Self::Dtrace(source) => source.fill(records, most),
        }
    }

    /// Now, in nanoseconds of the clock that dates attempts (`AttemptId`). With eBPF that is not the
    /// calendar's, which may be set while portwatch runs.
    pub fn clock_ns(&self) -> u64 {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(_) => ebpf::clock_ns(),
            Self::Dtrace(_) => clock::now().0.unsigned_abs(),
        }
    }

    /// Ends it.
    pub fn part(self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.part(),
            Self::Dtrace(source) => drop(source),
        }
    }

    /// No attempt of these callers is wanted.
    pub fn rule_out(&mut self, callers: Callers) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.rule_out(callers),
            Self::Dtrace(source) => source.rule_out(callers),
        }
    }

    /// Attempts, and ends of attempts, that were read.
    pub fn records_read(&self) -> u64 {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.records_read(),
            Self::Dtrace(source) => source.records_read(),
        }
    }

    /// Whether something was lost that [`Self::losses`] has not told, or may have been.
    pub fn has_losses(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.has_losses(),
            Self::Dtrace(source) => source.has_losses(),
        }
    }

    /// What was lost since the last call.
    pub fn losses(&mut self) -> anyhow::Result<Vec<LossCount>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.losses(),
            Self::Dtrace(source) => Ok(source.losses()),
        }
    }

    /// What has come to work less since the source was opened, if that was not told yet.
    pub fn degradation(&mut self) -> Option<Degradation> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.degradation(),
            Self::Dtrace(source) => source.degradation(),
        }
    }

    /// Whether it has ended by itself: nothing will come of it any more.
    pub const fn has_ended(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(_) => false,
            Self::Dtrace(source) => source.has_ended(),
        }
    }

    /// The watch is over: what has not been handed on yet is to be.
    pub fn stop(&mut self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(_) => {}
            Self::Dtrace(source) => source.stop(),
        }
    }

    /// After [`Self::stop`]: waits for more of what is on its way; false where nothing is.
    pub async fn wait_for_more(&mut self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(_) => false,
            Self::Dtrace(source) => source.wait_for_more().await,
        }
    }

    /// After the last record that is wanted: until all losses are known.
    pub async fn settle(&mut self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(_) => {}
            Self::Dtrace(source) => source.settle().await,
        }
    }

    /// Whether it worked to the end.
    pub fn verdict(&self) -> anyhow::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(_) => Ok(()),
            Self::Dtrace(source) => Ok(source.verdict()?),
        }
    }
}
