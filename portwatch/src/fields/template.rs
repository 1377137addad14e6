//! `--format`: text with fields in braces.

use std::str::FromStr;

use super::{Field, FieldError};

/// What one line is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(pub Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Literal(String),
    Field(&'static Field),
}

impl FromStr for Template {
    type Err = FieldError;

    /// `{time} {comm}`; `{{` and `}}` are braces, `\n`, `\t` and `\\` what they are elsewhere.
    fn from_str(typed: &str) -> Result<Self, FieldError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = typed;
        while let Some(character) = rest.chars().next() {
            let at = typed.len() - rest.len();
            if let Some(tail) = rest.strip_prefix("{{") {
                literal.push('{');
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix("}}") {
                literal.push('}');
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix('{') {
                let (name, tail) = field(tail, typed, at)?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Field(Field::find(name, typed, at + 1)?));
                rest = tail;
            } else if character == '}' {
                let typed = typed.to_owned();
                return Err(FieldError::Brace { typed, at });
            } else if let Some(tail) = rest.strip_prefix('\\') {
                literal.push(escaped(tail, typed, at)?);
                rest = &tail[1..];
            } else {
                literal.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }
}

/// The name up to the closing brace, and what follows it.
fn field<'a>(tail: &'a str, typed: &str, at: usize) -> Result<(&'a str, &'a str), FieldError> {
    match tail.split_once('}') {
        Some((name, rest)) if !name.contains('{') => Ok((name, rest)),
        _ => Err(FieldError::Brace {
            typed: typed.to_owned(),
            at,
        }),
    }
}

fn escaped(tail: &str, typed: &str, at: usize) -> Result<char, FieldError> {
    match tail.chars().next() {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('\\') => Ok('\\'),
        _ => Err(FieldError::Escape {
            typed: typed.to_owned(),
            at,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(typed: &str) -> String {
        typed.parse::<Template>().unwrap_err().to_string()
    }

    fn shown(typed: &str) -> String {
        let Template(pieces) = typed.parse().unwrap();
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.clone(),
                Piece::Field(field) => format!("<{}>", field.name),
            })
            .collect()
    }

    #[test]
    fn fields_stand_in_braces() {
        assert_eq!(shown("{time} {comm}:{port}!"), "<time> <comm>:<port>!");
        assert_eq!(shown("{cause.code}"), "<cause.code>");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn braces_and_escapes_can_be_meant() {
        assert_eq!(shown(r#"{{"pid":{pid}}}"#), r#"{"pid":<pid>}"#);
        assert_eq!(shown(r"{pid}\t{tid}\\n\n"), "<pid>\t<tid>\\n\n");
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        insta::assert_snapshot!(error("{time} {prot} x"), @r"
        there is no field `prot`; did you mean `proto`?
          {time} {prot} x
                  ^^^^
        ");
        insta::assert_snapshot!(error("{time} {pid"), @r"
        this brace has no partner; a brace that is meant is typed twice
          {time} {pid
                 ^
        ");
        insta::assert_snapshot!(error("a } b"), @r"
        this brace has no partner; a brace that is meant is typed twice
          a } b
            ^
        ");
        insta::assert_snapshot!(error("a {} b"), @r"
        a field is missing here
          a {} b
             ^
        ");
        insta::assert_snapshot!(error(r"a \x1b"), @r"
        there is no escape like this; \n, \t and \\ are known
          a \x1b
            ^^
        ");
    }

    proptest! {
        #[test]
        fn no_template_breaks_the_parser(typed in "[{}\\\\a-zé.\u{1}]{0,24}") {
            if let Err(error) = typed.parse::<Template>() {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
