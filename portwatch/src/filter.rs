//! Which attempts are wanted: one form for options and expressions, applied without I/O and
//! without an allocation.
//!
//! docs/FILTERS.md has the fields and what their combination means. What stands here is the whole
//! filter. A kernel side may leave out what fails one of [`Filter::required`]: that only spares
//! the way here.

mod contradiction;
mod expr;
mod field;
mod glob;
mod parse;
mod pinned;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, sync::Arc};

pub use self::{
    contradiction::{Contradiction, Limit, PID_LIMIT},
    expr::{Expr, Test},
    field::{Field, Role, Span, Value},
    glob::Glob,
    parse::Error,
    pinned::Pinned,
};
use crate::{
    errno::Errno,
    event::{Attempt, Cgroup, End, Outcome},
};

/// What the user asked for. An empty filter lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// All of them must hold; none of them is an `Expr::All`
    terms: Vec<Expr>,
}

/// How far an attempt has come: what its outcome and its error are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoFar {
    /// The call has returned, and that is all there is to know
    Returned,
    /// The call has returned, and its end is to come
    Open,
    Ended(End),
}

impl SoFar {
    fn outcome(self, attempt: &Attempt) -> Outcome {
        match self {
            Self::Returned | Self::Open => attempt.outcome(),
            Self::Ended(end) => end.outcome(),
        }
    }

    fn errno(self, attempt: &Attempt) -> Option<Errno> {
        match self {
            Self::Returned | Self::Open => attempt.errno(),
            Self::Ended(end) => attempt.system.errno(end.ret()?),
        }
    }
}

/// What has to be looked up before a filter can be applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `Attempt::cgroup`
    pub cgroup: bool,
    /// `Attempt::ancestors`
    pub ancestors: bool,
}

impl Needs {
    pub const ALL: Self = Self {
        cgroup: true,
        ancestors: true,
    };
}

/// What a path in the cgroup tree tells.
const OF_CGROUP: [Field; 3] = [Field::Cgroup, Field::Container, Field::Unit];

/// Finds what a user gives by name.
pub trait Names {
    fn user(&self, name: &str) -> Option<u32>;
    /// The inode of a network namespace, or what is wrong.
    fn netns(&self, name: &str) -> Result<u32, String>;
    /// The id of a container that goes by a name.
    fn container(&self, name: &str) -> Option<String>;
    /// Whether errors and families have macOS's numbers.
    fn numbers_are_darwins(&self) -> bool {
        false
    }
}

impl Filter {
    /// Asks for one more thing.
    pub fn and(&mut self, expr: Expr) {
        match expr {
            Expr::All(all) => all.into_iter().for_each(|expr| self.and(expr)),
            expr => self.terms.push(expr),
        }
    }

    /// Asks for all that another filter asks for.
    pub fn and_all(&mut self, other: &Self) {
        self.terms.extend_from_slice(&other.terms);
    }

    /// Whether the attempt is wanted, if its return was its end.
    pub fn passes(&self, attempt: &Attempt) -> bool {
        self.judge(attempt, SoFar::Returned) == Some(true)
    }

    /// Whether the attempt is wanted, by what is known of it; `None` where that hangs on how it ends.
    pub fn judge(&self, attempt: &Attempt, so_far: SoFar) -> Option<bool> {
        expr::every(&self.terms, true, attempt, so_far)
    }

    /// Whether any of its tests is of that field.
    pub fn asks_for(&self, field: Field) -> bool {
        self.terms
            .iter()
            .any(|term| term.has(&|test| test.field == field))
    }

    /// Whether any of its tests has that among the values that it takes.
    pub fn names(&self, value: &Value) -> bool {
        self.terms
            .iter()
            .any(|term| term.has(&|test| test.wanted.contains(value)))
    }

    pub fn needs(&self) -> Needs {
        Needs {
            cgroup: OF_CGROUP.into_iter().any(|field| self.asks_for(field)),
            ancestors: self.asks_for(Field::PpidTree),
        }
    }

    /// Tests that every attempt that passes has passed.
    pub fn required(&self) -> impl Iterator<Item = Cow<'_, Test>> {
        self.terms.iter().filter_map(Expr::as_test)
    }

    /// What is required of the caller's cgroup alone: where it ends, all attempts of a cgroup do.
    #[must_use]
    pub fn of_cgroup(&self) -> Self {
        self.of(&OF_CGROUP)
    }

    /// What is asked of the caller's cgroup that is true of none of these, such as
    /// `unit=ngnix.service`.
    pub fn absent(&self, present: &[Arc<Cgroup>]) -> Vec<String> {
        let mut absent = Vec::new();
        for test in self.of_cgroup().required() {
            let is_absent = |value: &&Value| !present.iter().any(|cgroup| value.is_of(cgroup));
            let values = test.wanted().iter().filter(is_absent);
            absent.extend(values.map(|value| format!("{}={value}", test.field().name())));
        }
        absent
    }

    /// What is required of the caller's parents alone: it is the same for all attempts of a process.
    #[must_use]
    pub fn of_tree(&self) -> Self {
        self.of(&[Field::PpidTree])
    }

    fn of(&self, fields: &[Field]) -> Self {
        let of = self
            .required()
            .filter(|test| fields.contains(&test.field()));
        Self {
            terms: of.map(|test| Expr::Is(test.into_owned())).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

impl fmt::Display for Filter {
    /// The expression that gives this filter; nothing for the empty one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.terms[..] {
            return only.fmt(f);
        }
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            term.fmt_within(f, 1)?;
        }
        Ok(())
    }
}
