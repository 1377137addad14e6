//! The eBPF sources: loads the programs, attaches them as a whole or not at all, reads the ring.

mod block;
mod canary;
mod functions;
mod heir;
mod helpers;
mod hooks;
pub mod iterator;
mod kfunc;
mod link;
mod load;
mod pinned;
pub mod probe;
mod programs;
mod ring;
mod side;
mod skipped;
mod storage;

use std::collections::VecDeque;

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
};
use portwatch_common::settings::{self, loss};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{Interest, unix::AsyncFd};

use self::{heir::Heir, side::Side, skipped::Skipped};
pub use self::{load::Loader, pinned::check, programs::measure};
use super::{
    Callers, Kind, Request,
    decode::{self, ClockOffset},
    record::{LossCount, Record},
};
use crate::{
    event::{Attempt, Degradation, LossReason, MissingHook, Place},
    ready,
    sockets::kernel::Kernel,
};

/// A loaded and attached set of programs. Dropping it detaches them.
pub struct Source {
    ring: AsyncFd<RingBuf<MapData>>,
    losses: PerCpuArray<MapData, u64>,
    /// Runs that were skipped and nothing was lost by it
    witnessed: PerCpuArray<MapData, u64>,
    /// What the programs are told of cgroups
    ruled_out: HashMap<MapData, u64, u8>,
    /// What they are told of processes
    out_of_tree: HashMap<MapData, [u64; 2], u8>,
    /// Records that were read
    read: u64,
    /// What was already reported, by counter and CPU
    reported: [Vec<u64>; loss::COUNT as usize],
    /// The counters may have moved since they were read
    unread_losses: bool,
    /// Bytes read after which the counters are looked at: for the ring to have been full, more than
    /// this must have been read since it was empty
    burst: usize,
    /// How many of them may still be read, the ring not being empty meanwhile
    burst_left: usize,
    skipped: Skipped,
    /// What look-ups can ask of the programs, until it is handed out
    side: Option<Side>,
    /// Which security module refused what none that is hooked has refused
    unhooked: Option<hooks::Unhooked>,
    /// Came about since the source was opened, and was not told yet
    degradation: Option<Degradation>,
    diagnostics: Option<AsyncFd<aya_log::EbpfLogger<&'static dyn log::Log>>>,
    /// With its links, which detach when it goes
    programs: Ebpf,
}

/// What came of attaching.
pub struct Attached {
    /// Of the ring
    pub ring_bytes: u32,
    pub hooks: Vec<String>,
    pub missing: Vec<MissingHook>,
    /// What works less than it should
    pub degradations: Vec<Degradation>,
}

impl Source {
    /// Loads and attaches the programs of `kind`. Must run inside a tokio runtime.
    pub fn open(
        loader: &mut Loader,
        kind: Kind,
        request: &Request,
    ) -> anyhow::Result<(Self, Attached)> {
        let load::Attached {
            programs,
            ring_bytes,
            hooks,
            missing,
            unhooked,
            files,
        } = loader.attach(kind, request)?;
        let (skipped, uncounted) = Skipped::find(&programs, &hooks);
        let mut source = Self {
            unhooked,
            side: files.map(|files| Side::new(&programs, files)).transpose()?,
            ..Self::over(programs, ring_bytes, skipped, request)?
        };
        let hooks: Vec<_> = hooks.iter().map(|hook| hook.attach.to_string()).collect();
        let silent = source.try_hooks(kind, &hooks)?;
        source.arm()?;
        let attached = Attached {
            ring_bytes,
            hooks,
            missing,
            degradations: silent.into_iter().chain(uncounted).collect(),
        };
        Ok((source, attached))
    }

    /// Tries whether the hooks answer. What is in the ring then, and what was lost, was before the
    /// watch and is forgotten.
    fn try_hooks(&mut self, kind: Kind, hooks: &[String]) -> anyhow::Result<Vec<Degradation>> {
        self.losses()?;
        let canary::Heard { silent, module } = canary::release(self.ring.get_mut(), kind, hooks);
        let lost = self.losses()?;
        if module {
            self.attach_sctp();
        }
        if silent.is_empty() || lost.is_empty() {
            return Ok(silent);
        }
        // The answers may be among what was lost.
        Ok(vec![Degradation {
            what: "whether all hooks answer is not known".to_owned(),
            why: "attempts were lost while portwatch tried them".to_owned(),
            remedy: Some("start it again".to_owned()),
        }])
    }

    /// From now on what the filter does not let pass stays in the kernel.
    fn arm(&mut self) -> anyhow::Result<()> {
        // It stays among the programs: those that are loaded later refer to it by its descriptor.
        let map = self.programs.map_mut(settings::ARMED);
        let mut armed = Array::try_from(map.context("the programs have no switch")?)?;
        armed
            .set(0, 1_u32, 0)
            .context("cannot switch the filter on")
    }

    /// No attempt of these callers will pass. Where there is no room they go on to come.
    pub fn rule_out(&mut self, callers: Callers) {
        let result = match callers {
            Callers::Cgroup(id) => self.ruled_out.insert(id, 0, 0),
            Callers::Process { tgid, start } => self.out_of_tree.insert([tgid.into(), start], 0, 0),
        };
        if let Err(error) = result {
            log::debug!("{callers:?} is filtered here, not in the kernel: {error}");
        }
    }

