//! Each filter alone, and mixtures of them at random: what is shown is what the filter shows in user
//! space, and of the rest nothing has crossed the ring.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::PathBuf,
    process::Command,
};

use ::portwatch::{cli::Cli, config::Config, users::Users};
use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Parser as _;
use proptest::{
    prelude::*, sample::subsequence, strategy::ValueTree as _, test_runner::TestRunner,
};
use tempfile::TempDir;

use super::{
    super::{
        cgroup_bpf::own_cgroup,
        driver::{Pace, Workload},
        portwatch::{self, Portwatch},
        source::Source,
        stream::Stream,
        truth::Op,
        workload::{CLOSED, TAKEN, USER},
    },
    kernel_filter::{filtered, records_read, sorted},
};

/// Few, since each takes long to load; every run has others.
const MIXTURES: usize = 2;

/// A test, and when the kernel's side can tell.
#[derive(Clone, Debug)]
struct Test {
    text: String,
    decided: Decided,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Decided {
    /// Before a connect's end is waited for
    AtOnce,
    /// When the call returns: the end of a connect is on its way already
    AtReturn,
    /// By the socket, which not every call gets to
    OfSocket,
    /// When userspace has looked at the caller's first attempt
    Later,
}

pub(super) fn of_callers(source: Source) -> Result<()> {
    let place = Place::new()?;
    let workloads = [mixtures_of("mixtures")?, place.prepare("mixtures_of_user")?];
    let root = workloads[0].pid();
    let own = fs::metadata("/proc/self/ns/net")?.ino();
    let mut tests = vec![
        Test::new(Decided::AtOnce, format!("pid={root}")),
        Test::new(Decided::AtOnce, format!("user={USER}")),
        Test::new(Decided::AtOnce, format!("comm={COMM}")),
        Test::new(Decided::OfSocket, format!("netns={own}")),
        Test::new(Decided::Later, format!("ppid-tree={root}")),
    ];
    if place.cgroup.is_some() {
        let paths = [
            format!("cgroup!={}", path_of(root)?),
            format!("container={}", &ID[..12]),
            "unit=docker-*".to_owned(),
        ];
        tests.extend(paths.map(|text| Test::new(Decided::Later, text)));
    }
    watched(source, workloads, tests)
}

pub(super) fn of_calls(source: Source) -> Result<()> {
    let workloads = [mixtures_of("mixtures")?, mixtures_of("mixtures_of_user")?];
    let tests = vec![
        Test::new(Decided::AtOnce, format!("port={TAKEN}")),
        Test::new(Decided::OfSocket, format!("lport={TAKEN}")),
        Test::new(Decided::AtOnce, format!("dport={CLOSED}")),
        Test::new(Decided::AtOnce, "addr=::1"),
        Test::new(Decided::AtOnce, "family=ipv6"),
        Test::new(Decided::OfSocket, "proto=udp"),
        Test::new(Decided::AtOnce, "op=bind"),
        Test::new(Decided::AtOnce, "role=client"),
        Test::new(Decided::AtReturn, "outcome=failed"),
        Test::new(Decided::AtReturn, "errno=ECONNREFUSED"),
    ];
    watched(source, workloads, tests)
}

fn mixtures_of(workload: &str) -> Result<Workload> {
    Workload::prepare(workload, Pace::Burst)
}

/// All of them watch at once, beside one that sees everything.
fn watched(source: Source, workloads: [Workload; 2], mut tests: Vec<Test>) -> Result<()> {
    let pids = [workloads[0].pid(), workloads[1].pid()];
    if source == Source::Tracepoint {
        // Each watch looks at sockets for itself, after the call, when they may be gone.
        tests.retain(|test| test.decided != Decided::OfSocket);
    }
    let mixtures = mixtures(&tests)?;
    let tests = match source {
        Source::Fexit | Source::Tracepoint => [tests, mixtures].concat(),
        // Its programs take as long to load, and decide by the same code.
        Source::Kprobe => mixtures,
    };
    // The first, so that it sees what the others try their hooks with.
    let all = portwatch::start(source, &[])?;
    let watches: Vec<(Test, Portwatch)> = tests
        .into_iter()
        .map(|test| {
            let args = ["-v", "--no-explain", "--filter", &test.text];
            let watch = portwatch::start(source, &args)?;
            Ok((test, watch))
        })
        .collect::<Result<_>>()?;
    for workload in workloads {
        workload.run_watched_by(&mut [])?;
    }
    let all = all.stop()?;
    for (test, watch) in watches {
        let (seen, stderr) = watch.stop_and_tell()?;
        let [shown, expected] = [&seen, &filtered(&all, &test.text)?].map(|it| sorted(it, pids));
        ensure!(
            shown == expected,
            "{test:?} shows\n{shown:#?}\nwhere all, filtered, is\n{expected:#?}"
        );
        if source != Source::Tracepoint {
            test.check_ring(&seen, &all, records_read(&stderr)?)?;
        }
    }
    Ok(())
}

impl Test {
    fn new(decided: Decided, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, decided }
    }

