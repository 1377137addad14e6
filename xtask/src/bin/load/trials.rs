//! The trials, one after the other.

use std::{
    env,
    io::{self, Read as _, Write as _},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use xtask::{
    figures::Call,
    guest::{Legacy, Process, Reader, Tracer},
    trial::{Found, Load, Memory, Order, Outcome, Rest, Trial},
};

use crate::pacer::Pacer;

/// What a word of a tracer's arguments stands for that is the number of this process.
const OWN_PID: &str = "PID";
/// The first rate that is tried.
const FIRST: u64 = 500;
/// How long each is, while the highest is looked for: what rings and buffers hold is little beside it.
const LOOK: Duration = Duration::from_secs(5);
/// How often what lies between a rate that was held and one that was not is halved.
const HALVINGS: u32 = 4;
/// Of a rate that was held for a moment and not for long, what is tried next.
const LESS: (u64, u64) = (4, 5);
/// Lines that may wait in a tracer until there are more, or it ends: 4 KiB of short ones.
const BUFFERED: u64 = 128;
/// A rate counts as made when so many in a hundred were.
const MADE: u64 = 98;

/// Carries out the orders of the command line, and writes what was found, a line each. One whose
/// tracer does not run here is left out.
pub(crate) fn run() -> Result<()> {
    let argument = env::args().nth(1).context("nothing was ordered")?;
    let orders: Vec<Order> = serde_json::from_str(&argument)?;
    let pacer = Pacer::new()?;
    for order in orders {
        match find(&order, &pacer) {
            Ok(found) => {
                let outcome = Outcome { order, found };
                writeln!(io::stderr(), "{}: {found:?}", outcome.order.name)?;
                writeln!(io::stdout(), "{}", serde_json::to_string(&outcome)?)?;
            }
            Err(error) => writeln!(io::stderr(), "{}: {error:#}", order.name)?,
        }
    }
    Ok(())
}

fn find(order: &Order, pacer: &Pacer) -> Result<Found> {
    let trials = Trials { order, pacer };
    match order.trial {
        Trial::Held(time) => trials.held(time).map(Found::Held),
        Trial::Soak(load) => trials.memory(&Call::IN_A_ROW, load, Reader::Counts),
        Trial::Stalled(load) => trials.memory(&[Call::Bind], load, Reader::Stalls),
        Trial::Flood(binds) => trials.flood(binds),
        Trial::Rest(time) => trials.rest(time),
        Trial::Start(times) => trials.starts(times),
    }
}

struct Trials<'a> {
    order: &'a Order,
    pacer: &'a Pacer,
}

