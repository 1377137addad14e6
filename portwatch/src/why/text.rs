//! Answers for people: the answer itself, then what the kernel looks at, then the cause.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Answer, Answers};
use crate::{
    errno::Errno,
    event::{Op, Proto, System},
    explain::predict::{Check, Expected, Station, Verdict},
    output::{
        sanitize::escape_prose_into,
        text::{Detail, cause_lines, wrap},
    },
    users::Users,
};

const BOLD: Style = Style::new().bold();
const DIMMED: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();

/// Width of the names of checks, and of their verdicts.
const NAME: usize = 18;
const VERDICT: usize = 4;

/// Each answer in a paragraph of its own. Ends in a newline.
///
/// Prose is wrapped to the width, commands never: they are there to be copied. Without a width
/// nothing is wrapped.
pub fn render_text(
    answers: &Answers,
    width: Option<u16>,
    colour: bool,
    users: &mut Users,
) -> String {
    let mut page = Page {
        text: String::new(),
        width,
        colour,
    };
    for (index, answer) in answers.answers.iter().enumerate() {
        if index > 0 {
            page.text.push('\n');
        }
        page.add_answer(answer, &answers.person.name, users);
    }
    for note in notes(answers) {
        page.add_note(&note);
    }
    page.text
}

fn notes(answers: &Answers) -> Vec<String> {
    let sudo = answers.person.note.map(str::to_owned);
    let copied = (!answers.not_copied.is_empty()).then(|| {
        format!(
            "the trial did not take over {}",
            answers.not_copied.join(", ")
        )
    });
    sudo.into_iter().chain(copied).collect()
}

struct Page {
    text: String,
    width: Option<u16>,
    colour: bool,
}

impl Page {
    fn add_answer(&mut self, answer: &Answer, name: &str, users: &mut Users) {
        let Answer {
            situation: _,
            prediction,
            tried: _,
        } = answer;
        for line in wrap(&sentence(answer, name), self.width.map(usize::from)) {
            self.add(BOLD, &line);
            self.text.push('\n');
        }
        for check in &prediction.checks {
            self.add_check(check);
        }
        if let Some((style, text)) = trial(answer) {
            self.text.push_str("  ");
            self.add(style, &text);
            self.text.push('\n');
        }
        if let Some(cause) = &prediction.cause {
            let lines = cause_lines(cause, Detail::Full, self.width, self.colour, users);
            self.text.push_str(&lines);
        }
    }

    fn add_check(&mut self, check: &Check) {
        let Check {
            station,
            verdict,
            detail,
        } = check;
        let (word, style) = match verdict {
            Verdict::Ok => ("ok", GREEN),
            Verdict::No(_) => ("no", RED),
            Verdict::Maybe => ("?", DIMMED),
            Verdict::Unknown => ("?", YELLOW),
        };
        let detail = match verdict {
            Verdict::No(errno) => format!("{errno}: {detail}"),
            _ => detail.clone(),
        };
        let indent = 2 + NAME + VERDICT;
        let room = self
            .width
            .map(|width| usize::from(width).saturating_sub(indent));
        for (index, line) in wrap(&detail, room).iter().enumerate() {
            if index == 0 {
                self.add(Style::new(), &format!("  {:NAME$}", title(*station)));
                self.add(style, &format!("{word:VERDICT$}"));
            } else {
                self.text.extend(std::iter::repeat_n(' ', indent));
            }
            self.add(Style::new(), line);
            self.text.push('\n');
        }
    }

    fn add_note(&mut self, note: &str) {
        for line in wrap(note, self.width.map(usize::from)) {
            self.add(DIMMED, &line);
            self.text.push('\n');
        }
    }

    /// Names and details hold what other processes chose.
    fn add(&mut self, style: Style, text: &str) {
        let style = if self.colour { style } else { Style::new() };
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{style}");
        escape_prose_into(&mut self.text, text);
        let _ = write!(self.text, "{style:#}");
    }
}

/// `alice may not bind 127.0.0.1:80 (tcp): EACCES Permission denied`
fn sentence(answer: &Answer, name: &str) -> String {
    let Answer { situation, .. } = answer;
    let at = situation.to.socket_addr();
    let act = match situation.op {
        Op::Connect => format!("connect to {at}"),
        Op::Bind | Op::Listen => format!("bind {at}"),
    };
    let proto = match situation.proto {
        Proto::Ip(17) => "udp",
        _ => "tcp",
    };
    let place = match situation.system {
        System::Linux => String::new(),
        other @ System::MacOs(_) => format!(" on {other}"),
    };
    let act = format!("{act} ({proto}){place}");
    match answer.result() {
        Expected::Ok => format!("{name} may {act}"),
        Expected::Fails(errno) => {
            format!("{name} {} {act}: {}", verb(errno), spelt(errno))
        }
        Expected::Unknown => format!("it cannot be told whether {name} may {act}"),
    }
}

/// Not to be permitted is another thing than not to be able to.
fn verb(errno: Errno) -> &'static str {
    const EPERM: u16 = 1;
    const EACCES: u16 = 13;
    match errno.number() {
        EPERM | EACCES => "may not",
        _ => "cannot",
    }
}

fn spelt(errno: Errno) -> String {
    match errno.describe() {
        Some(text) => format!("{errno} {text}"),
        None => errno.to_string(),
    }
}

/// What became of the call, if it was made.
fn trial(answer: &Answer) -> Option<(Style, String)> {
    let tried = answer.tried.as_ref()?;
    let found = match tried.errno() {
        None => "ok".to_owned(),
        Some(errno) => format!("{errno} from {}()", tried.call),
    };
    let predicted = match answer.prediction.result {
        Expected::Ok => "ok".to_owned(),
        Expected::Fails(errno) => errno.to_string(),
        Expected::Unknown => "nothing".to_owned(),
    };
    Some(match answer.agrees() {
        Some(true) => (GREEN, format!("tried: {found}, as predicted")),
        Some(false) => (
            RED,
            format!(
                "TRIED: {found}, BUT PREDICTED WAS {predicted}{}",
                blame(answer)
            ),
        ),
        None => (BOLD, format!("tried: {found}")),
    })
}

/// Who may have refused what was predicted to succeed.
fn blame(answer: &Answer) -> String {
    let unseen = answer.prediction.checks.iter();
    let unseen: Vec<_> = unseen
        .filter(|check| check.verdict == Verdict::Maybe)
        .map(|check| title(check.station))
        .collect();
    if answer.errno().is_none() || unseen.is_empty() {
        return String::new();
    }
    format!("; not known are: {}", unseen.join(", "))
}

const fn title(station: Station) -> &'static str {
    match station {
        Station::Socket => "socket",
        Station::Interface => "interface",
        Station::Seccomp => "seccomp",
        Station::SecurityModules => "security modules",
        Station::CgroupPrograms => "cgroup programs",
        Station::Multicast => "multicast",
        Station::Address => "address",
        Station::Port => "port",
        Station::Mapped => "family",
        Station::InUse => "in use",
        Station::Restricted => "restricted",
        Station::Route => "route",
        Station::LocalPort => "local port",
        Station::Answer => "answer",
    }
}
