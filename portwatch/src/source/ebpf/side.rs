//! What look-ups can ask the kernel's side of a source that runs.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    io,
    os::fd::{AsFd as _, BorrowedFd},
    sync::LazyLock,
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError},
};
use portwatch_common::bound::{self, LAST_BINDS, NO_FD, Port, Slot};

use super::{clock_offset, iterator::Files};
use crate::{
    sockets::kernel::{Descriptor, Kernel, LastBind, Ports},
    source::decode::{self, ClockOffset},
};

const SOCK_STREAM: u16 = 1;

/// Where binds are remembered: nobody who binds may know it.
static SEED: LazyLock<[u32; 2]> = LazyLock::new(|| {
    let random = RandomState::new();
    [0, 1].map(|half| (random.hash_one(half) >> 32) as u32)
});

/// For the settings.
pub(super) fn seed() -> [u32; 2] {
    *SEED
}

/// Its iterator, or why there is none, and the binds that it remembers.
pub(super) struct Side {
    files: anyhow::Result<Files>,
    binds: Array<MapData, Slot>,
}

impl Side {
    pub(super) fn new(programs: &Ebpf, files: anyhow::Result<Files>) -> anyhow::Result<Self> {
        Ok(Self {
            files,
            binds: Array::try_from(again(programs, LAST_BINDS)?)?,
        })
    }
}

impl Side {
    /// Why it has no iterator.
    pub(super) fn fault(&self) -> Option<String> {
        let error = self.files.as_ref().err()?;
        Some(format!("{error:#}"))
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Side");
        text.field("files", &self.files).finish_non_exhaustive()
    }
}

/// The map by a descriptor of its own: programs that are loaded later refer to it by the other.
fn again(programs: &Ebpf, name: &str) -> anyhow::Result<Map> {
    let fd = match programs.map(name) {
        Some(Map::Array(data)) => data.fd().as_fd(),
        _ => anyhow::bail!("the eBPF object has no map {name}"),
    };
    let copy = |fd: BorrowedFd<'_>| anyhow::Ok(MapData::from_fd(fd.try_clone_to_owned()?)?);
    Ok(Map::Array(copy(fd)?))
}

impl Kernel for Side {
    fn descriptors(&mut self, ports: Ports<'_>, limit: usize) -> io::Result<Vec<Descriptor>> {
        match &mut self.files {
            Ok(files) => files.descriptors(ports, limit),
            Err(error) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{error:#}"),
            )),
        }
    }

    fn sees_all_processes(&self) -> bool {
        self.files.as_ref().is_ok_and(Files::sees_all_processes)
    }

    fn last_bind(&self, netns: u32, protocol: u16, port: u16) -> io::Result<Option<LastBind>> {
        let Some(key) = Port::of(netns, SOCK_STREAM, protocol, port) else {
            return Ok(None);
        };
        let seed = bound::seed(seed());
        match self.binds.get(&key.slot(seed), 0) {
            Ok(slot) => {
                let bind = bound::decode(&slot, key, seed);
                Ok(bind.map(|bind| last_bind(&bind, clock_offset())))
            }
            // Where nothing is hidden there is one slot, which stays empty.
            Err(MapError::KeyNotFound | MapError::OutOfBounds { .. }) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

fn last_bind(bind: &bound::LastBind, clock: ClockOffset) -> LastBind {
    LastBind {
        inode: bind.inode,
        tgid: bind.tgid,
        process_start: Some(bind.process_start_ns).filter(|&start| start != 0),
        fd: Some(bind.fd).filter(|&fd| fd != NO_FD),
        time: decode::calendar(bind.time_ns, clock),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_bind_is_none() {
        let mut bind = bound::LastBind {
            time_ns: 5,
            process_start_ns: 0,
            tgid: 7,
            fd: NO_FD,
            inode: 4711,
        };
        let unknown = last_bind(&bind, ClockOffset(1_000));
        assert_eq!((unknown.fd, unknown.process_start), (None, None));
        assert_eq!((unknown.inode, unknown.time.0), (4711, 1_005));
        bind.fd = 3;
        assert_eq!(last_bind(&bind, ClockOffset(0)).fd, Some(3));
    }
}
