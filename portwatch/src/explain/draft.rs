//! A cause while it is being put together.

use super::case::Case;
use crate::{
    errno::Errno,
    event::{Candidate, Cause, Code, Confidence, Fix, Holder, Stages, Unseen},
};

/// Whether a list of causes has all that the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    None,
    Possible,
}

#[derive(Debug)]
pub(super) struct Draft(Cause);

impl Draft {
    pub(super) fn new(code: Code, confidence: Confidence, text: impl Into<String>) -> Self {
        Self(Cause {
            code,
            text: text.into(),
            fixes: Vec::new(),
            confidence,
            evidence: Vec::new(),
            next: Vec::new(),
            holders: Vec::new(),
            holders_unseen: None,
            candidates: Vec::new(),
        })
    }

    /// An error with causes that nothing tells apart, the likeliest first. One alone is the cause.
    pub(super) fn one_of<T: Into<String>>(
        causes: impl IntoIterator<Item = (Code, T)>,
        others: Others,
    ) -> Self {
        let candidate = |(code, text): (Code, T)| Candidate {
            code,
            text: text.into(),
        };
        let candidates: Vec<_> = causes.into_iter().map(candidate).collect();
        let Some((likeliest, rest)) = candidates.split_first() else {
            let text = "portwatch knows of no cause that fits";
            return Self::new(Code::Unexplained, Confidence::Checked, text);
        };
        let code = likeliest.code;
        let rest: Vec<_> = rest.iter().map(|other| other.text.as_str()).collect();
        match (&rest[..], others) {
            ([], Others::None) => Self::new(code, Confidence::Derived, &likeliest.text),
            ([], Others::Possible) => Self::new(code, Confidence::Checked, &likeliest.text),
            (_, others) => {
                let among = match others {
                    Others::None => "",
                    Others::Possible => ", among others",
                };
                let (first, rest) = (&likeliest.text, rest.join("; or "));
                let text = format!(
                    "probably {first}; it could also be{among}: {rest}; this source cannot tell"
                );
                let mut draft = Self::new(code, Confidence::Likely, text);
                draft.0.candidates = candidates;
                draft
            }
        }
    }

    /// What the kernel returned, and from where.
    pub(super) fn unexplained(case: &Case<'_>, errno: Errno) -> Self {
        let place = last_station(&case.attempt.stages).unwrap_or(case.attempt.op.name());
        let text = format!(
            "the kernel returned {errno} from {place}, and portwatch knows of no cause that fits"
        );
        Self::new(Code::Unexplained, Confidence::Observed, text)
    }

    /// A return value that is neither 0 nor an error.
    pub(super) fn no_error(case: &Case<'_>) -> Self {
        let ret = case.attempt.ret.unwrap_or_default();
        let op = case.attempt.op.name();
        let text = format!("{op}() returned {ret}, which is neither 0 nor an error");
        Self::new(Code::Unexplained, Confidence::Observed, text)
    }

    /// A second half of the sentence.
    pub(super) fn also(mut self, text: &str) -> Self {
        self.0.text.push_str("; ");
        self.0.text.push_str(text);
        self
    }

    pub(super) fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.0.evidence.push(evidence.into());
        self
    }

    pub(super) fn next(mut self, next: impl IntoIterator<Item = String>) -> Self {
        self.0.next.extend(next);
        self
    }

    pub(super) fn fix(mut self, fix: Fix) -> Self {
        self.0.fixes.push(fix);
        self
    }

    pub(super) fn fixes(mut self, fixes: impl IntoIterator<Item = Fix>) -> Self {
        self.0.fixes.extend(fixes);
        self
    }

    pub(super) fn holders(mut self, holders: impl IntoIterator<Item = Holder>) -> Self {
        self.0.holders.extend(holders);
        self
    }

    /// There may be more holders than are known.
    pub(super) fn holders_unseen(mut self, why: Option<Unseen>) -> Self {
        self.0.holders_unseen = why;
        self
    }

    /// The cause, with what each station returned as its first evidence.
    pub(super) fn finish(mut self, case: &Case<'_>) -> Cause {
        self.0.evidence.splice(0..0, verdicts(&case.attempt.stages));
        let delay = case
            .delay()
            .filter(|_| matches!(self.0.confidence, Confidence::Checked | Confidence::Likely));
        let looked =
            delay.map(|delay| format!("looked up {} ms after the call began", delay.as_millis()));
        self.0.evidence.extend(looked);
        self.0
    }
}

fn stations(stages: &Stages) -> [(Option<i32>, &'static str); 5] {
    [
        (stages.lsm, "the security modules"),
        (stages.cgroup, "cgroup BPF"),
        (stages.get_port, "the search for a port"),
        (stages.connect, "TCP's connect"),
        (stages.operation, "the protocol"),
    ]
}

fn verdicts(stages: &Stages) -> impl Iterator<Item = String> {
    stations(stages).into_iter().filter_map(|(ret, place)| {
        Some(match Errno::from_ret(ret?) {
            Some(errno) => format!("{place} returned {errno}"),
            None => format!("{place} returned {}", ret?),
        })
    })
}

/// The innermost that failed.
fn last_station(stages: &Stages) -> Option<&'static str> {
    let failed = |ret: Option<i32>| ret.is_some_and(|ret| ret != 0);
    stations(stages)
        .into_iter()
        .find(|&(ret, _)| failed(ret))
        .map(|(_, place)| place)
}
