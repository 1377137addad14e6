//! Fields whose values are patterns, and paths that have others below them.

use super::Tests;
use crate::filter::{Field, Value, glob::COMM};

pub(super) const OF: [Field; 4] = [Field::Comm, Field::Cgroup, Field::Container, Field::Unit];

/// Whether a name is left. Three lists that exclude each other only together count as possible.
pub(super) fn admit(tests: &Tests<'_>, field: Field) -> bool {
    let unwanted: Vec<_> = tests.unwanted(field).collect();
    let is_left = |wanted: &&Value| {
        wanted.limit().is_none() && !unwanted.iter().any(|unwanted| covers(unwanted, wanted))
    };
    let lists = tests.of(field).filter(|test| !test.wanted.is_empty());
    let lists: Vec<Vec<&Value>> = lists
        .map(|test| test.wanted.iter().filter(is_left).collect())
        .collect();
    let meet = |one: &[&Value], other: &[&Value]| {
        one.iter()
            .any(|one| other.iter().any(|other| overlap(one, other)))
    };
    lists
        .iter()
        .all(|one| lists.iter().all(|other| meet(one, other)))
}

/// Whether all that is the second is certainly the first too.
fn covers(above: &Value, below: &Value) -> bool {
    match (above, below) {
        (Value::Comm(above), Value::Comm(below)) | (Value::Unit(above), Value::Unit(below)) => {
            above.covers(below)
        }
        (Value::Cgroup(above), Value::Cgroup(below)) => is_below(below, above),
        // The beginning of an id may be a whole name, too.
        (above, below) => above == below,
    }
}

/// Whether something may be both.
fn overlap(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Comm(one), Value::Comm(other)) => {
            one.least_common(other).is_some_and(|bytes| bytes <= COMM)
        }
        (Value::Unit(one), Value::Unit(other)) => one.least_common(other).is_some(),
        (Value::Cgroup(one), Value::Cgroup(other)) => is_below(one, other) || is_below(other, one),
        (Value::Container(one), Value::Container(other)) => {
            one.starts_with(&**other) || other.starts_with(&**one)
        }
        _ => true,
    }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
