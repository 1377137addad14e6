use clap::Parser as _;

use super::*;
use crate::{cli::Cli, event::sample::attempt};

/// A process of this one, in the root of the cgroups, as a source tells it.
fn told() -> Attempt {
    Attempt {
        ppid: Some(std::process::id()),
        cgroup_id: Some(1),
        ..attempt()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Whether it is wanted, and what was looked up for that.
fn wanted(filter: &str) -> (bool, Attempt) {
    let cli = Cli::try_parse_from(["portwatch", "--filter", filter]).unwrap();
    let config = Config::new(&cli.watch, &Users::new()).unwrap();
    let runtime = runtime();
    let _entered = runtime.enter();
    let known = Known::Most { resets: false };
    let surroundings = Surroundings::new(&config, known, None).unwrap();
    let mut stream = Stream::new(&config, known, surroundings, Users::new(), 0);
    let mut attempt = told();
    (stream.is_wanted(&mut attempt), attempt)
}

#[test]
fn what_a_filter_asks_for_is_looked_up_and_nothing_else() {
    assert_eq!(wanted("port=80"), (true, told()));
    let (is_wanted, attempt) = wanted("cgroup=/");
    assert!(is_wanted && attempt.cgroup.is_some() && attempt.ancestors.is_none());
    let grandparent = std::os::unix::process::parent_id();
    let (is_wanted, attempt) = wanted(&format!("ppid-tree={grandparent}"));
    assert!(is_wanted && attempt.cgroup.is_none() && attempt.ancestors.is_some());
}

/// All that becomes of one record, but for the ring and the writing thread.
#[cfg(target_os = "linux")]
fn pass_through(stream: &mut Stream<'_>, raw: &[u8]) {
    use crate::source::decode::{ClockOffset, decode};

    let Ok(Record::Attempt(attempt)) = decode(raw, ClockOffset(1_700_000_000_000_000_000)) else {
        panic!("no attempt");
    };
    stream.records.push_back(Record::Attempt(attempt));
    let Some(Record::Attempt(mut attempt)) = stream.records.pop_front() else {
        panic!("no record");
    };
    stream.pace.note(Some(attempt.tgid));
    stream.surroundings.remember(&attempt);
    assert!(stream.is_wanted(&mut attempt));
    stream.enrich(&mut attempt);
    stream.write_explained(Event::Attempt(attempt)).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn an_attempt_of_a_known_process_takes_no_memory() {
    /// More than the binds that are remembered.
    const WARM_UP: u32 = 5_000;
    let raw = crate::source::decode::sample::own_bind();
    for format in ["json", "text", "logfmt", "csv"] {
        let cli = Cli::try_parse_from(["portwatch", "-o", format, "--no-header"]).unwrap();
        let config = Config::new(&cli.watch, &Users::new()).unwrap();
        let runtime = runtime();
        let _entered = runtime.enter();
        let known = Known::Most { resets: true };
        let surroundings = Surroundings::new(&config, known, None).unwrap();
        let mut stream = Stream::new(&config, known, surroundings, Users::new(), 0);
        for _ in 0..WARM_UP {
            pass_through(&mut stream, &raw);
            stream.lines[0].clear();
        }
        let counted = allocation_counter::measure(|| {
            for _ in 0..1_000 {
                pass_through(&mut stream, &raw);
                assert!(stream.lines[0].starts_with(b"{\"v\":1,") || format != "json");
                stream.lines[0].clear();
            }
        });
        assert_eq!(counted.count_total, 0, "{format}");
        assert_eq!(stream.seq, u64::from(WARM_UP) + 1_000);
    }
}