impl Trials<'_> {
    fn start(&self, reader: Reader) -> Result<Tracer> {
        let mut tracer = Tracer::start(&self.order.name, &self.argv(), reader)?;
        let ready = tracer.wait_until_ready(|| self.pacer.one());
        let rested = ready.and_then(|()| tracer.come_to_rest());
        if let Err(error) = rested {
            tracer.stop()?;
            return Err(error);
        }
        Ok(tracer)
    }

    fn argv(&self) -> Vec<String> {
        let own = process::id().to_string();
        let words = self.order.argv.iter();
        words
            .map(|word| if word == OWN_PID { &own } else { word }.clone())
            .collect()
    }

    /// The highest rate that a tracer holds for a moment, or less that it holds for long.
    fn held(&self, time: Duration) -> Result<u64> {
        let tracer = self.start(Reader::Counts)?;
        let mut rate = self.highest(&tracer)?;
        tracer.stop()?;
        while !self.is_held(rate, time)? {
            rate = rate * LESS.0 / LESS.1;
            ensure!(rate > 0, "it loses attempts at any rate");
        }
        Ok(rate)
    }

    /// Whether a tracer has told of all when it has ended.
    fn is_held(&self, rate: u64, time: Duration) -> Result<bool> {
        let tracer = self.start(Reader::Counts)?;
        let alone = tracer.process().is_none();
        let before = tracer.lines();
        let made = self.pacer.make(&[Call::Bind], rate, time)?;
        tracer.come_to_rest()?;
        let Legacy { lines, words } = tracer.stop()?;
        let clean = self.order.clean.as_deref();
        let told = lines - before >= made && clean.is_none_or(|clean| words.contains(clean));
        Ok((told || alone) && is_made(made, rate, time))
    }

    /// By doubling, then by halving what lies between.
    fn highest(&self, tracer: &Tracer) -> Result<u64> {
        let (mut held, mut failed) = (0, FIRST);
        while self.seems_held(tracer, failed)? {
            (held, failed) = (failed, failed * 2);
        }
        for _ in 0..HALVINGS {
            let between = held.midpoint(failed);
            if self.seems_held(tracer, between)? {
                held = between;
            } else {
                failed = between;
            }
        }
        Ok(held)
    }

    /// Whether that many are made, and there is a line for each of them, or soon will be.
    fn seems_held(&self, tracer: &Tracer, rate: u64) -> Result<bool> {
        let before = tracer.lines();
        let made = self.pacer.make(&[Call::Bind], rate, LOOK)?;
        tracer.come_to_rest()?;
        let told = tracer.process().is_none() || tracer.lines() - before + BUFFERED >= made;
        Ok(told && is_made(made, rate, LOOK))
    }

    fn memory(&self, kinds: &[Call], load: Load, reader: Reader) -> Result<Found> {
        let Load { rate, time } = load;
        let tracer = self.start(reader)?;
        let process = tracer.process().context("there is no tracer")?;
        process.forget_highest()?;
        let (ready, _) = process.resident()?;
        let first = self.pacer.make(kinds, rate, time / 10)?;
        let (early, _) = process.resident()?;
        let second = self.pacer.make(kinds, rate, time * 9 / 10)?;
        let (end, highest) = process.resident()?;
        tracer.stop()?;
        Ok(Found::Memory(Memory {
            rate: (first + second) / time.as_secs(),
            ready,
            early,
            end,
            highest,
        }))
    }

    fn flood(&self, binds: u64) -> Result<Found> {
        let tracer = self.start(Reader::Counts)?;
        let begun = Instant::now();
        self.pacer.flood(Call::FailedBind, binds)?;
        let took = begun.elapsed();
        tracer.come_to_rest()?;
        let Legacy { words, .. } = tracer.stop()?;
        let rate = u128::from(binds) * 1_000_000 / took.as_micros().max(1);
        Ok(Found::Flood {
            rate: rate.try_into()?,
            lost: lost(&words).context("it does not say what was lost")?,
        })
    }

    fn rest(&self, time: Duration) -> Result<Found> {
        let tracer = self.start(Reader::Counts)?;
        let process = tracer.process().context("there is no tracer")?;
        let before = Self::look(&tracer, process)?;
        thread::sleep(time);
        let after = Self::look(&tracer, process)?;
        tracer.stop()?;
        Ok(Found::Rest(Rest {
            run: after.run.saturating_sub(before.run),
            switches: after.switches - before.switches,
            lines: after.lines - before.lines,
        }))
    }

    fn look(tracer: &Tracer, process: Process) -> Result<Rest> {
        Ok(Rest {
            run: Duration::from_nanos(process.run_time()?),
            switches: process.switches()?,
            lines: tracer.lines(),
        })
    }

    fn starts(&self, times: usize) -> Result<Found> {
        let took = (0..times).map(|_| self.first_line());
        let mut took = took.collect::<Result<Vec<_>>>()?;
        took.sort_unstable();
        Ok(Found::Start {
            median: took[times / 2],
            longest: took[times - 1],
        })
    }

    fn first_line(&self) -> Result<Duration> {
        let argv = self.argv();
        let (program, arguments) = argv.split_first().context("there is no tracer")?;
        let begun = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut output = child.stdout.take().context("no pipe")?;
        let read = output.read(&mut [0; 1])?;
        let took = begun.elapsed();
        ensure!(read > 0, "it ended without a line");
        kill_process(Pid::from_child(&child), Signal::INT)?;
        child.wait()?;
        Ok(took)
    }
}

/// What portwatch's summary says.
fn lost(words: &str) -> Option<u64> {
    let (_, rest) = words.rsplit_once(r#""lost":"#)?;
    let digits = rest
        .find(|it: char| !it.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

fn is_made(made: u64, rate: u64, time: Duration) -> bool {
    made >= rate * time.as_secs() * MADE / 100
}
