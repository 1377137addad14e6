//! Control groups: from the id that the kernel gave to a path, and the unit and the container
//! that the path names.
//!
//! An id leads to one path for good, so what was found stays. It is looked for in two places:
//! where the caller is now, if that has the id; else, the process being gone, in the tree, a bit
//! at a time. What cannot be found is asked for again after a rest.
//!
//! On hosts with v1 hierarchies besides, systemd and the runtimes may use those alone and leave
//! every process in the root of v2. There, unit and container are those of v1. A process can be
//! moved there without a trace in the attempt, so they are looked up again after a second.

pub mod container;
pub mod membership;
pub mod mount;
mod tree;
pub mod unit;
mod view;

use std::{collections::HashMap, sync::Arc, time::Instant};

use foldhash::fast::RandomState;

pub use self::view::View;
use self::{membership::Line, mount::Mounts, tree::Tree};
use crate::{
    event::{Attempt, Cgroup, Degradation},
    process,
};

/// Cgroups, remembered.
#[derive(Debug)]
pub struct Cgroups {
    view: View,
    tree: Option<Tree>,
    /// Id of what paths begin at
    root: Option<u64>,
    has_version_1: bool,
    by_id: HashMap<u64, Found, RandomState>,
    /// Of processes in the root of v2, by thread group and its start
    by_process: HashMap<(u32, Option<u64>), Seen, RandomState>,
}

#[derive(Debug)]
enum Found {
    At(Arc<Cgroup>),
    Nowhere { until: Instant },
}

#[derive(Debug)]
struct Seen {
    cgroup: Arc<Cgroup>,
    /// Begin of the call that it was looked up for
    call_ns: u64,
}

/// The id of the root of the whole v2 hierarchy (fs/kernfs/dir.c, `kernfs_create_root`).
const ROOT: u64 = 1;

/// Cgroups, and processes, that are remembered. When they are that many, all are forgotten: those
/// in use are soon back.
const CAPACITY: usize = 4096;

/// What `/proc/PID/cgroup` may have: paths of every hierarchy.
const LEN: u64 = 64 * 1024;

/// How long a process is thought to stay in its v1 cgroups.
const TRUSTED_NS: u64 = 1_000_000_000;

impl Cgroups {
    /// Finds out where the trees are.
    pub fn new() -> Self {
        let (view, mounts) = View::of_this_process();
        Self::seen(view, &mounts)
    }

    fn seen(view: View, mounts: &Mounts) -> Self {
        let has_version_1 = mounts.has_version_1;
        let tree = view.tree().map(|point| Tree::new(point.to_owned()));
        Self {
            root: tree.as_ref().map_or(Some(ROOT), |tree| tree.id_of(b"/")),
            view,
            tree,
            has_version_1,
            by_id: HashMap::default(),
            by_process: HashMap::default(),
        }
    }

    /// Adds the cgroup to an attempt, if it can be found.
    pub fn describe(&mut self, attempt: &mut Attempt) {
        attempt.cgroup = self.of(attempt);
    }

    /// Whether what was found for an attempt holds for all of its cgroup, for good.
    pub fn is_told_by_id(&self, attempt: &Attempt) -> bool {
        let id = attempt.cgroup_id;
        attempt.cgroup.is_some() && !(self.has_version_1 && self.root == id)
    }

    /// What cannot be seen of the host's cgroups.
    pub fn limit(&self) -> Option<Degradation> {
        self.view.limit(self.has_version_1)
    }

    /// Whether it can be told of every process which cgroup it is in.
    pub const fn sees_all(&self) -> bool {
        self.view.is_of_host()
    }

    /// The cgroup that a process is in now; `None` also where that cannot be seen from here.
    pub fn of_process(&self, tgid: u32) -> Option<Arc<Cgroup>> {
        let text = process::read(&format!("/proc/{tgid}/cgroup"), LEN)?;
        let line = membership::lines(&text).find(Line::is_version_2);
        let path = self
            .view
            .absolute(line.map_or(&b"/"[..], |line| line.path))?;
        let cgroup = if self.has_version_1 && path == b"/" {
            self.view.is_of_host().then(|| in_version_1(&text))?
        } else {
            at(path)
        };
        Some(Arc::new(cgroup))
    }

    fn of(&mut self, attempt: &Attempt) -> Option<Arc<Cgroup>> {
        let cgroup = self.by_id(attempt)?;
        if self.has_version_1 && cgroup.path == "/" {
            // The paths of v1 begin at the namespace's root, wherever that is.
            if !self.view.is_of_host() {
                return None;
            }
            return Some(self.by_process(attempt).unwrap_or(cgroup));
        }
        Some(cgroup)
    }

