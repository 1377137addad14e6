//! Reads expressions and lists, and says what was expected, and where.
//!
//! ```text
//! any   = all { "or" all }
//! all   = not { "and" not }
//! not   = "not" not | "(" any ")" | FIELD ( "=" | "!=" ) list
//! list  = [ "!" ] VALUE { "," [ "!" ] VALUE }
//! ```

use std::{fmt, ops::Range};

use unicode_width::UnicodeWidthStr as _;

use super::{
    Expr, Names, Test,
    field::{Field, Value},
};

/// More than anybody types; keeps the parser, and what walks through expressions, off the stack's end.
const DEPTH: u32 = 64;

/// A filter that cannot be read: what was expected, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    typed: String,
    /// Bytes of `typed`; empty at its end
    at: Range<usize>,
    problem: String,
}

impl fmt::Display for Error {
    /// Three lines: the problem, what was typed, and a mark below the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { typed, at, problem } = self;
        // One column for each, whatever a line feed or an escape would do to the terminal.
        let shown = |text: &str| text.replace(char::is_control, " ");
        let (before, place) = (shown(&typed[..at.start]), shown(&typed[at.clone()]));
        // It quotes what was typed.
        writeln!(f, "{}", shown(problem))?;
        writeln!(f, "  {}", shown(typed))?;
        let marks = "^".repeat(place.width().max(1));
        write!(f, "  {:width$}{marks}", "", width = before.width())
    }
}

/// Reads an expression.
pub(super) fn expression(text: &str, names: &dyn Names) -> Result<Expr, Error> {
    let mut parser = Parser {
        text,
        at: 0,
        names,
        depth: 0,
        in_list: false,
    };
    let expr = parser.any()?;
    parser.skip_space();
    match parser.rest() {
        "" => Ok(expr),
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

/// Reads what an option is given: a list, in which spaces need no quotes.
pub(super) fn list(field: Field, text: &str, names: &dyn Names) -> Result<Test, Error> {
    let mut parser = Parser {
        text,
        at: 0,
        names,
        depth: 0,
        in_list: true,
    };
    parser.list(field)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    names: &'a dyn Names,
    depth: u32,
    /// Only a list: what has a meaning in expressions alone has none here
    in_list: bool,
}

/// A value as it was typed.
struct Word {
    /// Without quotes, with backslashes
    text: String,
    at: Range<usize>,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Expr, Error> {
        self.chain("or", Self::all, Expr::Any)
    }

    fn all(&mut self) -> Result<Expr, Error> {
        self.chain("and", Self::not, Expr::All)
    }

    fn chain(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Expr, Error>,
        whole: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, Error> {
        let first = part(self)?;
        if !self.eat_word(word) {
            return Ok(first);
        }
        let mut parts = vec![first, part(self)?];
        while self.eat_word(word) {
            parts.push(part(self)?);
        }
        Ok(whole(parts))
    }

    fn not(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong_at(self.at..self.at, "this is nested too deeply".to_owned()));
        }
        let expr = if self.eat_word("not") {
            Expr::Not(Box::new(self.not()?))
        } else if self.eat("(") {
            let expr = self.any()?;
            self.skip_space();
            if !self.eat(")") {
                return Err(self.expected("`and`, `or` or `)`"));
            }
            expr
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn test(&mut self) -> Result<Expr, Error> {
        self.skip_space();
        let name = self.name();
        let Some(field) = Field::named(name) else {
            return Err(self.no_field(name));
        };
        self.at += name.len();
        self.skip_space();
        if self.eat("!=") {
            return Ok(Expr::Not(Box::new(Expr::Is(self.list(field)?))));
        }
        if self.eat("=") {
            return Ok(Expr::Is(self.list(field)?));
        }
        let compares = self.rest().starts_with(['<', '>']);
        let how = if compares {
            "; a range is 1024-65535"
        } else {
            ""
        };
        Err(self.expected(&format!("`=` or `!=`{how}")))
    }

    /// What stands here is the name of no field.
    fn no_field(&self, name: &str) -> Error {
        if let Some(nearest) = Field::nearest(name) {
            let problem = format!("there is no field `{name}`; did you mean `{nearest}`?");
            return self.wrong_at(self.at..self.at + name.len(), problem);
        }
        let fields = Field::ALL.map(Field::name).join(", ");
        self.expected(&format!("`not`, `(` or one of {fields}"))
    }

    fn list(&mut self, field: Field) -> Result<Test, Error> {
        let mut test = Test::new(field, Vec::new());
        loop {
            self.skip_space();
            let values = if self.eat("!") {
                &mut test.unwanted
            } else {
                &mut test.wanted
            };
            self.skip_space();
            let word = self.word()?;
            if word.at.is_empty() {
                return Err(self.expected(field.expects()));
            }
            let value = Value::parse(field, &word.text, self.names)
                .map_err(|problem| self.wrong_at(word.at, problem))?;
            values.push(value);
            let end = self.at;
            self.skip_space();
            if !self.eat(",") {
                self.at = end;
                return Ok(test);
            }
        }
    }

    /// Up to what ends a value. Quotes take away the meaning of all but a backslash, which stays:
    /// what it does is the value's own affair.
    fn word(&mut self) -> Result<Word, Error> {
        let start = self.at;
        let mut text = String::new();
        // Spaces at the end are none of the value's, unless they were quoted.
        let mut kept = 0;
        let mut end = start;
        let mut quoted = None;
        while let Some(char) = self.rest().chars().next() {
            match char {
                '"' if quoted.is_some() => quoted = None,
                '"' => quoted = Some(self.at),
                _ if quoted.is_none() && self.ends_word(char) => break,
                _ => text.push(char),
            }
            self.at += char.len_utf8();
            if char == '\\'
                && let Some(next) = self.rest().chars().next()
            {
                text.push(next);
                self.at += next.len_utf8();
            }
            if quoted.is_some() || char == '\\' || !char.is_whitespace() {
                (kept, end) = (text.len(), self.at);
            }
        }
        if let Some(quote) = quoted {
            return Err(self.wrong_at(quote..self.at, "this quote is not closed".to_owned()));
        }
        text.truncate(kept);
        Ok(Word {
            text,
            at: start..end,
        })
    }

    fn ends_word(&self, char: char) -> bool {
        char == ',' || (!self.in_list && (char.is_whitespace() || matches!(char, '(' | ')')))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, mark: &str) -> bool {
        let found = self.rest().starts_with(mark);
        self.at += if found { mark.len() } else { 0 };
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        self.skip_space();
        self.name() == word && self.eat(word)
    }

    /// The letters and hyphens that stand here.
    fn name(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        &rest[..end.unwrap_or(rest.len())]
    }

    /// Something else stands here.
    fn expected(&self, what: &str) -> Error {
        let rest = self.rest();
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = self.at + self.name().len().max(first);
        self.wrong_at(self.at..end, format!("expected {what}"))
    }

    fn wrong_at(&self, at: Range<usize>, problem: String) -> Error {
        Error {
            typed: self.text.to_owned(),
            at,
            problem,
        }
    }
}
