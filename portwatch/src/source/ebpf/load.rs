//! Loading and attaching: a source's hooks as a whole, or not at all.

use std::{io, path::Path};

use anyhow::{Context as _, anyhow, ensure};
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError, TracePoint},
    sys::SyscallError,
    util::{nr_cpus, online_cpus},
};
use portwatch_common::{
    bound::{LAST_BINDS, LAST_BINDS_ENTRIES},
    filter::given,
    kfunc::NAMES,
    settings::{self, Offsets, Settings},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zerocopy::IntoBytes as _;

use super::{
    block, functions,
    helpers::{self, Helpers},
    hooks::{self, Attach, CGROUP_ADDR, Hook, TRACEPOINT_TYPE},
    iterator::{self, Files},
    kfunc,
    probe::{self, Trial},
    ring, side, storage,
};
use crate::{
    event::MissingHook,
    filter::Field,
    source::{
        Kind, Request,
        btf::{self, Function},
        offsets, tracefs,
    },
};

/// The compiled programs (portwatch-ebpf), built by build.rs.
pub(super) static PROGRAMS: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portwatch-ebpf"));

/// Bytes of the log ring while nobody reads it: the smallest that the kernel makes.
const LOG_RING_UNUSED: u32 = 4096;
const LOG_RING: &str = "AYA_LOGS";

/// Off, this keeps hooks on functions from being called, without an error to whoever attaches
/// them; and the kernel may not find its way back from what was attached meanwhile
/// (kernel/trace/ftrace.c, `ftrace_startup_enable`).
const FTRACE_ENABLED: &str = "/proc/sys/kernel/ftrace_enabled";

/// There while the module is loaded, and where it is built in.
const SCTP_MODULE: &str = "/sys/module/sctp";

/// Shown by kernels that take kprobes through perf_event_open() (kernel/events/core.c).
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe";

/// An error that programs are not meant to see (include/linux/errno.h): the kernel loads what it cannot
/// attach.
const ENOTSUPP: i32 = 524;

/// aarch64 learned to call trampolines later (`HAVE_DYNAMIC_FTRACE_WITH_DIRECT_CALLS`).
const TRAMPOLINES_SINCE: &str = if cfg!(target_arch = "aarch64") {
    "Linux 6.4 on aarch64"
} else {
    "Linux 5.5"
};

/// Loads sources, one after the other until one works.
pub struct Loader(EbpfLoader<'static>);

impl Default for Loader {
    fn default() -> Self {
        Self(without_opening_files(EbpfLoader::new))
    }
}

/// Runs something that goes on without a file that it cannot open.
///
/// aya's loader has one constructor, which first reads and parses all of the kernel's type
/// information, megabytes of it; the few facts that are wanted come from [`read_types`].
pub(super) fn without_opening_files<T>(action: impl FnOnce() -> T) -> T {
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        maximum: limit.maximum,
    };
    let limited = setrlimit(Resource::Nofile, none);
    let made = action();
    if limited.is_ok()
        && let Err(error) = setrlimit(Resource::Nofile, limit)
    {
        log::error!("no more files can be opened: {error}");
    }
    made
}

/// A source's programs, loaded and attached. Dropping them detaches them.
pub(super) struct Attached {
    pub(super) programs: Ebpf,
    /// Of the ring
    pub(super) ring_bytes: u32,
    pub(super) hooks: Vec<&'static Hook>,
    pub(super) missing: Vec<MissingHook>,
    /// Which security module refused what none that is hooked has refused
    pub(super) unhooked: Option<hooks::Unhooked>,
    /// The iterator over open descriptors, or why it is not there; `None` where no cause is asked for
    pub(super) files: Option<anyhow::Result<Files>>,
}

impl Attached {
    /// The programs before any is attached.
    fn none(programs: Ebpf, ring_bytes: u32, modules: &hooks::Active) -> Self {
        Self {
            programs,
            ring_bytes,
            hooks: Vec::new(),
            missing: Vec::new(),
            unhooked: modules.unhooked(),
            files: None,
        }
    }

    /// Attaches one more; one that is not needed and does not attach is missing.
    fn add(&mut self, hook: &'static Hook, functions: Option<&Btf>) -> anyhow::Result<()> {
        match attach(&mut self.programs, hook, functions) {
            Ok(()) => self.hooks.push(hook),
            Err(error) if hook.required => {
                return Err(error.context(format!("cannot attach {}", hook.attach)));
            }
            Err(error) => self.missing.push(MissingHook {
                hook: hook.attach.to_string(),
                why: format!("{error:#}"),
                unseen: hook.unseen.into(),
            }),
        }
        Ok(())
    }
}

/// Attaches what is for the module sctp, which is there.
pub(super) fn attach_sctp(programs: &mut Ebpf) -> anyhow::Result<()> {
    let mut hooks = hooks::SCTP.iter();
    hooks.try_for_each(|hook| {
        attach(programs, hook, None).with_context(|| format!("cannot attach {}", hook.attach))
    })
}

impl Loader {
    /// The programs of `kind`, loaded and attached.
    pub(super) fn attach(&mut self, kind: Kind, request: &Request) -> anyhow::Result<Attached> {
        let needed = kind != Kind::Tracepoint || request.pinned.mntns.is_some();
        // A process that has ended has no parent in /proc.
        let useful = request.filter.asks_for(Field::PpidTree);
        match self.attach_reading(needed || useful, kind, request) {
            Err(error) if !needed && useful => {
                log::info!("parents are looked up in /proc alone: {error:#}");
                self.attach_reading(false, kind, request)
            }
            result => result,
        }
    }

    /// The same, with or without a look at the kernel's memory.
    fn attach_reading(
        &mut self,
        memory: bool,
        kind: Kind,
        request: &Request,
    ) -> anyhow::Result<Attached> {
        let modules = hooks::Active::read();
        let mut hooks = hooks::wanted(kind, request, &modules);
        let (programs, kernel) = self.open(memory, kind, request, &hooks)?;
        hooks.retain(|hook| !hook.moot_if_absent || kernel.has(hook));
        if kind != Kind::Tracepoint && Path::new(SCTP_MODULE).exists() {
            hooks.extend(hooks::SCTP);
        }
        let attached = Attached::none(programs, ring_bytes(request)?, &modules);
        let mut attached = attach_all(attached, &hooks, kernel.functions.as_ref().ok())?;
        if request.keeps_binds {
            attached.files = Some(kernel.iterator(&mut attached.programs));
        }
        Ok(attached)
    }

    /// The iterator over open descriptors alone: of the maps that are not for it as little as there can be.
    pub(super) fn iterator(&mut self) -> anyhow::Result<Files> {
        let Self(loader) = self;
        for (name, entries) in [(settings::EVENTS, LOG_RING_UNUSED), (settings::PENDING, 1)] {
            loader.map_max_entries(name, entries);
        }
        let mut names = helpers::FUNCTIONS.to_vec();
        names.push(iterator::FUNCTION);
        let kernel = Kernel::read(&names)?;
        let mut settings = Box::new(Settings {
            offsets: kernel.offsets,
            ..Settings::NONE
        });
        kernel.helpers.tell(&mut settings);
        let mut programs = self.load(settings, &Request::default(), &kernel)?;
        kernel.iterator(&mut programs)
    }

    /// The object with its maps, of which no program is loaded yet, and what the kernel has of
    /// what `hooks` are attached to.
    pub(super) fn open(
        &mut self,
        memory: bool,
        kind: Kind,
        request: &Request,
        hooks: &[&Hook],
    ) -> anyhow::Result<(Ebpf, Kernel)> {
        ensure_possible(kind, hooks)?;
        let kernel = Kernel::learn(memory, kind, request, hooks)?;
        ensure!(
            request.pinned.mntns.is_none() || kernel.offsets.tell_mntns(),
            "this kernel's type information does not say where a caller's mount namespace is"
        );
        let mut told = Box::new(Settings {
            offsets: kernel.offsets,
            memory: memory.into(),
            kernel: request.kernel_threads.into(),
            protocol_hooks: (kind != Kind::Tracepoint).into(),
            seccomp: (kind == Kind::Fexit && request.seccomp).into(),
            seed: side::seed(),
            filter: block::of(kind, request),
            ..Settings::NONE
        });
        kernel.helpers.tell(&mut told);
        told.cgroup_addr_parameters = kernel.parameters(CGROUP_ADDR);
        let Self(loader) = self;
        loader.map_max_entries(settings::EVENTS, ring_bytes(request)?);
        loader.map_max_entries(settings::PENDING, pending_entries(kind, request)?);
        Ok((self.load(told, request, &kernel)?, kernel))
    }

    fn load(
        &mut self,
        settings: Box<Settings>,
        request: &Request,
        kernel: &Kernel,
    ) -> anyhow::Result<Ebpf> {
        let Self(loader) = self;
        let level = request.diagnostics.map_or(0, |level| level as u8);
        let tests = settings.filter.given;
        let is_filtered = settings.filter.is_given();
        // What is not asked for takes no room.
        let sizes = [
            (
                LAST_BINDS,
                u32::from(is_filtered && tests & given::REMEMBER != 0),
                LAST_BINDS_ENTRIES,
            ),
            (
                settings::INFLIGHT,
                (settings.task_storage == 0).into(),
                settings::INFLIGHT_ENTRIES,
            ),
            (
                settings::MARKED,
                (settings.task_storage == 0 && settings.seccomp != 0).into(),
                settings::INFLIGHT_ENTRIES,
            ),
            (
                settings::RULED_OUT,
                tests & given::CGROUPS,
                settings::RULED_OUT_ENTRIES,
            ),
            (
                settings::OUT_OF_TREE,
                tests & given::TREES,
                settings::RULED_OUT_ENTRIES,
            ),
        ];
        let sets = [
            (settings::CGROUP_SET, &request.pinned.cgroups),
            (settings::MNTNS_SET, &request.pinned.mntns),
        ];
        // They outlive the loader, which keeps references to them: a few KiB a source.
        let settings: &'static Settings = Box::leak(settings);
        let level: &'static u8 = Box::leak(Box::new(level));
        // The programs have no CO-RE relocations: their offsets come with the settings.
        loader.btf(None);
        loader.override_global(settings::SETTINGS, settings, true);
        loader.override_global(aya_log::LEVEL, level, false);
        for (name, asked_for, entries) in sizes {
            loader.map_max_entries(name, if asked_for == 0 { 1 } else { entries });
        }
        for (name, path) in sets {
            if let Some(path) = path {
                loader.map_pin_path(name, path.clone());
            }
        }
        if request.diagnostics.is_none() {
            loader.map_max_entries(LOG_RING, LOG_RING_UNUSED);
        }
        let mut object = kfunc::resolved(PROGRAMS, &kernel.kfuncs);
        if !kernel.helpers.task_storage {
            storage::replace(object.as_mut_bytes());
        }
        // Nothing but programs uses them.
        loader.allow_unsupported_maps();
        let programs = loader.load(object.as_bytes());
        programs.context("the kernel refuses the maps")
    }
}

/// The size of the map of pending connects: room for all of them, wherever free entries are.
fn pending_entries(kind: Kind, request: &Request) -> anyhow::Result<u32> {
    if kind == Kind::Tracepoint {
        // Nothing tells it how they end.
        return Ok(1);
    }
    let cpus = nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
    Ok(settings::PENDING_ENTRIES
        + settings::LRU_NODES_OF_A_CPU * u32::try_from(cpus)?
        + u32::try_from(ring::attempts(ring_bytes(request)?))?)
}

fn ring_bytes(request: &Request) -> anyhow::Result<u32> {
    let cpus = online_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
    Ok(ring::bytes(request.ring_size, u32::try_from(cpus.len())?))
}

/// Finds out what needs nothing to be loaded, and makes tracefs visible where it is needed.
fn ensure_possible(kind: Kind, hooks: &[&Hook]) -> anyhow::Result<()> {
    ensure!(
        kind != Kind::Fexit || cfg!(any(target_arch = "x86_64", target_arch = "aarch64")),
        "it reads the caller's registers, which portwatch knows for x86-64 and aarch64 only"
    );
    // Before megabytes of type information are read for it.
    if kind == Kind::Fexit
        && let Trial::Refused { errno, .. } = probe::tracing()
    {
        return Err(io::Error::from_raw_os_error(errno))
            .context("the kernel refuses to load tracing programs");
    }
    ensure!(
        kind != Kind::Kprobe || Path::new(KPROBE_PMU).exists(),
        "this kernel has no kprobes (CONFIG_KPROBE_EVENTS): there is no {KPROBE_PMU}"
    );
    let ftrace = std::fs::read_to_string(FTRACE_ENABLED);
    ensure!(
        kind == Kind::Tracepoint || !ftrace.is_ok_and(|on| on.trim() == "0"),
        "its hooks would be attached and never called: kernel.ftrace_enabled is 0; \
         `sudo sysctl kernel.ftrace_enabled=1`"
    );
    if hooks
        .iter()
        .any(|hook| matches!(hook.attach, Attach::Tracepoint(..)))
    {
        tracefs::make_visible()?;
    }
    Ok(())
}

/// What the kernel's type information says of interest.
pub(super) struct Kernel {
    offsets: Offsets,
    /// Where the functions are that programs are attached to by type information, or why nothing was read
    pub(super) functions: anyhow::Result<Btf>,
    /// Those that there are
    known: Vec<Function>,
    /// The functions that programs call
    kfuncs: Vec<Function>,
    helpers: Helpers,
}

impl Kernel {
    /// What a source must know, and where it is to find holders of ports what the iterator must.
    fn learn(memory: bool, kind: Kind, request: &Request, hooks: &[&Hook]) -> anyhow::Result<Self> {
        let mut names: Vec<_> = hooks.iter().filter_map(|hook| hook.btf_name()).collect();
        if request.keeps_binds {
            names.push(iterator::FUNCTION);
        }
        names.extend(NAMES);
        names.extend(helpers::FUNCTIONS);
        names.sort_unstable();
        names.dedup();
        match Self::read(&names) {
            Err(error) if !memory && kind == Kind::Tracepoint => Ok(Self::unread(error)),
            result => result,
        }
    }

    fn read(names: &[&'static str]) -> anyhow::Result<Self> {
        let (offsets, found) = read_types(names, |kernel| {
            Ok((offsets::resolve(kernel)?, kernel.functions().to_vec()))
        })?;
        let helpers = Helpers::among(&found);
        let is_called = |function: &Function| NAMES.contains(&function.name);
        let (kfuncs, functions): (Vec<_>, Vec<_>) = found.into_iter().partition(is_called);
        Ok(Self {
            kfuncs,
            helpers,
            offsets,
            known: functions.clone(),
            functions: Ok(functions::places(functions)?),
        })
    }

    const fn unread(fault: anyhow::Error) -> Self {
        Self {
            offsets: Offsets::ABSENT,
            functions: Err(fault),
            known: Vec::new(),
            kfuncs: Vec::new(),
            helpers: Helpers::NONE,
        }
    }

    /// The iterator over open descriptors, of an object that was given these offsets.
    fn iterator(self, programs: &mut Ebpf) -> anyhow::Result<Files> {
        Files::load(programs, &self.functions?)
    }

    fn function(&self, name: &str) -> Option<&Function> {
        self.known.iter().find(|function| function.name == name)
    }

    /// How many parameters a function has; 0 where that is not known.
    fn parameters(&self, name: &str) -> u32 {
        self.function(name)
            .map_or(0, |function| function.parameters)
    }

    /// Whether the kernel has the function of a hook that needs its type information.
    fn has(&self, hook: &Hook) -> bool {
        let function = hook.btf_name().and_then(|name| self.function(name));
        function.is_some_and(|function| {
            let parameters = hook.parameters;
            parameters.is_none_or(|parameters| parameters == function.parameters)
        })
    }
}

/// Reads the kernel's type information, megabytes of it, and keeps the few facts of interest.
fn read_types<T>(
    names: &[&'static str],
    keep: impl FnOnce(&btf::Btf<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let data = std::fs::read(btf::VMLINUX)
        .with_context(|| format!("this kernel shows no type information in {}", btf::VMLINUX))?;
    let kernel = btf::Btf::parse(&data, offsets::STRUCTS, names)
        .context("the kernel's type information cannot be read")?;
    keep(&kernel)
}

pub(super) fn take(programs: &mut Ebpf, name: &str) -> anyhow::Result<aya::maps::Map> {
    programs
        .take_map(name)
        .with_context(|| format!("the eBPF object has no map {name}"))
}

/// Attaches every hook; one that is needed and missing fails the whole source.
fn attach_all(
    mut attached: Attached,
    hooks: &[&'static Hook],
    functions: Option<&Btf>,
) -> anyhow::Result<Attached> {
    for hook in hooks {
        attached.add(hook, functions)?;
    }
    let mut missing = attached.missing.iter();
    if missing.any(|hook| hooks::tells_modules_apart(&hook.unseen)) {
        attached.unhooked = None;
    }
    Ok(attached)
}

fn attach(programs: &mut Ebpf, hook: &Hook, functions: Option<&Btf>) -> anyhow::Result<()> {
    let program = program_of(programs, hook)?;
    load_program(program, hook.attach, functions)?;
    // The links stay with their programs.
    match hook.attach {
        Attach::Fentry(_) => as_kind::<FEntry>(program)?.attach().map(|_| ()),
        Attach::Fexit(_) => as_kind::<FExit>(program)?.attach().map(|_| ()),
        Attach::TracepointBtf(_) => as_kind::<BtfTracePoint>(program)?.attach().map(|_| ()),
        Attach::Kprobe(function) | Attach::Kretprobe(function) => {
            as_kind::<KProbe>(program)?.attach(function, 0).map(|_| ())
        }
        Attach::Tracepoint(category, name) => as_kind::<TracePoint>(program)?
            .attach(category, name)
            .map(|_| ()),
    }
    .map_err(refused)
}

/// Names the one refusal for which there is no text.
fn refused(error: ProgramError) -> anyhow::Error {
    match &error {
        ProgramError::SyscallError(SyscallError { io_error, .. })
            if io_error.raw_os_error() == Some(ENOTSUPP) =>
        {
            anyhow!("this kernel has no BPF trampolines, which need {TRAMPOLINES_SINCE}")
        }
        _ => error.into(),
    }
}

pub(super) fn program_of<'a>(
    programs: &'a mut Ebpf,
    hook: &Hook,
) -> anyhow::Result<&'a mut Program> {
    programs
        .program_mut(hook.program)
        .with_context(|| format!("the eBPF object has no program {}", hook.program))
}

/// Has the kernel verify and compile a program. One that is attached in several places is loaded
/// for the first.
pub(super) fn load_program(
    program: &mut Program,
    attach: Attach,
    functions: Option<&Btf>,
) -> anyhow::Result<()> {
    let functions = || functions.context("no type information was read");
    loaded(match attach {
        Attach::Fentry(function) => as_kind::<FEntry>(program)?.load(function, functions()?),
        Attach::Fexit(function) => as_kind::<FExit>(program)?.load(function, functions()?),
        Attach::TracepointBtf(name) => {
            let name = name.trim_start_matches(TRACEPOINT_TYPE);
            as_kind::<BtfTracePoint>(program)?.load(name, functions()?)
        }
        Attach::Kprobe(_) | Attach::Kretprobe(_) => as_kind::<KProbe>(program)?.load(),
        Attach::Tracepoint(..) => as_kind::<TracePoint>(program)?.load(),
    })
}

/// The kernel's word on a program.
pub(super) fn loaded(result: Result<(), ProgramError>) -> anyhow::Result<()> {
    match result {
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

fn as_kind<'a, T>(program: &'a mut Program) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    program.try_into()
}
