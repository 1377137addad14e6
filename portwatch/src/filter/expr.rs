//! What a filter is made of: tests, and how they are put together.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::Ipv4Net;

use super::{
    Names, SoFar,
    field::{Field, Value},
};
use crate::event::Attempt;

/// A condition on an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    Is(Test),
    Not(Box<Self>),
    /// Two or more
    All(Vec<Self>),
    /// Two or more
    Any(Vec<Self>),
}

impl Expr {
    /// Reads an expression: `port=80 and (user=1000 or errno=EACCES)`.
    pub fn parse(text: &str, names: &dyn Names) -> Result<Self, super::Error> {
        super::parse::expression(text, names)
    }

    /// The address asked for is of the host's own loopback.
    pub fn loopback() -> Self {
        let v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
        let nets = [v4.into(), v6.into()].map(Value::Addr);
        Self::Is(Test::new(Field::Addr, nets.into()))
    }

    /// The one test that it is, if it is one.
    pub fn as_test(&self) -> Option<Cow<'_, Test>> {
        match self {
            Self::Is(test) => Some(Cow::Borrowed(test)),
            Self::Not(expr) => expr.as_test()?.opposite().map(Cow::Owned),
            Self::All(_) | Self::Any(_) => None,
        }
    }

    /// `None` where that hangs on how the attempt ends.
    pub(super) fn holds(&self, attempt: &Attempt, so_far: SoFar) -> Option<bool> {
        match self {
            Self::Is(test) => test.holds(attempt, so_far),
            Self::Not(expr) => expr.holds(attempt, so_far).map(|holds| !holds),
            Self::All(all) => every(all, true, attempt, so_far),
            Self::Any(any) => every(any, false, attempt, so_far),
        }
    }

    /// Whether any of its tests is such a one.
    pub(super) fn has(&self, such: &dyn Fn(&Test) -> bool) -> bool {
        match self {
            Self::Is(test) => such(test),
            Self::Not(expr) => expr.has(such),
            Self::All(exprs) | Self::Any(exprs) => exprs.iter().any(|expr| expr.has(such)),
        }
    }

    /// Shows each of its tests.
    pub(super) fn visit(&self, show: &mut dyn FnMut(&Test)) {
        match self {
            Self::Is(test) => show(test),
            Self::Not(expr) => expr.visit(show),
            Self::All(exprs) | Self::Any(exprs) => exprs.iter().for_each(|expr| expr.visit(show)),
        }
    }

    /// How tightly it binds when printed.
    const fn rank(&self) -> u8 {
        match self {
            Self::Any(_) => 0,
            Self::All(_) => 1,
            Self::Not(_) | Self::Is(_) => 2,
        }
    }

    /// Prints a part, in parentheses unless it binds more tightly than what it is a part of.
    pub(super) fn fmt_within(&self, f: &mut fmt::Formatter<'_>, rank: u8) -> fmt::Result {
        if self.rank() > rank {
            write!(f, "{self}")
        } else {
            write!(f, "({self})")
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::Is(test) => return test.fmt(f),
            Self::Not(expr) => {
                f.write_str("not ")?;
                return expr.fmt_within(f, 1);
            }
            Self::All(all) => (all, " and "),
            Self::Any(any) => (any, " or "),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                f.write_str(word)?;
            }
            part.fmt_within(f, self.rank())?;
        }
        Ok(())
    }
}

/// What all of them come to, where each says so: the opposite of one decides.
pub(super) fn every(exprs: &[Expr], each: bool, attempt: &Attempt, so_far: SoFar) -> Option<bool> {
    let mut whole = Some(each);
    for expr in exprs {
        match expr.holds(attempt, so_far) {
            Some(holds) if holds == each => {}
            Some(_) => return Some(!each),
            None => whole = None,
        }
    }
    whole
}

/// One field against a list: one of the wanted values if there are any, and none of the unwanted.
///
/// What is not known of an attempt is no value at all: it is not among the wanted, nor among the
/// unwanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub(super) field: Field,
    /// Values of that field only
    pub(super) wanted: Vec<Value>,
    pub(super) unwanted: Vec<Value>,
}

impl Test {
    /// One of these values, which must be of that field.
    pub const fn new(field: Field, wanted: Vec<Value>) -> Self {
        Self {
            field,
            wanted,
            unwanted: Vec::new(),
        }
    }

    /// Reads what an option was given: `80,443,!22`.
    pub fn parse(field: Field, list: &str, names: &dyn Names) -> Result<Self, super::Error> {
        super::parse::list(field, list, names)
    }

    pub const fn field(&self) -> Field {
        self.field
    }

    pub fn wanted(&self) -> &[Value] {
        &self.wanted
    }

    pub fn unwanted(&self) -> &[Value] {
        &self.unwanted
    }

    /// Takes the values of another test of the same field: an option that was given twice.
    pub fn add(&mut self, other: Self) {
        self.wanted.extend(other.wanted);
        self.unwanted.extend(other.unwanted);
    }

    /// The test that holds where this one does not, if one does.
    pub(super) fn opposite(&self) -> Option<Self> {
        let Self {
            field,
            wanted,
            unwanted,
        } = self.clone();
        (wanted.is_empty() || unwanted.is_empty()).then_some(Self {
            field,
            wanted: unwanted,
            unwanted: wanted,
        })
    }

    fn holds(&self, attempt: &Attempt, so_far: SoFar) -> Option<bool> {
        if so_far == SoFar::Open && self.field.is_of_the_end() {
            return None;
        }
        let found = |values: &[Value]| values.iter().any(|value| value.matches(attempt, so_far));
        Some((self.wanted.is_empty() || found(&self.wanted)) && !found(&self.unwanted))
    }
}

impl fmt::Display for Test {
    /// As an expression takes it: `port=80,!22`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.name())?;
        let wanted = self.wanted.iter().map(|value| ("", value));
        let unwanted = self.unwanted.iter().map(|value| ("!", value));
        for (index, (sign, value)) in wanted.chain(unwanted).enumerate() {
            let before = if index == 0 { '=' } else { ',' };
            write!(f, "{before}{sign}{value}")?;
        }
        Ok(())
    }
}
