//! A file system whose one file cannot be closed: its server leaves that request unanswered, and
//! whoever closes a descriptor of the file waits, past SIGKILL, until the server has ended.
//!
//! The requests and answers are those of include/uapi/linux/fuse.h.

use std::{
    ffi::{CString, OsString},
    fs::File,
    io::{self, BufRead as _, ErrorKind, Read as _, Write as _},
    net::TcpListener,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::getpid,
    thread::UnshareFlags,
};

use super::{
    super::{sys, truth::Op},
    USER, child,
    recorder::LOOPBACK,
};

const FILE: &str = "file";
/// After so many seconds the server ends by itself, and whoever waits for it is free.
const LONGEST: u32 = 60;
/// The number of the file, which is not the root's.
const NODE: u64 = 2;
const ROOT: u64 = 1;

/// Argument: the directory to mount it on. Another process, an ordinary user's, opens the file and
/// does what it is told.
pub(super) fn serve(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let directory = PathBuf::from(args.next().context("no directory given")?);
    // SAFETY: of the flags only FILES is dangerous.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.context("unshare")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("cannot keep mounts private")?;
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .context("/dev/fuse")?;
    let options = format!(
        "fd={},rootmode=40000,user_id={USER},group_id={USER}",
        device.as_raw_fd()
    );
    let options = CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount(
        "portwatch-test",
        &directory,
        "fuse",
        flags,
        Some(options.as_c_str()),
    )
    .context("cannot mount a FUSE file system")?;
    let server = getpid();
    if child::fork()?.is_none() {
        // As long as it had the device open, the end of the server would be none.
        drop(device);
        child::end(child::end_with(server).and_then(|()| call(&directory)));
    }
    // SAFETY: it takes a number, and its signal ends the process.
    unsafe { libc::alarm(LONGEST) };
    answer_all(device)
}

/// With the file open, and a port held: says which, then binds and connects by the file each time it
/// is told to.
fn call(directory: &Path) -> Result<()> {
    sys::become_user(USER)?;
    let listener = TcpListener::bind((LOOPBACK, 0))?;
    let file = File::open(directory.join(FILE)).context("cannot open the file")?;
    let own = (getpid().as_raw_nonzero(), listener.local_addr()?);
    writeln!(io::stdout(), "{}", serde_json::to_string(&own)?)?;
    let address = sys::sockaddr(listener.local_addr()?);
    for line in io::stdin().lock().lines() {
        line?;
        for op in [Op::Connect, Op::Bind] {
            let pointer = address.as_ptr().expose_provenance();
            let ret = sys::attempt(op, file.as_raw_fd(), pointer, sys::IPV4_LEN);
            ensure!(ret == -libc::ENOTSOCK, "{op} returned {ret}");
        }
        writeln!(io::stdout(), "done")?;
    }
    Ok(())
}

fn answer_all(mut device: File) -> Result<()> {
    // The kernel wants room for the longest request.
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match device.read(&mut buffer) {
            Ok(length) => {
                let request = Request::parse(&buffer[..length]).context("a short request")?;
                if let Some(answer) = request.answer() {
                    match device.write(&answer) {
                        // It was taken back meanwhile.
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        written => drop(written?),
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A request that was taken back while it was read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // It was unmounted.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// `struct fuse_in_header`, as far as it matters here.
struct Request {
    opcode: u32,
    unique: u64,
    node: u64,
}

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

impl Request {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let opcode = u32::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let unique = u64::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
        let node = u64::from_ne_bytes(*bytes.get(16..)?.first_chunk()?);
        Some(Self {
            opcode,
            unique,
            node,
        })
    }

    /// What is written back; nothing for what the kernel expects no answer to, and for what it
    /// waits for in vain.
    fn answer(&self) -> Option<Vec<u8>> {
        let (error, body) = match self.opcode {
            FLUSH | FORGET | INTERRUPT | BATCH_FORGET => return None,
            INIT => (0, welcome()),
            LOOKUP => (0, entry()),
            GETATTR => (0, attributes(self.node)),
            // `struct fuse_open_out`
            OPEN => (0, vec![0; 16]),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
        let mut answer = Vec::new();
        answer.extend(length.to_ne_bytes());
        answer.extend(error.to_ne_bytes());
        answer.extend(self.unique.to_ne_bytes());
        answer.extend(body);
        Some(answer)
    }
}

/// `struct fuse_init_out`: version 7.31, and nothing beyond what is in every version.
fn welcome() -> Vec<u8> {
    const WRITE: u32 = 4096;
    let mut body: Vec<u8> = [7, 31, 0, 0, 0, WRITE]
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    body.resize(64, 0);
    body
}

/// `struct fuse_entry_out`: the file, whatever name was asked for.
fn entry() -> Vec<u8> {
    let mut body = NODE.to_ne_bytes().to_vec();
    body.resize(40, 0);
    body.extend(attribute(NODE));
    body
}

/// `struct fuse_attr_out`
fn attributes(node: u64) -> Vec<u8> {
    let mut body = vec![0; 16];
    body.extend(attribute(node));
    body
}

/// `struct fuse_attr`
fn attribute(node: u64) -> Vec<u8> {
    let mode = if node == ROOT {
        libc::S_IFDIR | 0o755
    } else {
        libc::S_IFREG | 0o644
    };
    let mut body = node.to_ne_bytes().to_vec();
    // Sizes and times, up to the mode.
    body.resize(60, 0);
    body.extend([mode, 1, USER, USER].into_iter().flat_map(u32::to_ne_bytes));
    body.resize(88, 0);
    body
}
