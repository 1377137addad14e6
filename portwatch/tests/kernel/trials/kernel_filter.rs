//! Filters that the kernel's side decides: they show what the filter shows in user space, and what
//! they do not let pass stays in the kernel.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    os::unix::fs::MetadataExt as _,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    super::{
        cgroup_bpf::{Cgroup, own_cgroup},
        driver::{Impossible, Pace, Workload},
        portwatch::{self, Portwatch},
        source::Source,
        stream::Stream,
        sys,
        workload::{CLOSED, STORM, TAKEN, THOUSAND, USER},
    },
    filter::{Key, keys},
    replay::replayed,
};

/// Records that may cross the ring where none is wanted: others make attempts too.
const FEW: u64 = 50;

/// Everything, and beside it what passes each of some filters: all of them watch at once, and each
/// is compared with what the whole becomes when it is replayed through the same filter.
pub(super) fn shows_what_the_filter_shows(source: Source) -> Result<()> {
    let workloads = [
        Workload::prepare("mixture", Pace::Burst)?,
        Workload::prepare("mixture_of_user", Pace::Burst)?,
    ];
    let pids = [workloads[0].pid(), workloads[1].pid()];
    let all = portwatch::start(source, &[])?;
    let mut watches: Vec<(String, Portwatch)> = Vec::new();
    for (index, filter) in filters(source, pids)?.into_iter().enumerate() {
        // With causes some of what does not pass has to come all the same.
        let explain = ["--no-explain", "--explain=short"][index % 2];
        let watch = portwatch::start(source, &["--filter", &filter, explain])?;
        watches.push((filter, watch));
    }
    for workload in workloads {
        workload.run_watched_by(&mut [])?;
    }
    let all = all.stop()?;
    for (filter, watch) in watches {
        let [seen, expected] =
            [&watch.stop()?, &filtered(&all, &filter)?].map(|it| sorted(it, pids));
        ensure!(
            seen == expected && !seen.is_empty(),
            "{filter} shows\n{seen:#?}\nwhere all, filtered, is\n{expected:#?}"
        );
    }
    Ok(())
}

/// What becomes of a stream in a replay through that filter.
pub(super) fn filtered(stream: &Stream, filter: &str) -> Result<Stream> {
    let directory = tempfile::tempdir()?;
    let recording = directory.path().join("recording.jsonl");
    fs::write(&recording, &stream.text)?;
    let mut filtered = Stream::default();
    for line in replayed(&recording, &["--json", "--filter", filter])?.lines() {
        filtered.push(line)?;
    }
    Ok(filtered)
}

/// Two who watch need not write the calls of two threads in the same order.
pub(super) fn sorted(stream: &Stream, pids: [u32; 2]) -> Vec<Key> {
    keys(stream, pids, |_| true)
}

/// Between them every field that the kernel's side decides, and cgroups. Something passes each:
/// a field that were read wrongly would let nothing pass.
fn filters(source: Source, [root, user]: [u32; 2]) -> Result<[String; 4]> {
    let own = fs::metadata("/proc/self/ns/net")?.ino();
    let of_socket = |test: String| match source {
        Source::Fexit | Source::Kprobe => format!(" and {test}"),
        // It looks at the socket after the call, when that may be gone.
        Source::Tracepoint => String::new(),
    };
    let [tcp, others, netns] = [
        "proto=tcp".into(),
        "proto!=tcp".into(),
        format!("netns!={own}"),
    ]
    .map(of_socket);
    let comm = fs::read_to_string(format!("/proc/{user}/comm"))?;
    let comm = comm.trim_end();
    let begin: String = comm.chars().take(3).collect();
    Ok([
        format!("pid={root} and comm={comm} and op=connect and outcome=failed{tcp}"),
        format!(
            "user={USER} and port={TAKEN} and role=server and addr=127.0.0.0/8,!::1 \
             and errno=EADDRINUSE"
        ),
        format!(
            "user!={USER} and lport={TAKEN},!{CLOSED} and family=ipv4 and outcome=ok \
             and comm={begin}*{netns}"
        ),
        format!("dport={CLOSED} and role=client and pid!=1,{root} and cgroup=/{others}"),
    ])
}

/// A bind that the filter hides is told as what a later one meets: by whom, and since when.
pub(super) fn remembers_what_it_hides(source: Source) -> Result<()> {
    if source == Source::Tracepoint {
        return Err(Impossible("it remembers no binds".to_owned()).into());
    }
    let mut watch = portwatch::start(source, &["-x", "--op", "bind"])?;
    let pid = std::process::id();
    sys::in_own_netns(|| {
        let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, TAKEN))?;
        let refused = UdpSocket::bind(holder.local_addr()?);
        ensure!(refused.is_err(), "{refused:?}");
        watch.wait_for(pid, 1)
    })?;
    let stream = watch.stop()?;
    let shown: Vec<_> = stream.of(pid).collect();
    let [failed] = shown[..] else {
        bail!("{shown:?}");
    };
    let cause = failed.cause.as_ref().context("no cause")?;
    let [holder] = &cause.holder[..] else {
        bail!("{cause:?}");
    };
    ensure!(
        holder.bound_by_pid == Some(pid) && holder.since.is_some(),
        "{holder:?}"
    );
    Ok(())
}

