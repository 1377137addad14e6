//! How long each trial took: where the time of a whole run goes.

use std::{
    io,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};

/// Trials that are listed at the end.
const LISTED: usize = 20;

static TAKEN: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// A trial that can turn out to be impossible here; its time is taken.
pub(crate) fn trial(
    name: String,
    run: impl FnOnce() -> Result<Completion> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name.clone(), move || {
        let begun = Instant::now();
        let result = run();
        let mut taken = TAKEN.lock().map_err(|_| "a trial panicked")?;
        taken.push((begun.elapsed(), name));
        result.map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// Lists those that took longest, the slowest first.
pub(crate) fn print_slowest() {
    let mut taken = TAKEN.lock().map(|taken| taken.clone()).unwrap_or_default();
    if taken.len() > LISTED {
        taken.sort_unstable_by(|one, other| other.cmp(one));
        // Nobody may be there to read it.
        drop(write_slowest(&taken, &mut io::stdout().lock()));
    }
}

fn write_slowest(taken: &[(Duration, String)], to: &mut impl io::Write) -> io::Result<()> {
    let all: Duration = taken.iter().map(|(time, _)| time).sum();
    writeln!(to, "\nthe slowest of {} trials:", taken.len())?;
    for (time, name) in taken.iter().take(LISTED) {
        writeln!(to, "{:>7.1} s  {name}", time.as_secs_f64())?;
    }
    writeln!(to, "{:>7.1} s  all", all.as_secs_f64())
}
