use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::event::AttemptId;

/// An attempt of a thread that there is, now.
#[expect(clippy::similar_names, reason = "they are called that")]
pub(crate) fn attempt_of(tgid: u32, tid: u32) -> Attempt {
    let leader = Stat::read(&format!("/proc/{tgid}/stat")).unwrap();
    let thread = Stat::read(&format!("/proc/{tgid}/task/{tid}/stat")).unwrap();
    let mut comm = [0; 16];
    comm[..thread.comm.len()].copy_from_slice(&thread.comm);
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    Attempt {
        id: AttemptId {
            start_ns: u64::try_from(tv_sec * 1_000_000_000 + tv_nsec).unwrap(),
            tid,
        },
        tgid,
        tid,
        process_start: Some(leader.start * 10_000_000 + 9_999_999),
        comm: Comm::new(comm),
        ..crate::event::sample::attempt()
    }
}

/// An attempt of this thread.
pub(crate) fn own_attempt() -> Attempt {
    let tid = rustix::thread::gettid().as_raw_nonzero().get();
    attempt_of(std::process::id(), u32::try_from(tid).unwrap())
}

/// An attempt of a process that is long gone.
pub(crate) fn gone() -> Attempt {
    Attempt {
        tgid: u32::MAX,
        tid: u32::MAX,
        process_start: Some(1),
        ..crate::event::sample::attempt()
    }
}

fn described(processes: &mut Processes, attempt: &Attempt) -> Option<Arc<Process>> {
    let mut attempt = attempt.clone();
    processes.describe(&mut attempt);
    attempt.process
}

fn exe(process: Option<Arc<Process>>) -> Option<PathBuf> {
    process?.exe.clone()
}

#[test]
fn this_process_runs_this_test() {
    let own = std::env::current_exe().unwrap();
    let attempt = own_attempt();
    let mut processes = Processes::new(false);
    let process = described(&mut processes, &attempt).unwrap();
    assert_eq!(process.exe, Some(own.clone()));
    assert_eq!(process.cmdline, None);
    let again = described(&mut processes, &attempt).unwrap();
    assert!(Arc::ptr_eq(&process, &again));
    // Without a start it is found all the same.
    let of_tracepoint = Attempt {
        process_start: None,
        ..attempt
    };
    assert_eq!(exe(described(&mut processes, &of_tracepoint)), Some(own));
}

#[test]
fn arguments_are_read_where_they_are_asked_for() {
    let process = described(&mut Processes::new(true), &own_attempt()).unwrap();
    let own: Vec<String> = std::env::args().collect();
    assert_eq!(process.cmdline.as_deref(), Some(own.as_slice()));
}

#[test]
fn another_process_with_the_same_number_is_not_taken() {
    let own = own_attempt();
    let start = own.process_start.unwrap();
    for other in [
        Attempt {
            process_start: Some(start + 10_000_000),
            ..own.clone()
        },
        Attempt {
            process_start: Some(start - 10_000_000),
            ..own.clone()
        },
        Attempt {
            comm: Comm::new(*b"another name\0\0\0\0"),
            ..own.clone()
        },
        Attempt {
            comm: Comm::new(*b"another name\0\0\0\0"),
            process_start: None,
            ..own.clone()
        },
        Attempt {
            // The thread began after the call.
            id: AttemptId {
                start_ns: 0,
                tid: own.tid,
            },
            process_start: None,
            ..own.clone()
        },
        gone(),
        Attempt {
            process_start: None,
            ..gone()
        },
    ] {
        assert_eq!(described(&mut Processes::new(true), &other), None);
    }
}

#[test]
fn a_thread_that_is_gone_leaves_its_process() {
    let named = std::thread::Builder::new().name("worker (1) \u{e9}".to_owned());
    let attempt = named.spawn(own_attempt).unwrap().join().unwrap();
    assert_ne!(attempt.comm, own_attempt().comm);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while Path::new(&format!("/proc/self/task/{}", attempt.tid)).exists() {
        assert!(std::time::Instant::now() < deadline);
    }
    let process = described(&mut Processes::new(false), &attempt);
    assert_eq!(exe(process), std::env::current_exe().ok());
}

/// A process that runs copies of sh, all with the same name.
struct Chain {
    directory: tempfile::TempDir,
    child: Child,
}

