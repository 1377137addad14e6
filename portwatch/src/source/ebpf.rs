//! The eBPF sources: loads the programs, attaches them as a whole or not at all, reads the ring.

mod hooks;
pub mod probe;

use std::path::Path;

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray, RingBuf},
    programs::{KProbe, ProgramError, TracePoint},
};
use portwatch_common::settings::{self, Offsets, Settings, loss};
use tokio::io::{Interest, unix::AsyncFd};

use self::hooks::{Attach, Hook};
use super::{
    Kind, Request, btf,
    decode::{self, ClockOffset, Record},
    offsets, tracefs,
};
use crate::{
    event::{Attempt, LossReason, MissingHook},
    ready,
};

/// The compiled programs (portwatch-ebpf), built by build.rs.
static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portwatch-ebpf"));

/// Size of the log ring while nobody reads it: the smallest that the kernel makes.
const LOG_RING_UNUSED: u32 = 4096;
const LOG_RING: &str = "AYA_LOGS";

/// Shown by kernels that take kprobes through perf_event_open() (kernel/events/core.c).
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe";

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
        if kind == Kind::Kprobe {
            ensure_kprobes()?;
        }
        tracefs::make_visible()?;
        let settings = settings_for(kind, request)?;
        let mut programs = load(&settings, request)?;
        let attached = attach_all(&mut programs, hooks::of(kind))?;
        let source = Self::over(programs, request)?;
        Ok((source, attached))
    }

    fn over(mut programs: Ebpf, request: &Request) -> anyhow::Result<Self> {
        let ring = RingBuf::try_from(take(&mut programs, settings::EVENTS)?)?;
        let losses = PerCpuArray::try_from(take(&mut programs, settings::LOSSES)?)?;
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

    /// Hands the attempts in the ring to `visit`, until the ring is empty or `visit` says stop.
    pub fn drain(
        &mut self,
        mut visit: impl FnMut(Attempt) -> std::ops::ControlFlow<()>,
    ) -> Drained {
        let clock = clock_offset();
        let mut drained = Drained::default();
        while let Some(item) = self.ring.get_mut().next() {
            drained.bytes += item.len();
            match decode::decode(&item, clock) {
                Ok(Record::Attempt(attempt)) => {
                    if visit(attempt).is_break() {
                        drained.stopped = true;
                        break;
                    }
                }
                Ok(Record::Notice) => drained.losses = true,
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

/// Without them nothing needs to be loaded to know that they are not there.
fn ensure_kprobes() -> anyhow::Result<()> {
    ensure!(
        Path::new(KPROBE_PMU).exists(),
        "this kernel has no kprobes (CONFIG_KPROBE_EVENTS): there is no {KPROBE_PMU}"
    );
    Ok(())
}

/// What the programs are told.
fn settings_for(kind: Kind, request: &Request) -> anyhow::Result<Settings> {
    let offsets = match kind {
        Kind::Kprobe => {
            let data = std::fs::read(btf::VMLINUX).with_context(|| {
                format!("this kernel shows no type information in {}", btf::VMLINUX)
            })?;
            offsets::resolve(&data).context("the kernel's type information is of no use")?
        }
        Kind::Tracepoint => Offsets::ABSENT,
    };
    Ok(Settings {
        offsets,
        kernel: request.kernel_threads.into(),
        protocol_hooks: (kind == Kind::Kprobe).into(),
    })
}

fn load(settings: &Settings, request: &Request) -> anyhow::Result<Ebpf> {
    let level = request.diagnostics.map_or(0, |level| level as u8);
    let mut loader = EbpfLoader::new();
    // The programs have no CO-RE relocations: their offsets come with the settings.
    loader.btf(None);
    loader.override_global(settings::SETTINGS, settings, true);
    loader.override_global(aya_log::LEVEL, &level, false);
    if request.diagnostics.is_none() {
        loader.map_max_entries(LOG_RING, LOG_RING_UNUSED);
    }
    loader.load(PROGRAMS).context("the kernel refuses the maps")
}

fn take(programs: &mut Ebpf, name: &str) -> anyhow::Result<aya::maps::Map> {
    programs
        .take_map(name)
        .with_context(|| format!("the eBPF object has no map {name}"))
}

/// Attaches every hook; one that is needed and missing fails the whole source.
fn attach_all(programs: &mut Ebpf, hooks: &[Hook]) -> anyhow::Result<Attached> {
    let mut attached = Attached {
        hooks: Vec::new(),
        missing: Vec::new(),
    };
    for hook in hooks {
        match attach(programs, hook) {
            Ok(()) => attached.hooks.push(hook.attach.to_string()),
            Err(error) if hook.required => {
                return Err(error.context(format!("cannot attach {}", hook.attach)));
            }
            Err(error) => attached.missing.push(MissingHook {
                hook: hook.attach.to_string(),
                why: format!("{error:#}"),
                unseen: hook.unseen,
            }),
        }
    }
    Ok(attached)
}

fn attach(programs: &mut Ebpf, hook: &Hook) -> anyhow::Result<()> {
    let program = programs
        .program_mut(hook.program)
        .with_context(|| format!("the eBPF object has no program {}", hook.program))?;
    match hook.attach {
        Attach::Function(function) | Attach::Return(function) => {
            let probe: &mut KProbe = program.try_into()?;
            once(probe.load())?;
            probe.attach(function, 0)?;
        }
        Attach::Tracepoint(category, name) => {
            let tracepoint: &mut TracePoint = program.try_into()?;
            once(tracepoint.load())?;
            tracepoint.attach(category, name)?;
        }
    }
    Ok(())
}

/// One program may be attached in several places; it is loaded for the first.
fn once(loaded: Result<(), ProgramError>) -> anyhow::Result<()> {
    match loaded {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) => {
            log::debug!("the verifier says:\n{verifier_log}");
            Err(io_error).context("the kernel refuses the program; -vv shows the verifier's words")
        }
        Err(error) => Err(error.into()),
    }
}

/// How far the calendar is ahead of the clock that the programs read.
fn clock_offset() -> ClockOffset {
    use rustix::time::{ClockId, Timespec, clock_gettime};
    let nanos = |time: Timespec| time.tv_sec * 1_000_000_000 + time.tv_nsec;
    let monotonic = nanos(clock_gettime(ClockId::Monotonic));
    ClockOffset(nanos(clock_gettime(ClockId::Realtime)) - monotonic)
}