/// Many attempts, of which none passes: next to nothing crosses the ring, and nothing is lost.
pub(super) fn leaves_the_rest_in_the_kernel(source: Source) -> Result<()> {
    let filters: &[&[&str]] = match source {
        Source::Fexit | Source::Kprobe => &[
            &["--port", "7001", "--explain=short"],
            &["--pid", "1", "--explain=short"],
            &["--errno", "EPERM", "--no-explain"],
            &["--errno", "EPERM", "--explain=short"],
        ],
        // This source has all attempts of a process sent, or none.
        Source::Tracepoint => &[&["--pid", "1", "--explain=short"]],
    };
    let watches = filters
        .iter()
        .map(|filter| portwatch::start(source, &[&["-v"], *filter].concat()))
        .collect::<Result<Vec<_>>>()?;
    let done = Workload::prepare("storm", Pace::Burst)?.run_watched_by(&mut [])?;
    ensure!(done.total == STORM, "{} attempts were made", done.total);
    for watch in watches {
        let (stream, stderr) = watch.stop_and_tell()?;
        let read = records_read(&stderr)?;
        ensure!(stream.of(done.pid).count() == 0, "some have passed");
        ensure!(stream.lost() == 0, "{:?}", stream.losses);
        ensure!(read < FEW, "{read} records crossed the ring: {stderr:?}");
    }
    Ok(())
}

/// A process that is in none of the wanted trees is found out by an attempt: then those that follow
/// stay in the kernel.
pub(super) fn rules_out_processes(source: Source) -> Result<()> {
    // It has no children.
    let wanted = Workload::prepare("five_binds", Pace::Burst)?;
    let root = wanted.pid().to_string();
    // Whoever sees all of it sets its pace, or there may be no time to find anything out.
    let mut all = portwatch::start(source, &["--no-explain"])?;
    let args = ["-v", "--no-explain", "--ppid-tree", &root];
    let watch = portwatch::start(source, &args)?;
    let done = Workload::prepare("thousand_binds", Pace::Stepwise)?.run(&mut all)?;
    let pid = wanted.run_watched_by(&mut [])?.pid;
    let (stream, stderr) = watch.stop_and_tell()?;
    all.stop()?;
    ensure!(stream.of(done.pid).count() == 0, "some have passed");
    ensure!(stream.of(pid).count() == 5, "some have not passed");
    let read = records_read(&stderr)?;
    ensure!(
        read < THOUSAND / 2,
        "{read} records crossed the ring: {stderr:?}"
    );
    Ok(())
}

/// A cgroup that is not wanted is told once: then its attempts stay in the kernel.
pub(super) fn rules_out_cgroups(source: Source) -> Result<()> {
    own_cgroup().map_err(|error| Impossible(format!("{error:#}")))?;
    let wanted = Workload::prepare("five_binds", Pace::Burst)?;
    // To the end: portwatch is in it too.
    let _cgroup = Cgroup::enter()?;
    let unwanted = Workload::prepare("five_binds", Pace::Burst)?;
    let storm = Workload::prepare("storm", Pace::Burst)?;
    let path = fs::read_to_string(format!("/proc/{}/cgroup", storm.pid()))?;
    let path = path.lines().find_map(|line| line.strip_prefix("0::"));
    let others = format!("!{}", path.context("it is in no cgroup v2")?);
    let mut watch = portwatch::start(source, &["-v", "--no-explain", "--cgroup", &others])?;
    unwanted.run_watched_by(&mut [])?;
    // The ring is read in order: when these are written, those before them were looked at.
    let pid = wanted.pid();
    wanted.run_watched_by(&mut [])?;
    watch.wait_for(pid, 5)?;
    let done = storm.run_watched_by(&mut [])?;
    let (stream, stderr) = watch.stop_and_tell()?;
    let read = records_read(&stderr)?;
    ensure!(stream.of(done.pid).count() == 0, "some have passed");
    ensure!(stream.lost() == 0, "{:?}", stream.losses);
    ensure!(read < FEW, "{read} records crossed the ring: {stderr:?}");
    Ok(())
}

/// As `-v` tells it at the end.
pub(super) fn records_read(stderr: &str) -> Result<u64> {
    let (before, _) = stderr
        .split_once(" records were read")
        .with_context(|| format!("nothing of records in {stderr:?}"))?;
    let number = before.rsplit(' ').next().unwrap_or_default();
    number.parse().with_context(|| format!("in {stderr:?}"))
}