impl Chain {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for part in ["one", "two"] {
            fs::create_dir(directory.path().join(part)).unwrap();
            fs::copy("/bin/sh", directory.path().join(part).join("prog")).unwrap();
        }
        let child = Command::new(directory.path().join("one/prog"))
            .args(["-c", "read line; exec two/prog -c 'read line'"])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self { directory, child }
    }

    fn exe(&self, part: &str) -> PathBuf {
        self.directory.path().join(part).join("prog")
    }

    fn runs(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.child.id())).unwrap()
    }

    /// Makes it run its next program.
    fn go_on(&mut self) {
        let before = self.runs();
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while self.runs() == before {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn attempt(&self) -> Attempt {
        attempt_of(self.child.id(), self.child.id())
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn another_program_of_the_same_name_is_noticed() {
    let mut chain = Chain::start();
    let mut processes = Processes::new(false);
    let mut attempt = chain.attempt();
    assert_eq!(
        exe(described(&mut processes, &attempt)),
        Some(chain.exe("one"))
    );
    chain.go_on();
    assert_eq!(chain.attempt().comm, attempt.comm);
    attempt.id.start_ns += CLOSE_NS;
    assert_eq!(
        exe(described(&mut processes, &attempt)),
        Some(chain.exe("two"))
    );
}

#[test]
fn arguments_are_read_again_after_a_while() {
    let chain = Chain::start();
    let mut processes = Processes::new(true);
    let mut attempt = chain.attempt();
    let first = described(&mut processes, &attempt).unwrap();
    attempt.id.start_ns += Processes::FRESH_NS - 1;
    let second = described(&mut processes, &attempt).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    attempt.id.start_ns += 1 + CLOSE_NS;
    let third = described(&mut processes, &attempt).unwrap();
    assert!(!Arc::ptr_eq(&first, &third));
    assert_eq!(first, third);
}

#[test]
fn a_process_that_is_gone_is_what_it_was_when_it_was_seen() {
    let mut chain = Chain::start();
    let mut seen = Processes::new(true);
    let mut attempt = chain.attempt();
    let before = described(&mut seen, &attempt).unwrap();
    assert_eq!(before.exe, Some(chain.exe("one")));
    chain.child.kill().unwrap();
    chain.child.wait().unwrap();
    attempt.id.start_ns += 2 * Processes::FRESH_NS;
    assert_eq!(described(&mut seen, &attempt), Some(before));
    assert_eq!(described(&mut Processes::new(true), &attempt), None);
    attempt.comm = Comm::new(*b"another name\0\0\0\0");
    assert_eq!(described(&mut seen, &attempt), None);
}

/// By its number alone, another process could be taken for it.
#[test]
fn without_its_start_a_process_is_known_for_a_moment() {
    let mut chain = Chain::start();
    let mut processes = Processes::new(false);
    let mut attempt = Attempt {
        process_start: None,
        ..chain.attempt()
    };
    let before = described(&mut processes, &attempt).unwrap();
    chain.child.kill().unwrap();
    chain.child.wait().unwrap();
    attempt.id.start_ns += CLOSE_NS - 1;
    assert_eq!(described(&mut processes, &attempt), Some(before));
    attempt.id.start_ns += 1;
    assert_eq!(described(&mut processes, &attempt), None);
}

#[test]
fn many_processes_do_not_fill_the_memory() {
    let own = own_attempt();
    let mut processes = Processes::new(false);
    let process = Arc::new(Process::default());
    for tgid in 0..u32::try_from(Processes::CAPACITY).unwrap() {
        let key = Key {
            tgid,
            start: None,
            comm: own.comm,
        };
        let known = Known {
            process: Arc::clone(&process),
            read_ns: 0,
            looked_ns: 0,
        };
        processes.known.insert(key, known);
    }
    assert!(described(&mut processes, &own).is_some());
    assert_eq!(processes.known.len(), 1);
}

#[test]
fn kernel_threads_run_nothing() {
    let attempt = Attempt {
        via: Some(Via::Kernel),
        ..own_attempt()
    };
    assert_eq!(described(&mut Processes::new(true), &attempt), None);
}

#[test]
fn arguments_are_split_at_their_ends() {
    let split = |bytes: &[u8]| arguments(bytes).map(Vec::from);
    let strings = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
    assert_eq!(split(b"sh\0-c\0a b\nc\0"), strings(&["sh", "-c", "a b\nc"]));
    assert_eq!(split(b"a\0\0b\0"), strings(&["a", "", "b"]));
    assert_eq!(
        split(b"nginx: worker process\0\0\0\0"),
        strings(&["nginx: worker process"])
    );
    assert_eq!(split(b"cut sho"), strings(&["cut sho"]));
    assert_eq!(split(b"\xff\x1b\0"), strings(&["\u{fffd}\u{1b}"]));
    assert_eq!(split(b""), None);
    assert_eq!(split(b"\0\0"), None);
}

#[test]
fn a_file_is_read_as_far_as_allowed() {
    assert_eq!(read("/proc/self/stat", 2).map(|bytes| bytes.len()), Some(2));
    assert_eq!(read("/proc/self/nothing", 2), None);
}

proptest! {
    #[test]
    fn no_arguments_are_too_strange(bytes in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..100)) {
        if let Some(arguments) = arguments(&bytes) {
            prop_assert!(!arguments.last().unwrap().is_empty());
        }
    }
}