    /// Each record that was read was shown, is how a connect ended that was still followed, or says
    /// nothing of the socket that is asked for. And there was more than that.
    fn check_ring(&self, seen: &Stream, all: &Stream, read: u64) -> Result<()> {
        let may_cross = match self.decided {
            Decided::AtOnce => connects(seen),
            Decided::AtReturn => connects(all),
            Decided::OfSocket => connects(all) + without_socket(all),
            Decided::Later => return Ok(()),
        };
        let (shown, total) = (seen.attempts.len(), all.attempts.len());
        let most = shown + may_cross;
        ensure!(
            read <= u64::try_from(most)?,
            "{self:?}: {read} records crossed the ring for {shown} attempts and {may_cross} more"
        );
        ensure!(most < total, "{self:?}: {most} of {total} prove nothing");
        Ok(())
    }
}

fn connects(stream: &Stream) -> usize {
    let attempts = stream.attempts.iter();
    attempts.filter(|attempt| attempt.op == Op::Connect).count()
}

fn without_socket(stream: &Stream) -> usize {
    let attempts = stream.attempts.iter();
    attempts.filter(|attempt| attempt.proto.is_none()).count()
}

/// Some of the tests that must all hold, or not hold.
fn mixtures(tests: &[Test]) -> Result<Vec<Test>> {
    let mixture = subsequence(tests.to_vec(), 2..=4)
        .prop_flat_map(|tests| tests.into_iter().map(perhaps_negated).collect::<Vec<_>>())
        .prop_map(|tests| Test {
            text: tests
                .iter()
                .map(|test| &*test.text)
                .collect::<Vec<_>>()
                .join(" and "),
            // How much crosses depends on which of them decides.
            decided: Decided::Later,
        })
        .prop_filter("no attempt can pass it", |test| is_possible(&test.text));
    let mut runner = TestRunner::default();
    let new = |_| {
        let tree = mixture
            .new_tree(&mut runner)
            .map_err(|reason| anyhow!("{reason}"))?;
        Ok(tree.current())
    };
    (0..MIXTURES).map(new).collect()
}

/// Tests that exclude each other are refused at the start.
fn is_possible(filter: &str) -> bool {
    let cli = Cli::try_parse_from(["portwatch", "--filter", filter]);
    cli.is_ok_and(|cli| Config::new(&cli.watch, &Users::new()).is_ok())
}

fn perhaps_negated(test: Test) -> impl Strategy<Value = Test> {
    any::<bool>().prop_map(move |not| Test {
        text: format!("{}{}", if not { "not " } else { "" }, test.text),
        ..test.clone()
    })
}

/// In the v2 tree.
fn path_of(pid: u32) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(str::to_owned).context("it is in no cgroup v2")
}

/// Another command name than the other workload's.
const COMM: &str = "mixed";
const ID: &str = "5ca1ab1e0ddba115eed5facade0ff1ce5ca1ab1e0ddba115eed5facade0ff1ce";

/// Where a workload has a name of its own and, where there is a v2 tree, a cgroup as docker has one made
/// for a container; gone when dropped.
struct Place {
    directory: TempDir,
    cgroup: Option<PathBuf>,
}

impl Place {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        symlink(std::env::current_exe()?, directory.path().join(COMM))?;
        let cgroup = own_cgroup()
            .ok()
            .map(|own| own.join(format!("docker-{ID}.scope")));
        let cgroup = cgroup.filter(|path| fs::create_dir(path).is_ok());
        Ok(Self { directory, cgroup })
    }

    /// A workload that is there from its first moment.
    fn prepare(&self, workload: &str) -> Result<Workload> {
        const SCRIPT: &str = r#"echo $$ > "$0" && program=$1 && shift 2 && exec "$program" "$@""#;
        let mut runner = Command::new("sh");
        let procs = self.cgroup.as_ref().map(|path| path.join("cgroup.procs"));
        runner
            .args(["-c", SCRIPT])
            .arg(procs.unwrap_or("/dev/null".into()));
        runner.arg(self.directory.path().join(COMM));
        Workload::prepare_under(runner, workload, Pace::Burst)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What fails here leaves an empty cgroup behind, and a test that went well went well.
        drop(self.cgroup.as_ref().map(fs::remove_dir));
    }
}
