//! The v2 tree itself: from ids to paths, and back.

use std::{
    collections::VecDeque,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A mounted tree. The id of a cgroup is the inode number of its directory, and never used again
/// (fs/kernfs/dir.c, `__kernfs_new_node`).
#[derive(Debug)]
pub(super) struct Tree {
    mount: PathBuf,
    /// Directories of the walk under way that are still to be read, below the mount
    queue: VecDeque<PathBuf>,
    /// How many more this walk may read
    left: usize,
    next_step: Option<Instant>,
}

impl Tree {
    /// What one walk reads at most, on hosts with tens of thousands of cgroups.
    const DIRECTORIES: usize = 20_000;

    /// What a step reads: some 2 ms, in which the ring buffer takes what comes.
    const STEP: usize = 100;

    const BETWEEN_STEPS: Duration = Duration::from_millis(50);

    const BETWEEN_WALKS: Duration = Duration::from_secs(1);

    pub(super) const fn new(mount: PathBuf) -> Self {
        Self {
            mount,
            queue: VecDeque::new(),
            left: 0,
            next_step: None,
        }
    }

    /// The id of the cgroup at an absolute path; `None` where there is none.
    pub(super) fn id_of(&self, path: &[u8]) -> Option<u64> {
        let below = path.strip_prefix(b"/")?;
        let directory = self.mount.join(std::ffi::OsStr::from_bytes(below));
        fs::metadata(directory).ok().map(|found| found.ino())
    }

    /// When a step may be made, if not now.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.next_step.filter(|&next| now < next)
    }

    /// Goes on with the walk, or begins one, and tells ids and absolute paths of what it comes
    /// across. Where the tree changes meanwhile, it may miss something.
    pub(super) fn step(&mut self, now: Instant, mut tell: impl FnMut(u64, Vec<u8>)) {
        if self.queue.is_empty() {
            self.queue.push_back(PathBuf::new());
            self.left = Self::DIRECTORIES;
        }
        for _ in 0..Self::STEP.min(self.left) {
            let Some(below) = self.queue.pop_front() else {
                break;
            };
            self.left -= 1;
            self.read(&below, &mut tell);
        }
        if self.left == 0 {
            self.queue.clear();
        }
        let pause = if self.queue.is_empty() {
            Self::BETWEEN_WALKS
        } else {
            Self::BETWEEN_STEPS
        };
        self.next_step = Some(now + pause);
    }

    fn read(&mut self, below: &Path, tell: &mut impl FnMut(u64, Vec<u8>)) {
        let Ok(entries) = fs::read_dir(self.mount.join(below)) else {
            return;
        };
        // Kind and inode number are part of what the directory lists: nothing is asked about each.
        for entry in entries.map_while(Result::ok) {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let child = below.join(entry.file_name());
            let absolute = Path::new("/").join(&child);
            tell(entry.ino(), absolute.into_os_string().into_encoded_bytes());
            if self.queue.len() < self.left {
                self.queue.push_back(child);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(tree: &mut Tree, now: Instant) -> Vec<(u64, Vec<u8>)> {
        let mut seen = Vec::new();
        tree.step(now, |id, path| seen.push((id, path)));
        seen
    }

    #[test]
    fn a_walk_tells_every_directory_with_its_id() {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir_all(mount.path().join("a.slice/b.service/c")).unwrap();
        fs::create_dir_all(mount.path().join("d")).unwrap();
        fs::write(mount.path().join("d/cgroup.procs"), "").unwrap();
        let mut tree = Tree::new(mount.path().to_owned());
        let mut seen = seen(&mut tree, Instant::now());
        seen.sort_by(|one, other| one.1.cmp(&other.1));
        let paths: Vec<_> = seen.iter().map(|(_, path)| path.as_slice()).collect();
        let expected: [&[u8]; 4] = [
            b"/a.slice",
            b"/a.slice/b.service",
            b"/a.slice/b.service/c",
            b"/d",
        ];
        assert_eq!(paths, expected);
        for (id, path) in seen {
            assert_eq!(tree.id_of(&path), Some(id));
        }
        assert_eq!(tree.id_of(b"/gone"), None);
        assert_eq!(tree.id_of(b"relative"), None);
    }

    #[test]
    fn a_long_walk_is_made_in_steps_with_a_rest_between_them() {
        let mount = tempfile::tempdir().unwrap();
        for number in 0..2 * Tree::STEP {
            fs::create_dir_all(mount.path().join(format!("{number}/x"))).unwrap();
        }
        let mut tree = Tree::new(mount.path().to_owned());
        let mut now = Instant::now();
        assert_eq!(tree.rests_until(now), None);
        let mut steps = 0;
        let mut found = 0;
        loop {
            found += seen(&mut tree, now).len();
            steps += 1;
            let until = tree.rests_until(now).unwrap();
            assert_eq!(tree.rests_until(until), None);
            if until == now + Tree::BETWEEN_WALKS {
                break;
            }
            assert_eq!(until, now + Tree::BETWEEN_STEPS);
            now = until;
        }
        assert_eq!(found, 4 * Tree::STEP);
        // The root, 200 below it, and the 200 below those.
        assert_eq!(steps, 5);
    }

    #[test]
    fn a_walk_ends_when_it_has_read_enough() {
        let mount = tempfile::tempdir().unwrap();
        for number in 0..50 {
            fs::create_dir_all(mount.path().join(format!("{number}"))).unwrap();
        }
        let mut tree = Tree::new(mount.path().to_owned());
        tree.queue.push_back(PathBuf::new());
        tree.left = 10;
        let now = Instant::now();
        assert_eq!(seen(&mut tree, now).len(), 50);
        assert_eq!(tree.left, 0);
        assert_eq!(tree.rests_until(now), Some(now + Tree::BETWEEN_WALKS));
    }

    #[test]
    fn a_tree_that_is_not_there_is_empty() {
        let mut tree = Tree::new("/nonexistent".into());
        assert_eq!(seen(&mut tree, Instant::now()), []);
    }
}
