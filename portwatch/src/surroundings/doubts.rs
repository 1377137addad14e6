//! What a filter asks for by number, held against the processes and namespaces that there are now.

use std::fs;

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use crate::{
    event::Degradation,
    filter::{Field, Filter, Span, Test, Value},
    netns::Namespaces,
    process,
};

pub(super) fn of(filter: &Filter) -> Vec<Degradation> {
    let mut doubts = Vec::new();
    for test in filter.required() {
        doubts.extend(match test.field() {
            Field::Pid | Field::PpidTree => of_pids(&test),
            Field::Netns => of_namespaces(&test),
            _ => None,
        });
    }
    doubts
}

fn of_pids(test: &Test) -> Option<Degradation> {
    let name = test.field().name();
    let pids: Vec<_> = test.wanted().iter().filter_map(pids).collect();
    if pids.is_empty() {
        return None;
    }
    if !process::has_host_pids() {
        return Some(Degradation {
            what: format!("{test} is taken for the host's numbering"),
            why:
                "portwatch runs in a pid namespace of its own, where ps shows other numbers: such \
                  a process may be another one, or none"
                    .to_owned(),
            remedy: Some("run portwatch with the host's pids: docker run --pid=host".to_owned()),
        });
    }
    let largest = largest_pid();
    if let Some(largest) = largest
        && pids.iter().all(|span| span.first > largest)
    {
        return Some(Degradation {
            what: format!("no process can have {test} now"),
            why: format!("this host's process ids end at {largest}"),
            remedy: Some("cat /proc/sys/kernel/pid_max".to_owned()),
        });
    }
    let singles: Option<Vec<u32>> = pids
        .iter()
        .map(|span| (span.first == span.last).then_some(span.first))
        .collect();
    let singles = singles?;
    if singles.iter().all(|&pid| is_gone(pid)) {
        return Some(Degradation {
            what: format!("no process has {test} now"),
            why: "it has ended, or the number is mistyped; a later process may be given it"
                .to_owned(),
            remedy: Some("ps -e".to_owned()),
        });
    }
    // Threads have numbers too, which ps -L and top -H show.
    let thread = singles.iter().find_map(|&tid| {
        let pid = process::process_of_thread(tid)?;
        (pid != tid).then_some((tid, pid))
    });
    let (tid, pid) = thread?;
    Some(Degradation {
        what: format!("{name}={tid} matches nothing"),
        why: format!("{tid} is a thread of process {pid}, and a filter goes by the process"),
        remedy: Some(format!("--{name} {pid}")),
    })
}

fn pids(value: &Value) -> Option<Span<u32>> {
    match *value {
        Value::Pid(span) => Some(span),
        Value::PpidTree(pid) => Some(Span {
            first: pid,
            last: pid,
        }),
        _ => None,
    }
}

/// Looked for in this way, a process that /proc hides is there, too.
fn is_gone(pid: u32) -> bool {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

fn largest_pid() -> Option<u32> {
    let text = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?;
    text.trim().parse::<u32>().ok()?.checked_sub(1)
}

/// Only a search that saw every process can say that none is in a namespace.
fn of_namespaces(test: &Test) -> Option<Degradation> {
    let inode = |value: &Value| match value {
        Value::Netns(inode) => Some(*inode),
        _ => None,
    };
    let wanted: Vec<_> = test.wanted().iter().filter_map(inode).collect();
    if wanted.is_empty() || !process::has_host_pids() || fs::metadata("/proc/1/ns/net").is_err() {
        return None;
    }
    let mut namespaces = Namespaces::default();
    let (found, unseen) = namespaces.search();
    let is_there = wanted.iter().any(|inode| found.contains_key(inode));
    (!is_there && unseen.is_none()).then(|| Degradation {
        what: format!("no process runs in {test} now"),
        why: "a network namespace that is made later may be given that inode; sockets alone can \
              keep one, too"
            .to_owned(),
        remedy: Some("lsns -t net".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Expr, Names};

    struct Nobody;

    impl Names for Nobody {
        fn user(&self, _: &str) -> Option<u32> {
            None
        }

        fn netns(&self, _: &str) -> Result<u32, String> {
            Err(String::new())
        }

        fn container(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn doubts(text: &str) -> Vec<String> {
        let mut filter = Filter::default();
        filter.and(Expr::parse(text, &Nobody).unwrap());
        of(&filter).into_iter().map(|doubt| doubt.what).collect()
    }

    /// A number that was a process's a moment ago.
    fn ended() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        pid
    }

    #[test]
    fn a_process_that_has_ended_is_told() {
        let (gone, own) = (ended(), std::process::id());
        assert_eq!(
            doubts(&format!("pid={gone}")),
            [format!("no process has pid={gone} now")]
        );
        let tree = format!("ppid-tree={gone}");
        assert_eq!(doubts(&tree), [format!("no process has {tree} now")]);
        for text in [
            format!("pid={own}"),
            format!("pid={gone},{own}"),
            format!("pid={gone}-{}", gone + 1),
            format!("pid!={gone}"),
            format!("pid={gone} or port=80"),
            "port=80".to_owned(),
        ] {
            assert!(doubts(&text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_number_that_this_host_gives_no_process_is_told() {
        let beyond = largest_pid().unwrap() + 1;
        let text = format!("pid={beyond}-4194303");
        if beyond <= 4_194_303 {
            assert_eq!(doubts(&text), [format!("no process can have {text} now")]);
        }
    }

    #[test]
    fn the_number_of_a_thread_is_told() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            sender
                .send(rustix::thread::gettid().as_raw_nonzero().get())
                .unwrap();
            assert!(ended.recv().is_err());
        });
        let tid = receiver.recv().unwrap();
        assert_eq!(
            doubts(&format!("pid={tid}")),
            [format!("pid={tid} matches nothing")]
        );
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn a_namespace_that_nobody_is_in_is_told() {
        let own = crate::netns::Namespace::own().unwrap().inode();
        assert!(doubts(&format!("netns={own}")).is_empty());
        assert!(doubts(&format!("netns=7,{own}")).is_empty());
        if fs::metadata("/proc/1/ns/net").is_ok() {
            assert_eq!(doubts("netns=7"), ["no process runs in netns=7 now"]);
        }
    }
}
