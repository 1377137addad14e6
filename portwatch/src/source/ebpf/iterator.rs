//! The kernel's own walk over all open descriptors, as the look-ups of sockets ask for it.

use std::{
    collections::HashSet,
    fmt, fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use anyhow::Context as _;
use aya::{
    Btf, Ebpf,
    maps::{Array, MapData},
    programs::{Iter, Program},
};
use portwatch_common::{
    event::options,
    iterator::{PROGRAM, Row, SOUGHT, Sought},
};
use zerocopy::FromBytes as _;

use super::{
    link,
    load::{self, Loader},
};
use crate::{
    event::Options,
    sockets::kernel::{Descriptor, Kernel, LastBind, Ports},
    source::decode,
};

/// What it iterates over, as the kernel names it, and the function that stands for that.
const TARGET: &str = "task_file";
pub(super) const FUNCTION: &str = "bpf_iter_task_file";

/// Bytes that are read at once: the kernel collects 32 KiB of rows (`bpf_seq_read`, kernel/bpf/bpf_iter.c).
const READ: usize = 64 * 1024;

// include/net/tcp_states.h
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;
/// `PROC_PID_INIT_INO` (include/linux/proc_ns.h)
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// An iterator that is loaded. Dropping it takes it out of the kernel.
pub struct Files {
    link: OwnedFd,
    sought: Array<MapData, Sought>,
    sees_all_processes: bool,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

/// The iterator alone, for those who watch nothing.
pub fn open() -> anyhow::Result<Files> {
    Loader::default().iterator()
}

impl Files {
    /// Loads the program of an object whose maps are there.
    pub(super) fn load(programs: &mut Ebpf, functions: &Btf) -> anyhow::Result<Self> {
        let program = programs.program_mut(PROGRAM);
        let program = program.context("the eBPF object has no iterator")?;
        let link = link_to(program, functions).context("the kernel refuses the iterator")?;
        Ok(Self {
            link,
            sought: Array::try_from(load::take(programs, SOUGHT)?)?,
            sees_all_processes: is_first_pid_namespace(),
        })
    }

    fn seek(&mut self, ports: Ports<'_>) -> io::Result<()> {
        let mut sought = Box::new(Sought::NOTHING);
        match ports {
            Ports::These(ports) => ports.iter().for_each(|&port| sought.add(port)),
            Ports::Kept => sought.kept = 1,
        }
        self.sought.set(0, *sought, 0).map_err(io::Error::other)
    }
}

fn link_to(program: &mut Program, functions: &Btf) -> anyhow::Result<OwnedFd> {
    let program: &mut Iter = program.try_into()?;
    load::loaded(program.load(TARGET, functions))?;
    Ok(link::of_iterator(program.fd()?.as_fd())?)
}

/// The iterator shows the processes of its reader's pid namespace, and of those below.
fn is_first_pid_namespace() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|found| found.ino() == FIRST_PID_NAMESPACE)
}

impl Kernel for Files {
    fn descriptors(&mut self, ports: Ports<'_>, limit: usize) -> io::Result<Vec<Descriptor>> {
        self.seek(ports)?;
        let mut found = Found::new(limit);
        read_rows(&mut link::pass(self.link.as_fd())?, |row| found.add(row))?;
        Ok(found.rows())
    }

    fn sees_all_processes(&self) -> bool {
        self.sees_all_processes
    }

    /// It watches nobody.
    fn last_bind(&self, _netns: u32, _protocol: u16, _port: u16) -> io::Result<Option<LastBind>> {
        Ok(None)
    }
}

/// Reads to the end. A row that the kernel hands over in two parts is put together again.
fn read_rows(pass: &mut impl io::Read, mut take: impl FnMut(&Row)) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    let mut filled = 0;
    loop {
        match pass.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(read) => filled += read,
            Err(error) if goes_on(&error) => continue,
            Err(error) => return Err(error),
        }
        let rows = buffer[..filled].chunks_exact(size_of::<Row>());
        let rest = rows.remainder().len();
        rows.flat_map(Row::read_from_bytes)
            .for_each(|row| take(&row));
        buffer.copy_within(filled - rest..filled, 0);
        filled = rest;
    }
}

/// The kernel gives way after a million descriptors of which it sent none.
fn goes_on(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::Interrupted
}

