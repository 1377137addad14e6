//! `portwatch why`: would a bind or connect succeed, for whom, in which network namespace, and if
//! not, why not. Nothing is traced: the answer is there before the attempt, and after it.
//!
//! What decides is looked up (`gather`), the kernel's checks are gone through by
//! [`crate::explain::predict`], and if asked for, the call is made and compared (`trial`).

mod catalogue;
#[cfg_attr(not(target_os = "linux"), path = "why/gather/elsewhere.rs")]
mod gather;
#[cfg(any(test, not(target_os = "linux")))]
mod here;
mod json;
mod subject;
mod system;
mod target;
mod text;
mod trial;
#[cfg(target_os = "linux")]
mod user_namespace;
mod working;

use std::{io, path::PathBuf};

pub use self::{
    catalogue::{Causes, NoCauses},
    json::render_json,
    subject::{Identity, NoPerson, Person, Who},
    system::NoSystem,
    target::{NoTarget, Only, Place, Target},
    text::render_text,
    trial::{Order, Tried},
    working::Working,
};
use crate::{
    cli,
    errno::Errno,
    event::{IfName, Op, Proto, System},
    explain::predict::{
        Expected, Network, Prediction, Reach, Situation, Station, Verdict, predict,
    },
    users::Users,
};

/// What is asked.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent option of the socket"
)]
#[derive(Clone, Debug)]
pub struct Question {
    pub op: Op,
    pub proto: Proto,
    pub port: u16,
    pub addresses: Vec<Place>,
    pub reuseaddr: bool,
    pub reuseport: bool,
    pub freebind: bool,
    /// `None`: as the network namespace has it
    pub v6only: Option<bool>,
    pub device: Option<IfName>,
    pub who: Who,
    /// The network namespace; `None`: theirs
    pub netns: Option<Where>,
    pub system: System,
    /// Whether the call is to be made too
    pub try_it: bool,
}

/// A network namespace that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// As `ip netns` names it
    Named(String),
    OfProcess(u32),
    File(PathBuf),
}