    /// What look-ups can ask the programs: once, and from then on whoever has it. With it, why there is
    /// no iterator, if there is none. Nothing is there where no cause is asked for.
    pub fn kernel(&mut self) -> Option<(Box<dyn Kernel>, Option<String>)> {
        let side = self.side.take()?;
        let fault = side.fault();
        Some((Box::new(side), fault))
    }

    /// Records of calls, and of how they ended, that the kernel's side has sent.
    pub const fn records_read(&self) -> u64 {
        self.read
    }

    fn over(
        mut programs: Ebpf,
        ring_bytes: u32,
        skipped: Skipped,
        request: &Request,
    ) -> anyhow::Result<Self> {
        let burst = ring_bytes as usize / 2;
        let ring = RingBuf::try_from(load::take(&mut programs, settings::EVENTS)?)?;
        let losses = PerCpuArray::try_from(load::take(&mut programs, settings::LOSSES)?)?;
        let witnessed = PerCpuArray::try_from(load::take(&mut programs, settings::WITNESSED)?)?;
        let ruled_out = HashMap::try_from(load::take(&mut programs, settings::RULED_OUT)?)?;
        let out_of_tree = HashMap::try_from(load::take(&mut programs, settings::OUT_OF_TREE)?)?;
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
            witnessed,
            ruled_out,
            out_of_tree,
            read: 0,
            reported: Default::default(),
            unread_losses: false,
            burst,
            burst_left: burst,
            skipped,
            side: None,
            unhooked: None,
            degradation: None,
            diagnostics,
            programs,
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

    /// Moves what is in the ring to the end of `records`, until the ring is empty or there are
    /// `most` of them. Gives whether the ring was emptied.
    pub fn fill(&mut self, records: &mut VecDeque<Record>, most: usize) -> bool {
        let clock = clock_offset();
        while records.len() < most {
            let Some(item) = self.ring.get_mut().next() else {
                self.burst_left = self.burst;
                return true;
            };
            // A ring that was ever full holds more than this at once, whatever is read meanwhile.
            self.unread_losses |= item.len() >= self.burst_left;
            self.burst_left = self.burst_left.saturating_sub(item.len());
            let record = decode::decode(&item, clock);
            drop(item);
            match record {
                Ok(Record::Notice) => self.unread_losses = true,
                Ok(Record::Module) => self.attach_sctp(),
                Ok(mut record) => {
                    self.read += 1;
                    self.name_module(&mut record);
                    records.push_back(record);
                }
                Err(error) => log::error!("{error}"),
            }
        }
        false
    }

    /// Of the security modules one may have no hook: it is known by the silence of the others.
    fn name_module(&self, record: &mut Record) {
        if let Record::Attempt(Attempt { stages, .. }) = record
            && stages.lsm.is_some()
            && stages.lsm_name.is_none()
        {
            stages.lsm_name = self.unhooked.and_then(hooks::Unhooked::module);
        }
    }

    /// The module was loaded: its functions can be hooked from now on.
    fn attach_sctp(&mut self) {
        if let Err(error) = load::attach_sctp(&mut self.programs) {
            self.degradation = Some(Degradation {
                what: "attempts by SCTP are not seen in full".to_owned(),
                why: format!("{error:#}"),
                remedy: None,
            });
        }
    }

    /// Whether something was lost that [`Self::losses`] has not told, or may have been.
    pub fn has_losses(&self) -> bool {
        self.unread_losses || self.skipped.is_due()
    }

    /// Detaches the programs, and does not wait until the kernel has done so.
    pub fn part(self) {
        let heir = Heir::appoint();
        if let Err(error) = &heir {
            log::info!("detaching takes a while: {error}");
        }
        drop(self);
        // Only now the last of whoever has them.
        drop(heir);
    }

    /// What has come to work less since the source was opened, if that was not told yet.
    pub fn degradation(&mut self) -> Option<Degradation> {
        self.degradation.take()
    }

    /// What was lost since the last call.
    pub fn losses(&mut self) -> anyhow::Result<Vec<LossCount>> {
        let mut news = Vec::new();
        self.unread_losses = false;
        self.burst_left = self.burst;
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
                        place: Place::Cpu(cpu),
                        count: total - *seen,
                    });
                    *seen = total;
                }
            }
        }
        let witnessed = |counter| {
            let of_cpus = self.witnessed.get(&counter, 0);
            let of_cpus = of_cpus.context("cannot read the counters of witnesses")?;
            Ok(of_cpus.iter().sum())
        };
        let uncounted = self.skipped.add_news(witnessed, &mut news);
        self.degradation = uncounted.or(self.degradation.take());
        Ok(news)
    }
}

/// The clock that the programs read (`bpf_ktime_get_ns`).
pub fn clock_ns() -> u64 {
    nanos(ClockId::Monotonic).unsigned_abs()
}

/// How far the calendar is ahead of that clock: of some looks at both, the one that took the least
/// time, since whoever is preempted between them takes two moments for one.
fn clock_offset() -> ClockOffset {
    const LOOKS: usize = 8;
    const AT_ONCE_NS: i64 = 10_000;
    let mut least = i64::MAX;
    let mut offset = ClockOffset(0);
    for _ in 0..LOOKS {
        let before = nanos(ClockId::Monotonic);
        let calendar = nanos(ClockId::Realtime);
        let took = nanos(ClockId::Monotonic) - before;
        if took < least {
            least = took;
            offset = ClockOffset(calendar - before - took / 2);
        }
        if took < AT_ONCE_NS {
            break;
        }
    }
    offset
}

fn nanos(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
