//! The causes: for each a situation that has it, and what each source must say of it.
//!
//! The workloads make the situations (workload/cause/), the trials compare (trials/cause.rs), and
//! docs/CAUSES.md shows the rows (../cli/causes.rs).

use portwatch::event::{Code, Confidence, Op};

// Two test programs have this module, by different paths.
#[path = "cause/answer.rs"]
mod answer;
#[path = "cause/bind.rs"]
mod bind;
#[path = "cause/call.rs"]
mod call;
#[path = "cause/connect.rs"]
mod connect;
#[path = "cause/port.rs"]
mod port;

/// An attempt in a situation that was made for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The situation, in a few words
    pub(crate) case: &'static str,
    pub(crate) op: Op,
    /// 0, or the negative errno of the kernel's function
    pub(crate) ret: i32,
    /// By source: fexit, kprobe, tracepoint
    pub(crate) answers: [Answer; 3],
    /// Where it can be made; `None` is everywhere
    pub(crate) since: Option<Since>,
}

/// The first version of Linux that has what it takes, and what that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) what: &'static str,
}

/// What a source says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Says(Code, Confidence),
    /// Shows it without a cause: nothing about it needs one
    Silent,
    /// Does not show it
    Unseen,
}

/// The rows by the trial that makes them.
pub(crate) const GROUPS: [(&str, &[Row]); 9] = [
    ("call", call::CALLS),
    ("denial", call::DENIALS),
    ("address", bind::ADDRESSES),
    ("privilege", bind::PRIVILEGES),
    ("port", port::PORTS),
    ("state", connect::STATES),
    ("route", connect::ROUTES),
    ("answer", answer::ANSWERS),
    ("end", answer::ENDS),
];

impl Row {
    /// All sources say the same.
    const fn new(case: &'static str, op: Op, ret: i32, code: Code, confidence: Confidence) -> Self {
        Self {
            case,
            op,
            ret,
            answers: [Answer::Says(code, confidence); 3],
            since: None,
        }
    }

    /// All that differs between the sources is how sure they are.
    const fn sure(self, fexit: Confidence, kprobe: Confidence, tracepoint: Confidence) -> Self {
        let [Answer::Says(code, _), ..] = self.answers else {
            return self;
        };
        self.answered([
            Answer::Says(code, fexit),
            Answer::Says(code, kprobe),
            Answer::Says(code, tracepoint),
        ])
    }

    /// The source that does not see where it was refused says this.
    const fn otherwise(self, code: Code, confidence: Confidence) -> Self {
        self.tracepoint(Answer::Says(code, confidence))
    }

    /// An ordinary success: no cause.
    const fn silent(case: &'static str, op: Op) -> Self {
        Self {
            case,
            op,
            ret: 0,
            answers: [Answer::Silent; 3],
            since: None,
        }
    }

    /// The other sources than fexit answer like this.
    const fn else_all(self, answer: Answer) -> Self {
        let [fexit, ..] = self.answers;
        self.answered([fexit, answer, answer])
    }

    /// The source that sees least answers like this.
    const fn tracepoint(self, answer: Answer) -> Self {
        let [fexit, kprobe, _] = self.answers;
        self.answered([fexit, kprobe, answer])
    }

    const fn answered(self, answers: [Answer; 3]) -> Self {
        Self { answers, ..self }
    }

    const fn since(self, since: Since) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }

    const fn since_on_aarch64(self, since: Since) -> Self {
        if cfg!(target_arch = "aarch64") {
            self.since(since)
        } else {
            self
        }
    }
}
