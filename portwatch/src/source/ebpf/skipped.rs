//! Runs that the kernel skipped: of programs, and of the probes that they stand on.
//!
//! Nothing announces them, so they are looked at from time to time, when portwatch is awake
//! anyhow. A program is skipped while it (a trampoline, since Linux 5.12) or any other (a kprobe, a
//! tracepoint, counted since 6.7) runs on the same CPU; a kprobe, while another one does, and on
//! its return, when more calls wait than it can follow.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aya::Ebpf;
use portwatch_common::settings::witnessed;

use super::{
    LossCount,
    hooks::{Attach, Hook},
    link::{self, FDINFO, fdinfo},
};
use crate::event::{Degradation, LossReason, Place};

/// At most so often they are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// The counters of all that is attached.
pub(super) struct Skipped {
    counters: Vec<Counter>,
    looked: Instant,
}

struct Counter {
    /// Of a program, or of a link: open as long as the source is
    fd: RawFd,
    reason: LossReason,
    place: Place,
    /// Which counter tells of those that nothing was lost by
    witnessed: Option<u32>,
    seen: u64,
}

impl Skipped {
    /// Finds the counters of what is attached, as they stand, and says which there are not.
    pub(super) fn find(programs: &Ebpf, hooks: &[&Hook]) -> (Self, Option<Degradation>) {
        let (counters, uncounted) = match find(programs, hooks) {
            Ok(found) => found,
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        let skipped = Self {
            counters,
            looked: Instant::now(),
        };
        (skipped, uncounted.map(degradation))
    }

    /// Whether it is time for a look.
    pub(super) fn is_due(&self) -> bool {
        self.looked.elapsed() >= PERIOD
    }

    /// Appends what was skipped since the last call, but for what `witnessed` says was seen all the same.
    /// Counters that can no longer be read are given up, which is said once.
    pub(super) fn add_news(
        &mut self,
        witnessed: impl Fn(u32) -> anyhow::Result<u64>,
        news: &mut Vec<LossCount>,
    ) -> Option<Degradation> {
        self.looked = Instant::now();
        let mut uncounted = None;
        self.counters
            .retain_mut(|counter| match counter.news(&witnessed) {
                Ok(count) => {
                    news.extend(count);
                    true
                }
                Err(error) => {
                    uncounted = Some(format!("{error:#}"));
                    false
                }
            });
        uncounted.map(degradation)
    }
}

impl Counter {
    fn news(
        &mut self,
        witnessed: impl Fn(u32) -> anyhow::Result<u64>,
    ) -> anyhow::Result<Option<LossCount>> {
        let skipped = match self.reason {
            LossReason::ProbeMissed => missed(self.fd),
            _ => recursion_misses(self.fd),
        }?;
        // A run is skipped before it is witnessed: asked the other way round, one under way would count.
        let witnessed = self.witnessed.map_or(Ok(0), witnessed)?;
        Ok(self.advance(skipped.saturating_sub(witnessed)))
    }

