//! The other side of a test: processes that bind and connect, and say truthfully what they did.
//!
//! Each runs as a process of its own: this binary with [`FLAG`], a name and a pace.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};

mod address;
mod bind;
mod blinding;
mod cause;
mod child;
mod compat;
mod confined;
mod connect;
mod crowd;
mod decided;
mod denied;
mod dweller;
mod family;
mod fastopen;
mod fault;
mod fuse;
mod holders;
mod interrupted;
mod kernels_own;
mod lingering;
mod load;
mod newcomer;
mod other;
mod protocol;
mod recorder;
mod ring;
mod sctp;
mod socket;

pub(crate) use denied::{hide_ipv6, landlock_version, restrict};
use recorder::Recorder;

use super::{compat as compat_calls, driver::Pace};

/// First argument of a workload's process.
pub(crate) const FLAG: &str = "--workload";
/// Name of the one that tries whether there are 32-bit system calls.
pub(crate) const COMPAT_PROBE: &str = "compat-probe";
/// Name of the one that becomes another program.
pub(crate) const CONFINED: &str = "confined";
/// Name of the one that lives in a user namespace of its own.
pub(crate) const DWELLER: &str = "dweller";

/// Name of the one that many processes come from.
pub(crate) const CROWD: &str = "crowd";
/// Name of the one whose children hold ports.
pub(crate) const HOLDERS: &str = "holders";
/// Name of the one that asks for them.
pub(crate) const ASKER: &str = "asker";
/// Name of the one that serves a file which cannot be closed.
pub(crate) const FUSE: &str = "fuse";
/// Name of the one that would have others not seen.
pub(crate) const BLINDING: &str = "blinding";
/// Name of the one whose socket lingers.
pub(crate) const LINGERING: &str = "lingering";
/// Name of the one that runs a program in a process namespace of its own.
pub(crate) const NEWCOMER: &str = "newcomer";
/// Name of the one that has children.
pub(crate) const FAMILY: &str = "family";

/// What the names of those begin with that make causes; a group follows.
pub(crate) const CAUSES: &str = "cause_";

/// So many connects wait at once in `blocked_connects`.
pub(crate) const BLOCKED: usize = 60;
/// So many attempts are made by `thousand_binds`.
pub(crate) const THOUSAND: u64 = 1000;
/// So many attempts are made by `storm`, by so many threads.
pub(crate) const STORM: u64 = STORM_THREADS * STORM_EACH;
const STORM_THREADS: u64 = 4;
const STORM_EACH: u64 = 5000;
/// So many are made by `crowding`, of threads that crowd the CPUs, in rounds.
pub(crate) const CROWDING: u64 = CROWDING_ROUNDS * CROWDING_THREADS * CROWDING_EACH;
const CROWDING_ROUNDS: u64 = 10;
const CROWDING_THREADS: u64 = 6;
const CROWDING_EACH: u64 = 150;
/// So many attempts are made by `great_storm`, by as many threads.
pub(crate) const GREAT_STORM: u64 = 200_000;
/// So many processes bind in `short_lives`.
pub(crate) const SHORT_LIVES: u64 = 5000;
/// In so many network namespaces is a bind made in `many_namespaces`.
pub(crate) const MANY_NAMESPACES: u64 = 2000;
/// So many containers come and go in `containers`.
pub(crate) const CONTAINERS: u64 = 300;
/// The ordinary user's uid.
pub(crate) const USER: u32 = 1000;
/// The ports that `mixture` takes and finds closed, in a network namespace of its own.
pub(crate) const TAKEN: u16 = 7001;
pub(crate) const CLOSED: u16 = 7002;
/// So often do `mixtures` what `mixture` does.
const MIXTURES: usize = 20;
/// The port that `taken` asks for.
pub(crate) const SERVED: u16 = 8080;

pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With a broken stderr there is nobody to tell.
            drop(writeln!(io::stderr(), "{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let name = args
        .next()
        .and_then(|name| name.into_string().ok())
        .context("no workload named")?;
    match name.as_str() {
        CONFINED => return confined::exec(args),
        DWELLER => return dweller::live(args),
        FAMILY => return family::live(args),
        CROWD => return crowd::gather(args),
        HOLDERS => return holders::hold(args),
        ASKER => return holders::ask(),
        FUSE => return fuse::serve(args),
        BLINDING => return blinding::blind(args),
        LINGERING => return lingering::live(args),
        NEWCOMER => return newcomer::run(args),
        COMPAT_PROBE => return compat_calls::probe(),
        _ => {}
    }
    let pace = if args
        .next()
        .is_some_and(|pace| pace == Pace::Stepwise.name())
    {
        Pace::Stepwise
    } else {
        Pace::Burst
    };
    let recorder = Recorder::start(pace)?;
    named(&name, &recorder)
}

fn named(name: &str, recorder: &Recorder) -> Result<()> {
    match name {
        "four_binds" => bind::four_binds_of_an_ordinary_user(recorder),
        "every_protocol" => bind::every_protocol(recorder),
        "bind_errors" => bind::errors(recorder),
        "foreign_family" => bind::foreign_family(recorder),
        "taken" => bind::taken(recorder),
        "reused_descriptor" => bind::reused_descriptor(recorder),
        "connects" => connect::every_outcome(recorder),
        "listen" => connect::listen_unbound(recorder),
        "pending" => connect::pending(recorder),
        "connect_errors" => connect::errors(recorder),
        "blocked_connects" => connect::blocked(recorder),
        "other_families" => other::families(recorder),
        "hostile_names" => other::hostile_names(recorder),
        "five_binds" => load::binds(recorder, 5),
        "thousand_binds" => load::binds(recorder, THOUSAND),
        "storm" => load::storm(recorder, STORM_EACH),
        "crowding" => load::crowding(recorder),
        "storm_on_one_cpu" => load::storm_on_one_cpu(recorder),
        "great_storm" => load::storm(recorder, GREAT_STORM / STORM_THREADS),
        "mixture" => load::mixture(recorder),
        "mixture_of_user" => load::mixture_of_user(recorder),
        "mixtures" => load::mixtures(recorder),
        "mixtures_of_user" => load::mixtures_of_user(recorder),
        "short_lives" => fault::short_lives(recorder),
        "containers" => fault::containers(recorder),
        "many_namespaces" => fault::many_namespaces(recorder),
        "io_uring" => ring::attempts(recorder),
        "io_uring_within" => ring::attempts_within(recorder),
        "compat32" => compat::attempts(recorder),
        "blocked_compat" => compat::blocked(recorder),
        "fastopen" => fastopen::attempts(recorder),
        "decided" => decided::by_state_and_credentials(recorder),
        "landlock" => denied::by_landlock(recorder),
        "cgroup_bpf" => denied::by_cgroup(recorder),
        "seccomp" => denied::by_seccomp(recorder),
        "mptcp" => protocol::mptcp(recorder),
        "sctp" => protocol::sctp(recorder),
        "sctp_options" => sctp::by_options(recorder),
        "kernels_own" => kernels_own::sockets_of_a_device(recorder),
        "killed" => interrupted::by_death(recorder),
        "interrupted" => interrupted::by_a_signal(recorder),
        "restarted" => interrupted::and_restarted(recorder),
        "stopped" => interrupted::by_a_stop(recorder),
        "lasting" => interrupted::not_at_all(recorder),
        other => match other.strip_prefix(CAUSES) {
            Some(group) => cause::make(recorder, group),
            None => bail!("no workload is named {other}"),
        },
    }
}