/// The question cannot be asked so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error(transparent)]
    Target(#[from] NoTarget),
    #[error(transparent)]
    System(#[from] NoSystem),
    #[error("there is no user `{0}` on this host; a number works without a name: --user 1000")]
    User(String),
    #[error("`{0}` is no name of an interface")]
    Device(String),
    #[error("only this host's own kernel can be tried: leave out --try or --os")]
    TryElsewhere,
    #[error("{0} is for Linux, and this is none")]
    OnLinux(&'static str),
    #[error("of macOS only binds are known: leave out --connect")]
    ConnectElsewhere,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error(transparent)]
    Person(#[from] NoPerson),
    #[error("there is no network namespace {}", .0.display())]
    Namespace(PathBuf, #[source] io::Error),
    #[error("there is no interface `{0}` in the network namespace")]
    Interface(String),
    #[error(transparent)]
    Trial(#[from] anyhow::Error),
}

/// The answer for one address.
#[derive(Debug)]
pub struct Answer {
    pub situation: Situation,
    pub prediction: Prediction,
    pub tried: Option<Tried>,
}

/// The answers, and whom they are about.
#[derive(Debug)]
pub struct Answers {
    pub person: Person,
    pub answers: Vec<Answer>,
    /// Of a trial: what it could not copy of the one who is asked about
    pub not_copied: Vec<&'static str>,
}

/// What came out, for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    Ok,
    Fails,
    /// It could not be told, or the kernel did otherwise than predicted
    Unknown,
}

impl Question {
    /// What the command line means.
    pub fn new(typed: &cli::Why, users: &Users) -> Result<Self, Wrong> {
        let op = if typed.connect { Op::Connect } else { Op::Bind };
        let only = match (typed.ipv4, typed.ipv6) {
            (true, _) => Only::Ipv4,
            (_, true) => Only::Ipv6,
            _ => Only::Both,
        };
        let Target { port, addresses } = Target::parse(&typed.target, op, only)?;
        let system = system::parse(&typed.os)?;
        if let Some(option) = foreign(typed).filter(|_| !cfg!(target_os = "linux")) {
            return Err(Wrong::OnLinux(option));
        }
        if system != System::Linux && typed.try_it {
            return Err(Wrong::TryElsewhere);
        }
        if system != System::Linux && typed.connect {
            return Err(Wrong::ConnectElsewhere);
        }
        Ok(Self {
            op,
            proto: Proto::Ip(if typed.udp { UDP } else { TCP }),
            port,
            addresses,
            reuseaddr: typed.reuseaddr,
            reuseport: typed.reuseport,
            freebind: typed.freebind,
            v6only: match (typed.v6only, typed.dual_stack) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            device: typed.device.as_deref().map(device).transpose()?,
            who: who(typed, users)?,
            netns: typed.netns.as_deref().map(Where::parse),
            system,
            try_it: typed.try_it,
        })
    }
}

/// Of a system that is not this one, or that has none of it.
const UNKNOWN: Network = Network {
    netns: None,
    user_ns: None,
    reach: Reach::Unknown,
    unprivileged_port_start: None,
    ipv6: true,
};

/// `IPPROTO_*` (include/uapi/linux/in.h)
const TCP: u16 = 6;
const UDP: u16 = 17;

/// The first option that asks for what only a Linux host can tell.
fn foreign(typed: &cli::Why) -> Option<&'static str> {
    let options = [
        (typed.pid.is_some(), "--pid"),
        (typed.netns.is_some(), "--netns"),
        (typed.device.is_some(), "--device"),
        (typed.try_it, "--try"),
    ];
    let given = options.into_iter().find(|(given, _)| *given);
    given.map(|(_, option)| option)
}

fn device(name: &str) -> Result<IfName, Wrong> {
    IfName::new(name.as_bytes()).ok_or_else(|| Wrong::Device(name.to_owned()))
}

fn who(typed: &cli::Why, users: &Users) -> Result<Who, Wrong> {
    let Some(user) = &typed.user else {
        return Ok(typed.pid.map_or(Who::Caller, Who::Process));
    };
    let uid = user.parse().ok().or_else(|| users.uid_of(user));
    uid.map(Who::User).ok_or_else(|| Wrong::User(user.clone()))
}

impl Where {
    /// A name, `pid:812`, or a file.
    fn parse(typed: &str) -> Self {
        let process = typed.strip_prefix("pid:").and_then(|pid| pid.parse().ok());
        match process {
            Some(tgid) => Self::OfProcess(tgid),
            None if typed.contains('/') => Self::File(typed.into()),
            None => Self::Named(typed.to_owned()),
        }
    }

    /// The file that stands for it.
    fn path(&self) -> PathBuf {
        match self {
            Self::Named(name) => PathBuf::from("/run/netns").join(name),
            Self::OfProcess(tgid) => format!("/proc/{tgid}/ns/net").into(),
            Self::File(path) => path.clone(),
        }
    }
}

/// Answers for each address.
pub fn answer(question: &Question, users: &mut Users) -> Result<Answers, NoAnswer> {
    let person = Person::find(question.who, users)?;
    let mut scene = gather::Scene::set(question, &person)?;
    let mut answers = Vec::new();
    for place in &question.addresses {
        let situation = scene.situation(place)?;
        let prediction = predict(&situation);
        let tried = if question.try_it {
            Some(order(question, &person, &situation).carry_out()?)
        } else {
            None
        };
        answers.push(Answer {
            situation,
            prediction,
            tried,
        });
    }
    Ok(Answers {
        not_copied: not_copied(question, &person),
        answers,
        person,
    })
}

/// What a trial of the question about one of its addresses is to do.
pub fn order(question: &Question, person: &Person, situation: &Situation) -> Order {
    let Situation { to, options, .. } = situation;
    Order {
        connect: question.op == Op::Connect,
        udp: question.proto == Proto::Ip(UDP),
        ip: to.ip,
        port: to.port,
        scope_id: to.scope_id,
        reuseaddr: options.reuseaddr,
        reuseport: options.reuseport,
        freebind: options.freebind,
        v6only: question.v6only,
        device: question
            .device
            .map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()),
        netns: place(question, person).map(|place| place.path()),
        user_ns_of: person.in_another_user_namespace(),
        identity: (!person.is_caller).then(|| person.identity()),
    }
}

/// The network namespace that is asked about; `None`: portwatch's own.
fn place(question: &Question, person: &Person) -> Option<Where> {
    let theirs = || person.process.map(Where::OfProcess);
    question.netns.clone().or_else(theirs)
}

/// What also decides about a process, and stays its own.
fn not_copied(question: &Question, person: &Person) -> Vec<&'static str> {
    if !question.try_it || person.process.is_none() {
        return Vec::new();
    }
    vec![
        "its seccomp filters",
        "its security modules' labels and domains",
        "its cgroup",
    ]
}

impl Answer {
    /// Whether the kernel did what was predicted; `None` where nothing was tried or predicted, or
    /// the far end decided.
    pub fn agrees(&self) -> Option<bool> {
        let tried = self.tried.as_ref()?;
        match self.prediction.result {
            Expected::Unknown => None,
            Expected::Ok if self.depends_on_the_far_end() => None,
            Expected::Ok => Some(tried.ret == 0),
            Expected::Fails(errno) => Some(tried.errno() == Some(errno)),
        }
    }

    fn depends_on_the_far_end(&self) -> bool {
        let mut checks = self.prediction.checks.iter();
        checks.any(|check| check.station == Station::Answer && check.verdict == Verdict::Maybe)
    }

    /// The kernel's word, or if nothing was tried, the prediction.
    pub fn result(&self) -> Expected {
        match &self.tried {
            Some(tried) => tried.errno().map_or(Expected::Ok, Expected::Fails),
            None => self.prediction.result,
        }
    }

    pub fn errno(&self) -> Option<Errno> {
        match self.result() {
            Expected::Fails(errno) => Some(errno),
            Expected::Ok | Expected::Unknown => None,
        }
    }
}

impl Answers {
    pub fn conclusion(&self) -> Conclusion {
        let any = |is: fn(&Answer) -> bool| self.answers.iter().any(is);
        if any(|answer| answer.agrees() == Some(false) || answer.result() == Expected::Unknown) {
            Conclusion::Unknown
        } else if any(|answer| answer.errno().is_some()) {
            Conclusion::Fails
        } else {
            Conclusion::Ok
        }
    }
}

#[cfg(test)]
mod tests;
