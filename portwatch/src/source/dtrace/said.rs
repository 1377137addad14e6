//! What dtrace says on standard error: losses, faults, and why it does not run.

use crate::{
    event::{LossReason, Place},
    source::record::LossCount,
};

/// Remembered for the message of its end; a clause that faults at every call must not fill the
/// memory.
const KEPT: usize = 16;

/// Everything that was said, as far as it decides something.
#[derive(Debug, Default)]
pub(super) struct Said {
    losses: Vec<LossCount>,
    needs_root: bool,
    no_probes: bool,
    /// Lines that are none of these
    rest: Vec<String>,
}

impl Said {
    /// Takes note of one line.
    pub(super) fn take(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        let says = |words: &str| line.contains(words);
        if let Some(loss) = loss(line) {
            self.losses.push(loss);
        } else if says("requires additional privileges") {
            self.needs_root = true;
        } else if says("does not match any probes") {
            self.no_probes = true;
            self.keep(line);
        } else if !line.is_empty() && !says("error on enabled probe") && !says("error in dt_clause")
        {
            self.keep(line);
        }
    }

    fn keep(&mut self, line: &str) {
        log::info!("dtrace: {line}");
        if self.rest.len() < KEPT {
            self.rest.push(line.to_owned());
        }
    }

    /// Root is missing.
    pub(super) const fn needs_root(&self) -> bool {
        self.needs_root
    }

    /// The system calls cannot be traced.
    pub(super) const fn no_probes(&self) -> bool {
        self.no_probes
    }

    /// The rest in one line.
    pub(super) fn words(&self) -> Option<String> {
        (!self.rest.is_empty()).then(|| self.rest.join("; "))
    }

    pub(super) const fn has_losses(&self) -> bool {
        !self.losses.is_empty()
    }

    pub(super) fn take_losses(&mut self) -> Vec<LossCount> {
        std::mem::take(&mut self.losses)
    }
}

/// `dtrace: 5 drops on CPU 1`, `dtrace: 7 dynamic variable drops with non-empty dirty list`
/// (`dt_handle_*` in libdtrace's dt_handle.c).
fn loss(line: &str) -> Option<LossCount> {
    let text = line.strip_prefix("dtrace: ")?;
    // With `-x droptags`.
    let text = match text.strip_prefix('[') {
        Some(tagged) => tagged.split_once("] ")?.1,
        None => text,
    };
    let (count, what) = text.split_once(' ')?;
    let count = count.parse().ok()?;
    let on_cpu = what
        .strip_prefix("drops on CPU ")
        .or_else(|| what.strip_prefix("drop on CPU "));
    if let Some(cpu) = on_cpu {
        return Some(LossCount {
            reason: LossReason::RingFull,
            place: Place::Cpu(cpu.trim().parse().ok()?),
            count,
        });
    }
    what.starts_with("dynamic variable drop")
        .then(|| LossCount {
            reason: LossReason::InflightFull,
            place: Place::Hook("dtrace".into()),
            count,
        })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn said(lines: &[&str]) -> Said {
        let mut said = Said::default();
        for line in lines {
            said.take(line.as_bytes());
        }
        said
    }

    #[test]
    fn drops_are_losses() {
        let losses = said(&[
            "dtrace: 5 drops on CPU 1",
            "dtrace: 1 drop on CPU 0",
            "dtrace: [DTRACEDROP_PRINCIPAL] 3 drops on CPU 2",
            "dtrace: 7 dynamic variable drops with non-empty dirty list",
            "dtrace: 2 dynamic variable drops",
        ])
        .take_losses();
        let shown: Vec<_> = losses
            .iter()
            .map(|loss| format!("{} {} {}", loss.count, loss.reason.name(), loss.place))
            .collect();
        assert_eq!(
            shown,
            [
                "5 ring_full cpu 1",
                "1 ring_full cpu 0",
                "3 ring_full cpu 2",
                "7 inflight_full dtrace",
                "2 inflight_full dtrace"
            ]
        );
    }

    #[test]
    fn each_reason_not_to_run_is_known() {
        let root =
            said(&["dtrace: failed to initialize dtrace: DTrace requires additional privileges"]);
        assert!(root.needs_root() && !root.no_probes());
        let probes = said(&[
            "dtrace: system integrity protection is on, some features will not be available",
            "dtrace: failed to compile script /dev/stdin: line 55: probe description syscall::bind:entry does not match any probes. System Integrity Protection is on",
        ]);
        assert!(probes.no_probes() && probes.words().unwrap().contains("line 55"));
    }

    #[test]
    fn a_pointer_that_cannot_be_read_is_no_news() {
        let live = include_str!("tests/linux-stderr.txt");
        let protected = "dtrace: error on enabled probe ID 4 (ID 512: syscall::bind:entry): invalid kernel access in action #2 at DIF offset 44";
        let said = said(&live.lines().chain([protected]).collect::<Vec<_>>());
        assert!(!said.has_losses() && said.words().is_none());
    }

    #[test]
    fn little_is_kept_of_much() {
        let said = said(&["dtrace: something new"; 1000]);
        assert!(said.words().unwrap().len() < 1000);
    }

    proptest! {
        #[test]
        fn anything_may_be_said(line in vec(any::<u8>(), 0..200), words in "dtrace: [0-9\\[\\] a-z]{0,60}") {
            let mut said = Said::default();
            said.take(&line);
            said.take(words.as_bytes());
        }
    }
}