/// What a pass has found: sockets that keep their port for themselves go before the others.
struct Found {
    limit: usize,
    seen: HashSet<(u32, u32, u32)>,
    keeping: Vec<Descriptor>,
    others: Vec<Descriptor>,
}

impl Found {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            seen: HashSet::new(),
            keeping: Vec::new(),
            others: Vec::new(),
        }
    }

    fn add(&mut self, row: &Row) {
        let rows = match row.state {
            TCP_CLOSE | TCP_LISTEN => &mut self.keeping,
            _ => &mut self.others,
        };
        // Of a process whose first thread has ended each of the others shows the same descriptors.
        if rows.len() < self.limit && self.seen.insert((row.tgid, row.fd, row.inode)) {
            rows.extend(descriptor(row));
        }
    }

    fn rows(self) -> Vec<Descriptor> {
        let mut rows = self.keeping;
        rows.extend(self.others);
        rows.truncate(self.limit);
        rows
    }
}

/// What a row says, if it can be one.
fn descriptor(row: &Row) -> Option<Descriptor> {
    let has = |bit: u16| row.options & bit != 0;
    let peer = (row.peer_port != 0).then(|| (decode::ip(row.family, row.peer_addr), row.peer_port));
    Some(Descriptor {
        tgid: row.tgid,
        tid: row.tid,
        fd: row.fd.try_into().ok()?,
        inode: row.inode,
        netns: row.netns,
        protocol: row.protocol,
        sock_type: row.sock_type,
        state: row.state.try_into().ok()?,
        ip: decode::ip(row.family, row.addr),
        port: row.port,
        peer,
        uid: Some(row.uid),
        ifindex: Some(row.ifindex).filter(|&index| index != 0),
        options: Options {
            reuseaddr: has(options::REUSEADDR),
            reuseport: has(options::REUSEPORT),
            v6only: has(options::V6ONLY),
            broadcast: has(options::BROADCAST),
            ..Options::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros as _, IntoBytes as _};

    use super::*;

    fn row(fd: u32, state: u32) -> Row {
        let mut row = Row::new_zeroed();
        (row.tgid, row.tid, row.fd, row.inode) = (10, 10, fd, 4711 + fd);
        (row.family, row.port, row.state) = (2, 80, state);
        row.addr[..4].copy_from_slice(&[127, 0, 0, 1]);
        row
    }

    /// Hands out its bytes so many at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl io::Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Self(bytes, most) = self;
            let (now, later) = bytes.split_at(bytes.len().min(*most));
            buffer[..now.len()].copy_from_slice(now);
            *bytes = later;
            Ok(now.len())
        }
    }

    #[test]
    fn rows_come_whole_however_they_are_cut() {
        let rows: Vec<Row> = (0..5).map(|fd| row(fd, 1)).collect();
        let bytes: Vec<u8> = rows
            .iter()
            .flat_map(|row| row.as_bytes().to_vec())
            .collect();
        for most in [1, 75, 76, 77, 200, 1000] {
            let mut read = Vec::new();
            read_rows(&mut Trickle(&bytes, most), |row| read.push(*row)).unwrap();
            assert_eq!(read, rows, "{most}");
        }
    }

    #[test]
    fn those_that_keep_the_port_come_first_and_the_limit_holds() {
        let mut found = Found::new(3);
        for fd in 0..5 {
            found.add(&row(fd, 1));
        }
        for fd in 5..7 {
            found.add(&row(fd, TCP_LISTEN));
        }
        let fds: Vec<i32> = found.rows().iter().map(|found| found.fd).collect();
        assert_eq!(fds, [5, 6, 0]);
    }

    #[test]
    fn threads_that_show_the_same_descriptor_count_once() {
        let mut found = Found::new(3);
        found.add(&row(3, TCP_LISTEN));
        found.add(&Row {
            tid: 11,
            ..row(3, TCP_LISTEN)
        });
        assert_eq!(found.rows().len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_row_makes_it_panic(bytes: [u8; size_of::<Row>()]) {
            let row = Row::read_from_bytes(&bytes).unwrap();
            let mut found = Found::new(1);
            found.add(&row);
            proptest::prop_assert!(found.rows().len() <= 1);
        }
    }
}