    fn by_id(&mut self, attempt: &Attempt) -> Option<Arc<Cgroup>> {
        let id = attempt.cgroup_id?;
        match self.by_id.get(&id) {
            Some(Found::At(cgroup)) => return Some(Arc::clone(cgroup)),
            Some(Found::Nowhere { until }) if Instant::now() < *until => return None,
            _ => {}
        }
        if self.root == Some(id) {
            return Some(self.remember(id, b"/"));
        }
        let tree = self.tree.as_ref()?;
        match path_of_caller(attempt, tree, &self.view) {
            Some(path) => Some(self.remember(id, &path)),
            None => self.search(id),
        }
    }

    fn remember(&mut self, id: u64, path: &[u8]) -> Arc<Cgroup> {
        let cgroup = Arc::new(at(path));
        make_room(&mut self.by_id);
        self.by_id.insert(id, Found::At(Arc::clone(&cgroup)));
        cgroup
    }

    /// Walks on through the tree, and remembers what comes along.
    fn search(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        let now = Instant::now();
        let tree = self.tree.as_mut()?;
        make_room(&mut self.by_id);
        let known = &mut self.by_id;
        if tree.rests_until(now).is_none() {
            tree.step(now, |seen, path| {
                let is_known = matches!(known.get(&seen), Some(Found::At(_)));
                if !is_known && (seen == id || known.len() < CAPACITY / 2) {
                    known.insert(seen, Found::At(Arc::new(at(&path))));
                }
            });
        }
        if let Some(Found::At(cgroup)) = known.get(&id) {
            return Some(Arc::clone(cgroup));
        }
        let until = tree.rests_until(now).unwrap_or(now);
        known.insert(id, Found::Nowhere { until });
        None
    }

    fn by_process(&mut self, attempt: &Attempt) -> Option<Arc<Cgroup>> {
        let call_ns = attempt.id.start_ns;
        let key = (attempt.tgid, attempt.process_start);
        let known = self.by_process.get(&key);
        let trusted = match attempt.process_start {
            Some(_) => TRUSTED_NS,
            None => process::CLOSE_NS,
        };
        if let Some(seen) = known
            && call_ns.abs_diff(seen.call_ns) < trusted
        {
            return Some(Arc::clone(&seen.cgroup));
        }
        let read = of_caller(attempt, |text| Some(in_version_1(text)));
        let Some(cgroup) = read.filter(|_| process::is_still(attempt)).map(Arc::new) else {
            // Without its start another process could not be told from it.
            attempt.process_start?;
            return known.map(|seen| Arc::clone(&seen.cgroup));
        };
        make_room(&mut self.by_process);
        let seen = Arc::clone(&cgroup);
        self.by_process.insert(
            key,
            Seen {
                cgroup: seen,
                call_ns,
            },
        );
        Some(cgroup)
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

fn make_room<K, V>(map: &mut HashMap<K, V, RandomState>) {
    if map.len() >= CAPACITY {
        map.clear();
    }
}

/// The cgroup at a path of the v2 tree.
fn at(path: &[u8]) -> Cgroup {
    let path = String::from_utf8_lossy(path).into_owned();
    Cgroup {
        unit: unit::of(&path),
        container: container::of(&path),
        path,
    }
}

/// The cgroup of a process in the root of v2, by the v1 hierarchies that it is in: systemd's has
/// the unit; the container is in systemd's too, or, with runtimes that do without, in others.
fn in_version_1(text: &[u8]) -> Cgroup {
    let path = |line: Line<'_>| String::from_utf8_lossy(line.path).into_owned();
    let systemd = membership::lines(text).find(Line::is_of_systemd).map(path);
    let others = membership::lines(text)
        .filter(|line| !line.is_of_systemd())
        .map(path);
    Cgroup {
        path: "/".to_owned(),
        unit: systemd.as_deref().and_then(unit::of),
        container: systemd
            .into_iter()
            .chain(others)
            .find_map(|path| container::of(&path)),
    }
}

/// The path of the v2 cgroup that the caller is in, if that is still the one of the attempt.
fn path_of_caller(attempt: &Attempt, tree: &Tree, view: &View) -> Option<Vec<u8>> {
    of_caller(attempt, |text| {
        let line = membership::lines(text).find(Line::is_version_2)?;
        let path = view.absolute(line.path)?;
        (tree.id_of(path) == attempt.cgroup_id).then(|| path.to_owned())
    })
}

/// What the cgroup file of the thread says, or else of its process: the thread may have a cgroup
/// of its own, and it may be gone.
fn of_caller<T>(attempt: &Attempt, read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let Attempt { tgid, tid, .. } = attempt;
    let look = |path: String| read(&process::read(&path, LEN)?);
    look(format!("/proc/{tgid}/task/{tid}/cgroup")).or_else(|| look(format!("/proc/{tgid}/cgroup")))
}

#[cfg(test)]
mod tests;
