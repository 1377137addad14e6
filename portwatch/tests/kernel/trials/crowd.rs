//! Holders of ports on a large and busy machine: each is named, or it is said that it could not be
//! seen. None that lives is told to be gone.

use std::{
    fs,
    io::{self, Write as _},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{
        asked::{Answered, ask, why},
        crowd::{Crowd, Size},
        holders::{Asker, Claim, Holders, IN_FLIGHT, Kind, Tally, falsehood, names},
        portwatch,
        source::{self, Source, is_emulated},
        sys,
        workload::{FLAG, NEWCOMER},
    },
    privilege::PublicCopy,
};

/// So many processes hold ports before portwatch starts, and so many after that.
const PROCESSES: u16 = 5;
/// So many ports each.
const PORTS: u16 = 20;
const FIRST: u16 = 20_000;

/// The crowd is what the others count on: all of it is there at once, and gone at once.
pub(super) fn is_as_large_as_said(_: Source) -> Result<()> {
    let before = open_descriptors()?;
    let size = Size::large();
    let large = Crowd::gather(size)?;
    let asked = size.sleepers as usize * size.descriptors as usize;
    let more = open_descriptors()?.saturating_sub(before);
    ensure!(more >= asked, "{more} descriptors more, not {asked}");
    drop(large);
    let after = open_descriptors()?;
    ensure!(after < before + asked / 2, "{after} of {before} are left");
    let size = Size::busy();
    let _busy = Crowd::gather(size)?;
    let running = running()?;
    ensure!(running >= size.busy as usize, "{running} processes run");
    Ok(())
}

/// Processes that run or wait for a CPU.
fn running() -> Result<usize> {
    let processes = fs::read_dir("/proc")?.flatten();
    let states = processes.filter_map(|it| fs::read_to_string(it.path().join("status")).ok());
    Ok(states.filter(|it| it.contains("State:\tR")).count())
}

/// Of every process.
fn open_descriptors() -> Result<usize> {
    let processes = fs::read_dir("/proc")?.flatten();
    // Some end meanwhile, and many are no processes.
    let tables = processes.filter_map(|process| fs::read_dir(process.path().join("fd")).ok());
    Ok(tables.map(Iterator::count).sum())
}

/// One after the other, and as many at once; half of the holders are older than portwatch.
pub(super) fn names_holders(source: Source) -> Result<()> {
    let _large = Crowd::gather(Size::large())?;
    let usual = |first| Kind::Usual {
        processes: PROCESSES,
        ports: PORTS,
        first,
    };
    let older = sys::in_own_netns(|| Holders::settle(usual(FIRST)))?;
    let mut portwatch = portwatch::start(source, &[])?;
    // Only now: what the kernel verifies at the start is not what is tried here.
    let _busy = Crowd::gather(Size::busy())?;
    let (younger, mut one, mut other) = sys::in_netns_of(older.pid(), || {
        let younger = Holders::settle(usual(FIRST + PROCESSES * PORTS))?;
        Ok((younger, Asker::start()?, Asker::start()?))
    })?;
    let claims = older.claims.iter().chain(&younger.claims);
    let (in_a_row, at_once) = halves(claims.cloned());
    for (place, claim) in in_a_row.iter().enumerate() {
        one.ask(std::slice::from_ref(claim))?;
        portwatch.wait_for(one.pid(), place + 1)?;
    }
    other.ask(&at_once)?;
    portwatch.wait_for(other.pid(), at_once.len())?;
    let stream = portwatch.stop()?;
    let in_a_row = Tally::of(&one, &stream)?;
    let at_once = Tally::of(&other, &stream)?;
    writeln!(
        io::stderr(),
        "{}: of 100 in a row {} name the holder, of 100 at once {}",
        source.name(),
        in_a_row.right,
        at_once.right
    )?;
    in_a_row.check()?;
    at_once.check()
}

/// Every second one of both.
fn halves(claims: impl Iterator<Item = Claim>) -> (Vec<Claim>, Vec<Claim>) {
    let (first, second): (Vec<_>, Vec<_>) =
        claims.enumerate().partition(|(place, _)| place % 2 == 0);
    let of = |half: Vec<(usize, Claim)>| half.into_iter().map(|(_, claim)| claim).collect();
    (of(first), of(second))
}

/// Those that are not where everybody looks, older and younger than portwatch.
pub(super) fn names_odd_holders(source: Source) -> Result<()> {
    let older = Holders::settle(Kind::Odd)?;
    let mut portwatch = portwatch::start(source, &[])?;
    let younger = Holders::settle(Kind::Odd)?;
    let (mut of_older, mut of_younger) = (Asker::start()?, Asker::start()?);
    for (asker, holders) in [(&mut of_older, &older), (&mut of_younger, &younger)] {
        asker.ask(&holders.claims)?;
        portwatch.wait_for(asker.pid(), holders.claims.len())?;
    }
    let stream = portwatch.stop()?;
    let mut tally = Tally::default();
    for (asker, was_seen) in [(&of_older, false), (&of_younger, true)] {
        for (claim, cause) in asker.reported(&stream)? {
            if claim.how != IN_FLIGHT {
                tally.take(claim, cause);
                continue;
            }
            // Nobody finds it. Who bound it is known, if that was seen.
            let said = cause.map_or("", |cause| &cause.text);
            let false_words = falsehood(claim, cause);
            ensure!(false_words.is_none(), "{claim:?}: {said}");
            // Tracepoints tell of no socket, and its descriptor is closed when it is looked at.
            let may_be_known = was_seen && source != Source::Tracepoint;
            ensure!(
                !may_be_known || said.contains(&format!("pid {}", claim.pid)),
                "{claim:?}: {said}"
            );
        }
    }
    tally.check()
}

