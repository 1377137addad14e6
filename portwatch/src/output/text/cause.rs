//! Why an attempt ended as it did: indented lines below its own.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    event::{Candidate, Cause, Fix, Holder, Lookup, Unseen},
    output::sanitize::{escape_into, escape_prose_into},
    users::Users,
};

/// How much is said of a cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// The cause, what would have come next, and the first fix
    #[default]
    Short,
    /// What it was concluded from, who has the port, and every fix with what it opens
    Full,
}

const INDENT: usize = 4;
const WHY: Style = AnsiColor::Cyan.on_default();
const FIX: Style = AnsiColor::Green.on_default();
const ASIDE: Style = Style::new().dimmed();

/// Where the lines go, and how wide they may be.
pub(super) struct Page<'a> {
    pub(super) text: &'a mut String,
    pub(super) terminal: Option<usize>,
    pub(super) colour: bool,
}

impl Page<'_> {
    pub(super) fn add_cause(
        &mut self,
        cause: &Cause,
        detail: Detail,
        users: &mut Users,
    ) -> fmt::Result {
        self.add_prose("why: ", WHY, &cause.text)?;
        for next in &cause.next {
            self.add_prose("then: ", WHY, next)?;
        }
        match detail {
            Detail::Short => cause.fixes.first().map_or(Ok(()), |fix| self.add_fix(fix)),
            Detail::Full => self.add_all(cause, users),
        }
    }

    fn add_all(&mut self, cause: &Cause, users: &mut Users) -> fmt::Result {
        let Cause {
            code,
            text: _,
            fixes,
            confidence,
            evidence,
            next: _,
            holders,
            holders_unseen,
            candidates,
        } = cause;
        for holder in holders {
            self.add_prose("held: ", WHY, &describe(holder, users)?)?;
        }
        if let Some(why) = holders_unseen.filter(|why| *why != Unseen::NotAsked) {
            let more = format!("there may be more holders ({})", why.reason());
            self.add_prose("held: ", WHY, &more)?;
        }
        let known = format!("{} ({})", code.name(), confidence.name());
        self.add_prose("code: ", ASIDE, &known)?;
        for Candidate { code, text } in candidates {
            self.add_prose("perhaps: ", ASIDE, &format!("{}: {text}", code.name()))?;
        }
        for evidence in evidence {
            self.add_prose("seen: ", ASIDE, evidence)?;
        }
        for fix in fixes {
            self.add_fix(fix)?;
            if let Some(opens) = &fix.opens {
                self.add_prose("     opens: ", ASIDE, opens)?;
            }
        }
        Ok(())
    }

    /// What to do, and the command on the same line if both fit. A command is never broken, so that
    /// it can be copied.
    fn add_fix(&mut self, fix: &Fix) -> fmt::Result {
        const LABEL: &str = "fix: ";
        let Fix {
            what,
            command,
            opens: _,
        } = fix;
        let Some(command) = command else {
            return self.add_prose(LABEL, FIX, what);
        };
        let width = INDENT + LABEL.len() + what.width() + ": ".len() + command.width();
        let fits = self.terminal.is_none_or(|terminal| width <= terminal);
        if fits && !command.contains('\n') {
            return self.add_line(LABEL, FIX, &format!("{what}: {command}"));
        }
        self.add_prose(LABEL, FIX, &format!("{what}:"))?;
        for line in command.lines() {
            self.add_line(&" ".repeat(LABEL.len()), FIX, line)?;
        }
        Ok(())
    }

    /// A paragraph, broken between words where the terminal ends.
    fn add_prose(&mut self, label: &str, style: Style, prose: &str) -> fmt::Result {
        let room = self
            .terminal
            .map(|terminal| terminal.saturating_sub(INDENT + label.len()));
        let rest = " ".repeat(label.len());
        for (index, line) in wrap(prose, room).iter().enumerate() {
            self.add_line(if index == 0 { label } else { &rest }, style, line)?;
        }
        Ok(())
    }

    fn add_line(&mut self, label: &str, style: Style, line: &str) -> fmt::Result {
        let style = if self.colour { style } else { Style::new() };
        write!(self.text, "{:INDENT$}{style}{label}{style:#}", "")?;
        escape_prose_into(self.text, line);
        self.text.write_char('\n')
    }
}

/// Lines of at most `room` columns; a word that is longer has a line of its own.
pub fn wrap(prose: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else {
        return vec![prose.to_owned()];
    };
    let mut lines = vec![String::new()];
    for word in prose.split(' ') {
        let line = lines.last().map_or(0, |line| line.width());
        if line > 0 && line + 1 + word.width() > room {
            lines.push(word.to_owned());
        } else if let Some(last) = lines.last_mut() {
            if line > 0 {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

/// `nginx (pid 7, root, nginx.service): listen 0.0.0.0:80`
fn describe(holder: &Holder, users: &mut Users) -> Result<String, fmt::Error> {
    let mut text = String::new();
    match &holder.process {
        Lookup::Found(process) => escape_into(&mut text, process.comm.as_bytes()),
        _ if holder.kernel => text.push_str("the kernel"),
        Lookup::NotThere => text.push_str("no process"),
        Lookup::NotSeen(why) => write!(text, "a process that was not seen: {}", why.reason())?,
    }
    let asides = asides(holder, users);
    if !asides.is_empty() {
        write!(text, " ({})", asides.join(", "))?;
    }
    let address = std::net::SocketAddr::new(holder.ip, holder.port);
    write!(text, ": {} {address}", holder.state.name())?;
    if let Some((ip, port)) = holder.peer {
        write!(text, " to {}", std::net::SocketAddr::new(ip, port))?;
    }
    Ok(text)
}

/// What is known of who has it.
fn asides(holder: &Holder, users: &mut Users) -> Vec<String> {
    let process = holder.process.as_ref().found();
    let cgroup = process.and_then(|process| process.cgroup.as_deref());
    let pid = process.map(|process| format!("pid {}", process.tgid));
    let user = holder.uid.map(|uid| match users.name(uid) {
        Some(name) => name.to_owned(),
        None => format!("uid {uid}"),
    });
    let unit = cgroup.and_then(|cgroup| cgroup.unit.clone());
    let container = cgroup.and_then(|cgroup| {
        let id: String = cgroup.container.as_ref()?.id.chars().take(12).collect();
        Some(format!("container {id}"))
    });
    [pid, user, unit, container].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample::holder;

    /// Whoever may make a cgroup chooses the name of a container.
    #[test]
    fn a_name_may_end_as_the_aside_begins() {
        for name in ["é(", "x (", "("] {
            let mut users = Users::with_lookups(|_| None, |_| None);
            users.remember(7, Some(name.to_owned()));
            let holder = Holder {
                uid: Some(7),
                ..holder()
            };
            let text = describe(&holder, &mut users).unwrap();
            assert_eq!(text, format!("no process ({name}): listen 127.0.0.1:80"));
        }
    }

    #[test]
    fn prose_is_broken_between_words() {
        assert_eq!(wrap("one two three", Some(7)), ["one two", "three"]);
        assert_eq!(wrap("one two", None), ["one two"]);
        assert_eq!(wrap("incomprehensible", Some(4)), ["incomprehensible"]);
        assert_eq!(wrap("", Some(4)), [""]);
    }
}
