//! The parents of a process, for filters that ask for a whole tree.

use std::sync::Arc;

/// Deeper than processes are nested; parents that are each other's (a recording can say so) must
/// not go round for ever.
const DEPTH: usize = 64;

/// From a parent upwards, as far as `parent_of` knows.
pub fn chain(parent: Option<u32>, parent_of: impl Fn(u32) -> Option<u32>) -> Arc<[u32]> {
    // 0 is the parent of the first.
    let real = |process: &u32| *process != 0;
    std::iter::successors(parent.filter(real), |&process| {
        parent_of(process).filter(real)
    })
    .take(DEPTH)
    .collect()
}

/// Whether these are all that a process has: up to the first process, or the kernel's first thread.
pub fn is_whole(parent: Option<u32>, chain: &[u32]) -> bool {
    match chain.last() {
        Some(last) => [1, 2].contains(last),
        None => parent == Some(0),
    }
}

#[cfg(target_os = "linux")]
pub use self::host::Ancestry;

#[cfg(target_os = "linux")]
mod host {
    use std::{collections::HashMap, sync::Arc};

    use super::{chain, is_whole};
    use crate::{event::Attempt, process};

    /// Processes that are remembered. When they are that many, all are forgotten.
    const CAPACITY: usize = 4096;

    /// The parents of this host's processes, as they were when all of them were first seen: a process
    /// whose parent ends later stays in its tree.
    #[derive(Debug, Default)]
    pub struct Ancestry {
        /// By thread group and its start
        known: HashMap<(u32, u64), Arc<[u32]>>,
    }

    impl Ancestry {
        /// Adds the parents to an attempt.
        pub fn describe(&mut self, attempt: &mut Attempt) {
            let key = attempt.process_start.map(|start| (attempt.tgid, start));
            let known = key.and_then(|key| self.known.get(&key));
            let chain = match known {
                Some(known) => Arc::clone(known),
                None => chain(attempt.ppid, process::parent),
            };
            // One that breaks off may be longer once the process hangs on another parent.
            if let Some(key) = key.filter(|_| is_whole(attempt.ppid, &chain)) {
                if self.known.len() >= CAPACITY {
                    self.known.clear();
                }
                self.known.insert(key, Arc::clone(&chain));
            }
            attempt.ancestors = Some(chain);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::event::sample::attempt;

        fn child(start: Option<u64>) -> Attempt {
            Attempt {
                ppid: Some(std::process::id()),
                process_start: start,
                ..attempt()
            }
        }

        #[test]
        fn parents_are_followed_up_to_the_first_process() {
            let mut attempt = child(None);
            Ancestry::default().describe(&mut attempt);
            let parents = attempt.ancestors.unwrap();
            assert_eq!(parents[0], std::process::id());
            assert_eq!(parents.get(1), Some(&std::os::unix::process::parent_id()));
            assert!(!parents.contains(&0));
        }

        #[test]
        fn a_process_keeps_the_parents_that_it_was_first_seen_with() {
            let mut ancestry = Ancestry::default();
            let (mut first, mut orphan) = (child(Some(1)), child(Some(1)));
            orphan.ppid = Some(1);
            ancestry.describe(&mut first);
            ancestry.describe(&mut orphan);
            assert_eq!(orphan.ancestors, first.ancestors);
            let mut other = Attempt {
                process_start: Some(2),
                ..orphan
            };
            ancestry.describe(&mut other);
            assert_eq!(other.ancestors.unwrap()[0], 1);
        }

        #[test]
        fn parents_of_which_one_is_gone_are_looked_up_again() {
            let mut ancestry = Ancestry::default();
            let gone = Attempt {
                ppid: Some(u32::MAX),
                ..child(Some(1))
            };
            let (mut first, mut reaped) = (gone, child(Some(1)));
            ancestry.describe(&mut first);
            assert_eq!(first.ancestors.as_deref(), Some(&[u32::MAX][..]));
            ancestry.describe(&mut reaped);
            assert_eq!(reaped.ancestors.unwrap()[0], std::process::id());
        }

        #[test]
        fn many_processes_do_not_fill_the_memory() {
            let mut ancestry = Ancestry::default();
            for start in 0..10_000 {
                ancestry.describe(&mut Attempt {
                    ppid: Some(1),
                    ..child(Some(start))
                });
            }
            assert!((1..=CAPACITY).contains(&ancestry.known.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_whole_that_ends_at_the_first_process() {
        assert!(is_whole(Some(7), &[7, 1]) && is_whole(Some(2), &[2]));
        assert!(is_whole(Some(0), &[]));
        assert!(!is_whole(Some(7), &[7]) && !is_whole(None, &[]));
    }

    #[test]
    fn a_chain_ends_where_nothing_is_known_and_does_not_go_round() {
        let parent_of = |process| (process > 5).then(|| process - 1);
        assert_eq!(*chain(Some(7), parent_of), [7, 6, 5]);
        assert_eq!(*chain(Some(2), |process| Some(process - 1)), [2, 1]);
        assert!(chain(None, parent_of).is_empty());
        assert_eq!(chain(Some(7), Some).len(), DEPTH);
    }
}
