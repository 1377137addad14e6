//! cgroup BPF programs by the `bpf()` system call, as systemd or Cilium attach them.

use std::{
    fs,
    io::{self, Read as _},
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Resource, Rlimit, setrlimit},
};

// include/uapi/linux/bpf.h
const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const TYPE_CGROUP_SOCK: u32 = 9;
const TYPE_CGROUP_SOCK_ADDR: u32 = 18;
/// `offsetof(struct bpf_sock_addr, user_ip4)`
const USER_IP4: i16 = 4;
/// `offsetof(struct bpf_sock_addr, user_port)`
const USER_PORT: i16 = 24;

/// Where a program stands: `enum bpf_attach_type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Bind = 8,
    Connect = 10,
    PostBind = 12,
}

/// What a program does.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    Refuse,
    /// Lets it pass, with another address
    Rewrite(SocketAddrV4),
}

/// `struct bpf_insn`
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Instruction {
    code: u8,
    /// Destination in the lower half, source in the upper
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    /// `register = number`, 32 bits
    const fn set(register: u8, number: i32) -> Self {
        Self::new(0xb4, register, 0, number)
    }

    /// `*(u32 *)(r1 + offset) = r2`
    const fn store(offset: i16) -> Self {
        Self::new(0x63, 0x21, offset, 0)
    }

    /// `register = number`, 64 bits
    pub(crate) const fn set_long(register: u8, number: i32) -> Self {
        Self::new(0xb7, register, 0, number)
    }

    /// `to = from`
    pub(crate) const fn copy(to: u8, from: u8) -> Self {
        Self::new(0xbf, from << 4 | to, 0, 0)
    }

    /// `to = *(u64 *)(from + offset)`
    pub(crate) const fn load(to: u8, from: u8, offset: i16) -> Self {
        Self::new(0x79, from << 4 | to, offset, 0)
    }

    /// `register >>= bits`
    pub(crate) const fn shift_right(register: u8, bits: i32) -> Self {
        Self::new(0x77, register, 0, bits)
    }

    /// Leaves so many instructions out, unless the register is that number
    pub(crate) const fn skip_unless(register: u8, number: i32, skipped: i16) -> Self {
        Self::new(0x55, register, skipped, number)
    }

    pub(crate) const fn call(helper: i32) -> Self {
        Self::new(0x85, 0, 0, helper)
    }

    pub(crate) const EXIT: Self = Self::new(0x95, 0, 0, 0);

    const fn new(code: u8, registers: u8, offset: i16, immediate: i32) -> Self {
        Self {
            code,
            registers,
            offset,
            immediate,
        }
    }
}

impl Verdict {
    fn program(self) -> Vec<Instruction> {
        match self {
            Self::Refuse => vec![Instruction::set(0, 0), Instruction::EXIT],
            Self::Rewrite(address) => vec![
                Instruction::set(2, i32::from_ne_bytes(address.ip().octets())),
                Instruction::store(USER_IP4),
                Instruction::set(2, u16::from_ne_bytes(address.port().to_be_bytes()).into()),
                Instruction::store(USER_PORT),
                Instruction::set(0, 1),
                Instruction::EXIT,
            ],
        }
    }
}

/// The part of `union bpf_attr` for loading a program
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// The part of `union bpf_attr` for attaching one
#[repr(C)]
struct Attach {
    target: i32,
    program: i32,
    hook: u32,
    flags: u32,
}

/// A cgroup that this process is in, until it is dropped.
pub(crate) struct Cgroup {
    path: PathBuf,
    parent: PathBuf,
}

/// An attached program, until it is dropped.
pub(crate) struct Attached {
    cgroup: fs::File,
    program: OwnedFd,
    hook: Hook,
}

