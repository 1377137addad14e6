//! The tables.

use std::{fmt::Write as _, time::Duration};

use xtask::trial::{Found, Load, Memory, Outcome, Rest, Trial};

/// A table: what its rows are of, its columns, and the cells of an outcome that belongs into it.
struct Table {
    title: &'static str,
    columns: &'static [&'static str],
    cells: fn(&Outcome) -> Option<Vec<String>>,
}

const TABLES: [Table; 5] = [
    Table {
        title: "Binds a second, held for so long with nothing lost",
        columns: &["a second", "for"],
        cells: held,
    },
    Table {
        title: "Resident memory, in KiB",
        columns: &[
            "output",
            "a second",
            "for",
            "ready",
            "after a tenth",
            "at the end",
            "highest",
        ],
        cells: memory,
    },
    Table {
        title: "Of binds that fail, as fast as the machine makes them",
        columns: &["binds", "a second", "lost"],
        cells: flood,
    },
    Table {
        title: "At rest",
        columns: &["for", "its threads ran", "switches", "lines"],
        cells: rest,
    },
    Table {
        title: "From the start of the process to its first line",
        columns: &["times", "median", "longest"],
        cells: start,
    },
];

/// What it was measured on, in a sentence.
pub(super) fn hardware(here: bool) -> &'static str {
    if here {
        "On the machine at hand."
    } else {
        "In a VM of 2 CPUs under QEMU's TCG."
    }
}

/// A table for each kind of trial.
pub(super) fn tables(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for Table {
        title,
        columns,
        cells,
    } in TABLES
    {
        let rows: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| Some((&outcome.order.name, cells(outcome)?)))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{title}:\n\n| | {} |", columns.join(" | "));
        let _ = writeln!(text, "|---|{}", "--:|".repeat(columns.len()));
        for (name, cells) in rows {
            let _ = writeln!(text, "| `{name}` | {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

fn held(outcome: &Outcome) -> Option<Vec<String>> {
    match (outcome.order.trial, outcome.found) {
        (Trial::Held(time), Found::Held(rate)) => Some(vec![rate.to_string(), shown(time)]),
        _ => None,
    }
}

fn memory(outcome: &Outcome) -> Option<Vec<String>> {
    let (output, Load { time, .. }) = match outcome.order.trial {
        Trial::Soak(load) => ("read", load),
        Trial::Stalled(load) => ("not read", load),
        _ => return None,
    };
    let Found::Memory(Memory {
        rate,
        ready,
        early,
        end,
        highest,
    }) = outcome.found
    else {
        return None;
    };
    let numbers = [ready, early, end, highest].map(|it| it.to_string());
    let first = [output.to_owned(), rate.to_string(), shown(time)];
    Some(first.into_iter().chain(numbers).collect())
}

fn flood(outcome: &Outcome) -> Option<Vec<String>> {
    match (outcome.order.trial, outcome.found) {
        (Trial::Flood(binds), Found::Flood { rate, lost }) => {
            Some([binds, rate, lost].map(|it| it.to_string()).into())
        }
        _ => None,
    }
}

fn rest(outcome: &Outcome) -> Option<Vec<String>> {
    match (outcome.order.trial, outcome.found) {
        (
            Trial::Rest(time),
            Found::Rest(Rest {
                run,
                switches,
                lines,
            }),
        ) => Some(vec![
            shown(time),
            format!("{} µs", run.as_micros()),
            switches.to_string(),
            lines.to_string(),
        ]),
        _ => None,
    }
}

fn start(outcome: &Outcome) -> Option<Vec<String>> {
    let millis = |it: Duration| format!("{} ms", it.as_millis());
    match (outcome.order.trial, outcome.found) {
        (Trial::Start(times), Found::Start { median, longest }) => {
            Some(vec![times.to_string(), millis(median), millis(longest)])
        }
        _ => None,
    }
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        secs if secs % 60 == 0 && secs > 60 => format!("{} min", secs / 60),
        secs => format!("{secs} s"),
    }
}

#[cfg(test)]
mod tests {
    use xtask::trial::Order;

    use super::*;

    fn outcome(trial: Trial, found: Found) -> Outcome {
        let order = Order {
            name: "it".to_owned(),
            argv: Vec::new(),
            clean: None,
            trial,
        };
        Outcome { order, found }
    }

    #[test]
    fn each_kind_of_trial_has_its_table() {
        let held = outcome(Trial::Held(Duration::from_secs(30)), Found::Held(7000));
        let minutes = Trial::Soak(Load {
            rate: 9,
            time: Duration::from_mins(20),
        });
        let memory = Found::Memory(Memory {
            rate: 8,
            ready: 1,
            early: 2,
            end: 3,
            highest: 4,
        });
        let text = tables(&[held, outcome(minutes, memory)]);
        assert!(text.contains("| `it` | 7000 | 30 s |\n"), "{text}");
        assert!(
            text.contains("| `it` | read | 8 | 20 min | 1 | 2 | 3 | 4 |\n"),
            "{text}"
        );
        assert_eq!(text.matches("|---|").count(), 2, "{text}");
    }
}