/// A process that holds the port itself: another socket of its own is no reason to end it.
pub(super) fn names_the_caller_itself(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    let mut asker = sys::in_own_netns(Asker::start)?;
    let address = "127.0.0.1:7001".parse()?;
    for udp in [false, true] {
        let wish = vec![(udp, address), (udp, address)];
        let granted = asker.wish(&wish)?;
        let rets: Vec<i32> = granted.into_iter().map(|(_, ret)| ret).collect();
        ensure!(rets == [0, -libc::EADDRINUSE], "{rets:?}");
    }
    let pid = asker.pid();
    portwatch.wait_for(pid, 4)?;
    let stream = portwatch.stop()?;
    let failed = stream.of(pid).filter(|attempt| attempt.ret != Some(0));
    for attempt in failed {
        let cause = attempt.cause.as_ref();
        ensure!(names(cause, pid), "{cause:?}");
        let Some(cause) = cause else { continue };
        let mut commands = cause.fix.iter().filter_map(|fix| fix.command.as_ref());
        let ends_it = commands.any(|command| command.contains("kill"));
        ensure!(cause.text.contains("itself") && !ends_it, "{cause:?}");
    }
    Ok(())
}

/// `portwatch why` on such a machine: as root it names the holder, and does not take long.
pub(super) fn why_names_holders(_: Source) -> Result<()> {
    const MOST: Duration = Duration::from_millis(300);
    let _large = Crowd::gather(Size::large())?;
    let _busy = Crowd::gather(Size::busy())?;
    sys::in_own_netns(|| {
        let holders = Holders::settle(Kind::Usual {
            processes: 4,
            ports: 5,
            first: FIRST,
        })?;
        let mut tally = Tally::default();
        let mut longest = Duration::ZERO;
        for claim in &holders.claims {
            let answered = why(claim.udp, claim.asked)?;
            tally.take(claim, Some(&answered.cause));
            longest = longest.max(answered.took);
        }
        writeln!(
            io::stderr(),
            "why: {} of {} name the holder, in {longest:?} of CPU time at most",
            tally.right,
            holders.claims.len()
        )?;
        tally.check()?;
        // An emulated CPU says nothing about time.
        ensure!(is_emulated() || longest < MOST, "it took {longest:?}");
        Ok(())
    })
}

/// Those who may not look at root's processes are told so, and how they may.
pub(super) fn why_says_that_it_may_not_look(_: Source) -> Result<()> {
    let portwatch = PublicCopy::new()?;
    let holders = Holders::settle(Kind::Odd)?;
    for claim in &holders.claims {
        let command = portwatch.without_privileges()?;
        let answered = ask(command, claim.udp, claim.asked)?;
        is_not_seen(claim, &answered)?;
        let Answered { cause, text, .. } = answered;
        let holder = cause.holder.first().context("no holder")?;
        ensure!(holder.uid == Some(0), "{text}");
        let mut commands = cause.fix.iter().filter_map(|fix| fix.command.as_ref());
        ensure!(commands.any(|it| it.starts_with("sudo ")), "{text}");
    }
    Ok(())
}

/// That nobody holds a port is told to those who may not look into processes only where the kernel's tables
/// show every socket: before 6.8 they do not show those that are bound and idle.
pub(super) fn why_knows_of_a_free_port(_: Source) -> Result<()> {
    let portwatch = PublicCopy::new()?;
    let mut command = portwatch.without_privileges()?;
    let output = command.args(["why", "127.0.0.1:1"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("in use"));
    let line = line.with_context(|| text.clone().into_owned())?;
    let shows_all = !sys::is_before(6, 8)?;
    ensure!(line.contains("nobody has it") == shows_all, "{text}");
    ensure!(line.contains("were not seen") != shows_all, "{text}");
    Ok(())
}

/// In another process namespace nothing is seen of the holder, and that is what is said.
pub(super) fn why_says_that_it_sees_only_a_namespace(_: Source) -> Result<()> {
    let holders = Holders::settle(Kind::Odd)?;
    for claim in &holders.claims {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([FLAG, NEWCOMER]).arg(source::binary()?);
        is_not_seen(claim, &ask(command, claim.udp, claim.asked)?)?;
    }
    Ok(())
}

/// That there is a holder is said, and not who; nor that there is none.
fn is_not_seen(claim: &Claim, answered: &Answered) -> Result<()> {
    let Answered { cause, text, .. } = answered;
    let false_words = falsehood(claim, Some(cause));
    ensure!(false_words.is_none(), "{false_words:?}");
    let holder = cause.holder.first().context("no holder")?;
    ensure!(holder.pid.is_none(), "{text}");
    Ok(())
}