    fn advance(&mut self, total: u64) -> Option<LossCount> {
        let count = total.saturating_sub(self.seen);
        self.seen = self.seen.max(total);
        (count > 0).then(|| LossCount {
            reason: self.reason,
            place: self.place.clone(),
            count,
        })
    }
}

/// The counters, and why there are none for perf events.
fn find(programs: &Ebpf, hooks: &[&Hook]) -> anyhow::Result<(Vec<Counter>, Option<String>)> {
    let (on_perf, others): (Vec<&Hook>, Vec<&Hook>) =
        hooks.iter().partition(|hook| is_on_perf(hook.attach));
    let mut counters = of_programs(programs, &others)?;
    if on_perf.is_empty() {
        return Ok((counters, None));
    }
    let links = perf_links()?;
    if links.len() < on_perf.len() || !links.iter().all(|(_, link)| link.counts) {
        let why = "this kernel does not count those of kprobes and tracepoints";
        return Ok((counters, Some(why.to_owned())));
    }
    counters.extend(of_programs(programs, &on_perf)?);
    counters.extend(links.into_iter().filter_map(|(fd, link)| {
        let link::Probe { hook, missed } = link.probe?;
        Some(Counter {
            fd,
            reason: LossReason::ProbeMissed,
            place: Place::Hook(hook.into()),
            witnessed: None,
            seen: missed,
        })
    }));
    Ok((counters, None))
}

const fn is_on_perf(attach: Attach) -> bool {
    match attach {
        Attach::Kprobe(_) | Attach::Kretprobe(_) | Attach::Tracepoint(..) => true,
        Attach::Fentry(_) | Attach::Fexit(_) | Attach::TracepointBtf(_) => false,
    }
}

/// One counter for each program, which stands for all hooks that share it.
fn of_programs(programs: &Ebpf, hooks: &[&Hook]) -> anyhow::Result<Vec<Counter>> {
    let mut counters = Vec::new();
    for (name, program) in programs.programs() {
        let shared: Vec<_> = hooks
            .iter()
            // What a second one is skipped for, the first has done, or is counted for.
            .filter(|hook| hook.program == name && !hook.is_second())
            .map(|hook| hook.attach.to_string())
            .collect();
        if shared.is_empty() {
            continue;
        }
        let fd = program.fd()?.as_fd().as_raw_fd();
        counters.push(Counter {
            fd,
            reason: LossReason::Recursion,
            place: Place::Hook(shared.join(", ").into()),
            witnessed: witness_of(name),
            seen: recursion_misses(fd)?,
        });
    }
    Ok(counters)
}

/// The counter of a program's runs that others witnessed.
fn witness_of(program: &str) -> Option<u32> {
    (0..)
        .zip(witnessed::PROGRAMS)
        .find_map(|(counter, name)| (name == program).then_some(counter))
}

/// The links of perf events among this process's descriptors.
fn perf_links() -> io::Result<Vec<(RawFd, link::PerfLink)>> {
    let links = link::open_links()?.into_iter();
    Ok(links
        .filter_map(|fd| link::read(borrow(fd)).map(|link| (fd, link)))
        .collect())
}

#[expect(unsafe_code, reason = "aya does not lend the descriptors of its links")]
fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: it was seen to be a link's, and the programs keep their links open as long as the
    // source, which owns whatever calls this, is there.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn missed(link: RawFd) -> anyhow::Result<u64> {
    let probe = link::read(borrow(link)).and_then(|link| link.probe);
    Ok(probe.context("a link no longer tells of its probe")?.missed)
}

/// `recursion_misses` of a program (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c).
fn recursion_misses(program: RawFd) -> anyhow::Result<u64> {
    let info = fdinfo(program).with_context(|| format!("cannot read {FDINFO}/{program}"))?;
    field(&info, "recursion_misses:").context("this kernel does not count them")
}

/// The number behind a name, at the start of a line.
fn field(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

fn degradation(why: String) -> Degradation {
    Degradation {
        what: "runs of hooks that the kernel skips are not counted".to_owned(),
        why,
        remedy: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// As Linux 6.12 prints it.
    const PROGRAM: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1057\nprog_type:\t26\n\
        prog_jited:\t1\nprog_tag:\t3b185187f1855c4c\nmemlock:\t4096\nprog_id:\t21\n\
        run_time_ns:\t0\nrun_cnt:\t0\nrecursion_misses:\t12\nverified_insns:\t703\n";

    #[test]
    fn the_counter_is_found_by_its_whole_name() {
        assert_eq!(field(PROGRAM, "recursion_misses:"), Some(12));
        assert_eq!(field(PROGRAM, "misses:"), None);
        assert_eq!(
            field("recursion_misses:\tmany\n", "recursion_misses:"),
            None
        );
    }

    #[test]
    fn descriptors_that_are_no_links_are_passed_over() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let links = perf_links().unwrap();
        assert!(links.iter().all(|(fd, _)| *fd != file.as_raw_fd()));
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut counter = Counter {
            fd: -1,
            reason: LossReason::Recursion,
            place: Place::Hook(Arc::from("fexit:inet_bind")),
            witnessed: None,
            seen: 3,
        };
        assert_eq!(counter.advance(5).map(|news| news.count), Some(2));
        assert_eq!(counter.advance(5), None);
        // What was told as lost, and witnessed afterwards, is not told again.
        assert_eq!(counter.advance(4), None);
        assert_eq!(counter.advance(6).map(|news| news.count), Some(1));
    }

    #[test]
    fn programs_have_the_counters_of_their_names() {
        assert_eq!(witness_of("fx_inet_bind"), Some(witnessed::INET_BIND));
        assert_eq!(witness_of("fx_inet6_bind"), Some(witnessed::INET6_BIND));
        assert_eq!(witness_of("fx_mptcp_bind"), Some(witnessed::MPTCP_BIND));
        assert_eq!(witness_of("fx_sys_bind"), None);
    }
}