impl Cgroup {
    /// Makes one below the one this process is in.
    pub(crate) fn enter() -> Result<Self> {
        let parent = own_cgroup()?;
        let path = parent.join(format!("portwatch-test-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let cgroup = Self { path, parent };
        fs::write(cgroup.path.join("cgroup.procs"), "0").context("cannot enter the cgroup")?;
        Ok(cgroup)
    }

    pub(crate) fn name(&self) -> Result<String> {
        let name = self.path.file_name().context("it has no name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// portwatch leaves a process behind that detaches its hooks, for some seconds.
    fn wait_until_empty(&self) -> io::Result<()> {
        const PATIENCE: Timespec = Timespec {
            tv_sec: 30,
            tv_nsec: 0,
        };
        loop {
            let mut events = fs::File::open(self.path.join("cgroup.events"))?;
            let mut text = String::new();
            events.read_to_string(&mut text)?;
            let mut polled = [PollFd::new(&events, PollFlags::PRI)];
            if text.contains("populated 0") || poll(&mut polled, Some(&PATIENCE))? == 0 {
                return Ok(());
            }
        }
    }

    pub(crate) fn attach(&self, hook: Hook, verdict: Verdict) -> Result<Attached> {
        allow_locked_memory();
        let attached = Attached {
            cgroup: fs::File::open(&self.path)?,
            program: load(hook, verdict).context("cannot load a cgroup program")?,
            hook,
        };
        attached.pass(PROG_ATTACH).context("cannot attach it")?;
        Ok(attached)
    }
}

/// The directory of the cgroup that this process is in.
pub(crate) fn own_cgroup() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))
        .and_then(|fields| fields.get(1).copied())
        .context("no cgroup v2 is mounted")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(PathBuf::from(mount).join(own.context("not in a cgroup v2")?))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What fails here leaves an empty cgroup behind, and a test that went well went well.
        drop(fs::write(self.parent.join("cgroup.procs"), "0"));
        drop(self.wait_until_empty());
        drop(fs::remove_dir(&self.path));
    }
}

impl Attached {
    fn pass(&self, command: i32) -> io::Result<()> {
        let attributes = Attach {
            target: self.cgroup.as_raw_fd(),
            program: self.program.as_raw_fd(),
            hook: self.hook as u32,
            flags: 0,
        };
        bpf(command, &attributes).map(drop)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // With its cgroup it goes anyway.
        drop(self.pass(PROG_DETACH));
    }
}

/// Until 5.11 programs are locked memory. Where no more of it is allowed, the load says what came of that.
fn allow_locked_memory() {
    let all = Rlimit {
        current: None,
        maximum: None,
    };
    let _ = setrlimit(Resource::Memlock, all);
}

fn load(hook: Hook, verdict: Verdict) -> Result<OwnedFd> {
    let program = verdict.program();
    let kind = match hook {
        Hook::Bind | Hook::Connect => TYPE_CGROUP_SOCK_ADDR,
        Hook::PostBind => TYPE_CGROUP_SOCK,
    };
    load_program(&program, kind, hook as u32, 0)
}

/// Loads a program of that kind for that place; `function` is the one it stands at, of those that
/// stand at one.
pub(crate) fn load_program(
    program: &[Instruction],
    kind: u32,
    place: u32,
    function: u32,
) -> Result<OwnedFd> {
    let attributes = Load {
        prog_type: kind,
        insn_cnt: u32::try_from(program.len())?,
        insns: program.as_ptr().expose_provenance() as u64,
        license: c"GPL".as_ptr().expose_provenance() as u64,
        expected_attach_type: place,
        attach_btf_id: function,
        ..Load::default()
    };
    Ok(bpf_descriptor(PROG_LOAD, &attributes)?)
}

/// A `bpf()` call that makes something.
pub(crate) fn bpf_descriptor<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel gave it just now, to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    let pointer: *const T = attributes;
    // SAFETY: the kernel reads as many bytes as the attributes have, and checks what they point to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    i32::try_from(result)
        .ok()
        .filter(|&result| result >= 0)
        .ok_or_else(io::Error::last_os_error)
}
