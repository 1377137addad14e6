//! The fields of the stream by name: what `--fields`, `--format`, logfmt and csv are made of.
//!
//! The names are those of docs/EVENTS.md, with a dot between an object and its field; of an array of
//! objects they mean its first. The JSON printer has types of its own; a test holds both against
//! the document.

mod record;
mod table;
mod template;
mod value;

use std::fmt;

use crate::alike::nearest;

pub use self::{
    record::Record,
    table::{CSV, TABLE, WIDE},
    template::{Piece, Template},
    value::Value,
};

/// A field: its name, how wide it usually is, and how to get it.
#[derive(Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    /// In columns of a terminal; longer values push their line
    pub width: usize,
    pub get: for<'a> fn(&Record<'a>) -> Value<'a>,
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What is wrong with a list of fields or a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("there is no field `{name}`{}{}", Suggestion(.name), Place(.typed, *.at, .name.len()))]
    Unknown {
        name: String,
        typed: String,
        /// Where in it the name begins, in bytes
        at: usize,
    },
    #[error("a field is missing here{}", Place(.typed, *.at, 1))]
    Empty { typed: String, at: usize },
    #[error("this brace has no partner; a brace that is meant is typed twice{}", Place(.typed, *.at, 1))]
    Brace { typed: String, at: usize },
    #[error("there is no escape like this; \\n, \\t and \\\\ are known{}", Place(.typed, *.at, 2))]
    Escape { typed: String, at: usize },
}

impl Field {
    /// The field of that name; `typed` and `at` are where it stands.
    fn find(name: &str, typed: &str, at: usize) -> Result<&'static Self, FieldError> {
        let typed = || typed.to_owned();
        if name.is_empty() {
            return Err(FieldError::Empty { typed: typed(), at });
        }
        TABLE
            .iter()
            .find(|field| field.name == name)
            .ok_or_else(|| FieldError::Unknown {
                name: name.to_owned(),
                typed: typed(),
                at,
            })
    }
}

/// Fields that have to be there: each name is one of the table's, which a test makes sure of.
pub fn named(names: &str) -> List {
    let find = |name| TABLE.iter().find(|field| field.name == name);
    List(names.split(',').filter_map(find).collect())
}

/// The value of the field of that name; not known, if there is none.
pub fn get<'a>(name: &str, of: &Record<'a>) -> Value<'a> {
    let field = TABLE.iter().find(|field| field.name == name);
    field.map_or(Value::Unknown, |field| (field.get)(of))
}

/// Fields in the order in which they are to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct List(pub Vec<&'static Field>);

impl List {
    /// Whether any of them tells what stands behind the caller: it has to be looked up.
    pub fn has_origin(&self) -> bool {
        const ORIGIN: [&str; 7] = [
            "exe",
            "cmdline",
            "cgroup",
            "container.runtime",
            "container.id",
            "unit",
            "ifname",
        ];
        self.0.iter().any(|field| ORIGIN.contains(&field.name))
    }
}

impl std::str::FromStr for List {
    type Err = FieldError;

    /// `time,comm,port`
    fn from_str(typed: &str) -> Result<Self, FieldError> {
        let mut at = 0;
        let mut fields = Vec::new();
        for part in typed.split(',') {
            let name = part.trim();
            let indent = part.len() - part.trim_start().len();
            fields.push(Field::find(name, typed, at + indent)?);
            at += part.len() + 1;
        }
        Ok(Self(fields))
    }
}

/// `; did you mean …?`, or where all fields are listed.
struct Suggestion<'a>(&'a str);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nearest(self.0, TABLE.iter().map(|field| field.name)) {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => f.write_str("; `portwatch man` lists all"),
        }
    }
}

/// What was typed, with the place marked below it.
struct Place<'a>(&'a str, usize, usize);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(typed, at, width) = *self;
        let before = typed.get(..at).map_or(at, |text| text.chars().count());
        let marks = typed
            .get(at..at + width)
            .map_or(width, |text| text.chars().count());
        // A control character would move the mark, or more than that.
        let shown = typed.replace(char::is_control, " ");
        write!(f, "\n  {shown}\n  {:before$}{:^<marks$}", "", "^")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let names: BTreeSet<_> = TABLE.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn the_fields_of_csv_and_wide_exist() {
        for names in [CSV, WIDE] {
            let found: Vec<_> = named(names).0.iter().map(|field| field.name).collect();
            assert_eq!(found.join(","), names);
        }
    }

    #[test]
    fn a_list_keeps_its_order() {
        let List(fields) = "port, comm,errno".parse().unwrap();
        let names: Vec<_> = fields.iter().map(|field| field.name).collect();
        assert_eq!(names, ["port", "comm", "errno"]);
    }

    #[test]
    fn an_unknown_field_is_pointed_at() {
        let error = "time,com,port".parse::<List>().unwrap_err();
        insta::assert_snapshot!(error, @r"
        there is no field `com`; did you mean `comm`?
          time,com,port
               ^^^
        ");
        let error = "päid, wxyz".parse::<List>().unwrap_err();
        insta::assert_snapshot!(error, @r"
        there is no field `päid`; did you mean `pid`?
          päid, wxyz
          ^^^^
        ");
        let error = "pid, wxyz".parse::<List>().unwrap_err();
        insta::assert_snapshot!(error, @r"
        there is no field `wxyz`; `portwatch man` lists all
          pid, wxyz
               ^^^^
        ");
    }

    #[test]
    fn an_empty_name_is_pointed_at() {
        let error = "time,,port".parse::<List>().unwrap_err();
        insta::assert_snapshot!(error, @r"
        a field is missing here
          time,,port
               ^
        ");
    }
}
