//! The eBPF sources: loads the programs, attaches them as a whole or not at all, reads the ring.

mod functions;
mod hooks;
mod load;
pub mod probe;

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
};
use portwatch_common::settings::{self, loss};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    Kind, Request,
    decode::{self, ClockOffset, Record},
};
use crate::{
    event::{LossReason, MissingHook},
    ready,
};

/// A loaded and attached set of programs. Dropping it detaches them.
pub struct Source {
    ring: AsyncFd<RingBuf<MapData>>,
    losses: PerCpuArray<MapData, u64>,
    /// What was already reported, by counter and CPU
    reported: [Vec<u64>; loss::COUNT as usize],
    diagnostics: Option<AsyncFd<aya_log::EbpfLogger<&'static dyn log::Log>>>,
    /// Kept for its links: they detach when it goes
    _programs: Ebpf,
}

/// What came of attaching.
pub struct Attached {
    pub hooks: Vec<String>,
    pub missing: Vec<MissingHook>,
}

/// What a drain found.
#[derive(Debug, Default)]
pub struct Drained {
    /// Bytes of ring that were read
    pub bytes: usize,
    /// The counters have moved, or may have
    pub losses: bool,
    /// The visitor asked to stop
    pub stopped: bool,
}

/// Attempts lost since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossCount {
    pub reason: LossReason,
    pub cpu: u32,
    pub count: u64,
}

impl Source {
    /// Loads and attaches the programs of `kind`. Must run inside a tokio runtime.
    pub fn open(kind: Kind, request: &Request) -> anyhow::Result<(Self, Attached)> {
        let (programs, attached) = load::attached(kind, request)?;
        Ok((Self::over(programs, request)?, attached))
    }

    fn over(mut programs: Ebpf, request: &Request) -> anyhow::Result<Self> {
        let ring = RingBuf::try_from(load::take(&mut programs, settings::EVENTS)?)?;
        let losses = PerCpuArray::try_from(load::take(&mut programs, settings::LOSSES)?)?;
        let diagnostics = match request.diagnostics {
            Some(_) => Some(ready::register(
                aya_log::EbpfLogger::init(&mut programs)?,
                Interest::READABLE,
            )?),
            None => None,
        };
        Ok(Self {
            ring: ready::register(ring, Interest::READABLE)
                .context("cannot wait for the ring buffer")?,
            losses,
            reported: Default::default(),
            diagnostics,
            _programs: programs,
        })
    }

    /// Waits until the ring has something to read, and passes on the programs' own diagnostics meanwhile.
    pub async fn readable(&mut self) -> std::io::Result<()> {
        loop {
            let Some(diagnostics) = &mut self.diagnostics else {
                self.ring.readable().await?.clear_ready();
                return Ok(());
            };
            tokio::select! {
                ready = self.ring.readable() => {
                    ready?.clear_ready();
                    return Ok(());
                }
                ready = diagnostics.readable_mut() => {
                    let mut guard = ready?;
                    guard.get_inner_mut().flush();
                    guard.clear_ready();
                }
            }
        }
    }

    /// Hands what is in the ring to `visit`, until the ring is empty or `visit` says stop.
    pub fn drain(&mut self, mut visit: impl FnMut(Record) -> std::ops::ControlFlow<()>) -> Drained {
        let clock = clock_offset();
        let mut drained = Drained::default();
        while let Some(item) = self.ring.get_mut().next() {
            drained.bytes += item.len();
            match decode::decode(&item, clock) {
                Ok(Record::Notice) => drained.losses = true,
                Ok(record) => {
                    if visit(record).is_break() {
                        drained.stopped = true;
                        break;
                    }
                }
                Err(error) => log::error!("{error}"),
            }
        }
        // A ring that was ever full had more than this to read, whatever it holds now.
        drained.losses |= drained.bytes > settings::EVENTS_BYTES as usize / 2;
        drained
    }

    /// What was lost since the last call.
    pub fn losses(&mut self) -> anyhow::Result<Vec<LossCount>> {
        let mut news = Vec::new();
        for (reported, (counter, reason)) in self.reported.iter_mut().zip([
            (loss::RING_FULL, LossReason::RingFull),
            (loss::INFLIGHT_FULL, LossReason::InflightFull),
            (loss::PENDING_FULL, LossReason::PendingFull),
        ]) {
            let totals = self
                .losses
                .get(&counter, 0)
                .context("cannot read the loss counters")?;
            reported.resize(totals.len(), 0);
            for (cpu, (seen, &total)) in (0..).zip(reported.iter_mut().zip(totals.iter())) {
                if total > *seen {
                    news.push(LossCount {
                        reason,
                        cpu,
                        count: total - *seen,
                    });
                    *seen = total;
                }
            }
        }
        Ok(news)
    }
}

/// How far the calendar is ahead of the clock that the programs read.
fn clock_offset() -> ClockOffset {
    use rustix::time::{ClockId, Timespec, clock_gettime};
    let nanos = |time: Timespec| time.tv_sec * 1_000_000_000 + time.tv_nsec;
    let monotonic = nanos(clock_gettime(ClockId::Monotonic));
    ClockOffset(nanos(clock_gettime(ClockId::Realtime)) - monotonic)
}
