//! What can be asked of an attempt, and the values that it is compared with.

use std::{
    borrow::Cow,
    fmt,
    net::IpAddr,
    str::{self, FromStr},
};

use ipnet::IpNet;

use super::{Names, SoFar, glob::Glob};
use crate::{
    alike::{nearest, suggestion},
    errno::Errno,
    event::{Attempt, Cgroup, Family, Op, Outcome, Proto},
};

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident $name:literal $expects:literal)*) => {
        /// What can be asked of an attempt. Each has an option of its name, but `outcome`
        /// (`--failed`), `family` (`-4`, `-6`) and `role` (`--listeners`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field { $($(#[$doc])* $field,)* }

        impl Field {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$field),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$field => $name,)* }
            }

            /// What its values look like.
            pub const fn expects(self) -> &'static str {
                match self { $(Self::$field => $expects,)* }
            }
        }
    };
}

fields! {
    Pid "pid" "a process id from 1, or a range of them (100-200)"
    /// A process and all that come of it
    PpidTree "ppid-tree" "a process id from 1"
    /// The effective user, or the real one where that is not known
    User "user" "a user's name or number, or a range of numbers (1000-1999)"
    Comm "comm" "a command name, which may hold * and ?"
    /// The port asked for; of a bind to port 0, and of a listen, the one given
    Port "port" "a port from 1 to 65535, or a range of them (8000-8100)"
    /// The socket's own port: of a connect, the local one
    Lport "lport" "a port from 1 to 65535, or a range of them (8000-8100)"
    /// Of a connect, the port of the far end
    Dport "dport" "a port from 1 to 65535, or a range of them (8000-8100)"
    /// The address asked for
    Addr "addr" "an address, or a network (10.0.0.0/8, fe80::/10)"
    Family "family" "ipv4, ipv6, unspec, or the number of a family"
    Proto "proto" "a protocol (tcp, udp, sctp, raw …) or its number"
    Op "op" "bind, connect or listen"
    Outcome "outcome" "ok, failed, pending or abandoned"
    Errno "errno" "the name of an error (EACCES) or its number"
    /// Of the socket
    Netns "netns" "a network namespace: its inode, its name, its path, or pid:N"
    /// And all below it
    Cgroup "cgroup" "a path in the cgroup v2 tree (/system.slice)"
    Container "container" "the id of a container, the beginning of one, or a name"
    Unit "unit" "a systemd unit, which may hold * and ?"
    Role "role" "server or client"
}

impl Field {
    pub(super) fn named(name: &str) -> Option<Self> {
        if name == "uid" {
            return Some(Self::User);
        }
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Whether it is told by how an attempt ends, and by nothing before.
    pub(super) const fn is_of_the_end(self) -> bool {
        matches!(self, Self::Outcome | Self::Errno)
    }

    /// What was perhaps meant by a name that no field has: another field, or what an option asks for
    /// that is none.
    pub(super) fn nearest(name: &str) -> Option<&'static str> {
        const OPTIONS: [(&str, &str); 5] = [
            ("failed", "outcome=failed"),
            ("ipv4", "family=ipv4"),
            ("ipv6", "family=ipv6"),
            ("listeners", "role=server"),
            ("no-loopback", "addr!=127.0.0.0/8,::1"),
        ];
        let option = OPTIONS.into_iter().find(|(option, _)| *option == name);
        let fields = || Self::ALL.into_iter().map(Self::name).chain(["uid", "not"]);
        option
            .map(|(_, test)| test)
            .or_else(|| nearest(name, fields()))
    }

    /// Its values, where they are names of its own.
    fn named_values(self) -> Vec<&'static str> {
        match self {
            Self::Family => [Family::Ipv4, Family::Ipv6, Family::Unspec]
                .map(Family::name)
                .into(),
            Self::Proto => Proto::names().collect(),
            Self::Op => Op::ALL.map(Op::name).into(),
            Self::Outcome => Outcome::ALL.map(Outcome::name).into(),
            Self::Role => Role::ALL.map(Role::name).into(),
            Self::Errno => Errno::named().filter_map(Errno::name).collect(),
            _ => Vec::new(),
        }
    }
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Pid(Span<u32>),
    PpidTree(u32),
    User(Span<u32>),
    Comm(Glob),
    Port(Span<u16>),
    Lport(Span<u16>),
    Dport(Span<u16>),
    Addr(IpNet),
    Family(Family),
    Proto(Proto),
    Op(Op),
    Outcome(Outcome),
    Errno(Errno),
    /// Its inode
    Netns(u32),
    /// Without a slash at its end: empty for the root
    Cgroup(Box<str>),
    Container(Box<str>),
    Unit(Glob),
    Role(Role),
}

/// What an attempt is for, as far as it shows at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A listen, or a bind to a port that was asked for
    Server,
    /// A connect, or a bind to port 0
    Client,
}

impl Value {
    /// Reads one value. `word` may hold backslashes, which take the next character as it is.
    pub(super) fn parse(field: Field, word: &str, names: &dyn Names) -> Result<Self, String> {
        let text = &*unescaped(word);
        let lower = text.to_ascii_lowercase();
        let value = match field {
            Field::Pid => Span::parse(text, 1).map(Self::Pid),
            Field::PpidTree => number(text).filter(|&pid| pid > 0).map(Self::PpidTree),
            Field::User => return user(text, names),
            Field::Comm => Some(Self::Comm(Glob::new(word))),
            Field::Port => Span::parse(text, 1).map(Self::Port),
            Field::Lport => Span::parse(text, 1).map(Self::Lport),
            Field::Dport => Span::parse(text, 1).map(Self::Dport),
            Field::Addr => net(text).map(Self::Addr),
            Field::Family => family(&lower, names).map(Self::Family),
            Field::Proto => proto(&lower).map(Self::Proto),
            Field::Op => Op::ALL
                .into_iter()
                .find(|op| op.name() == lower)
                .map(Self::Op),
            Field::Outcome => Outcome::ALL
                .into_iter()
                .find(|outcome| outcome.name() == lower)
                .map(Self::Outcome),
            Field::Errno => errno(text, names).map(Self::Errno),
            Field::Netns => match number(text) {
                Some(inode) => Some(Self::Netns(inode)),
                None => return names.netns(text).map(Self::Netns),
            },
            Field::Cgroup => cgroup(text).map(Self::Cgroup),
            Field::Container => Some(Self::Container(match names.container(text) {
                Some(id) => id.into(),
                None => text.into(),
            })),
            Field::Unit => Some(Self::Unit(Glob::new(&unit(word)))),
            Field::Role => Role::ALL
                .into_iter()
                .find(|role| role.name() == lower)
                .map(Self::Role),
        };
        value.ok_or_else(|| {
            let suggestion = suggestion(text, &field.named_values());
            format!("expected {}{suggestion}", field.expects())
        })
    }

    /// Whether that is the attempt's. What is not known of it matches nothing.
    pub(super) fn matches(&self, attempt: &Attempt, so_far: SoFar) -> bool {
        match self {
            Self::Pid(pids) => pids.contains(attempt.tgid),
            Self::PpidTree(root) => is_below(attempt, *root),
            Self::User(uids) => uids.contains(attempt.euid.unwrap_or(attempt.uid)),
            Self::Comm(glob) => glob.matches(attempt.comm.as_bytes()),
            Self::Port(ports) => port(attempt).is_some_and(|port| ports.contains(port)),
            Self::Lport(ports) => lport(attempt).is_some_and(|port| ports.contains(port)),
            Self::Dport(ports) => dport(attempt).is_some_and(|port| ports.contains(port)),
            Self::Addr(net) => attempt.requested.is_some_and(|asked| is_in(asked.ip, *net)),
            Self::Family(family) => attempt.family == Some(*family),
            Self::Proto(proto) => attempt.proto == Some(*proto),
            Self::Op(op) => attempt.op == *op,
            Self::Outcome(outcome) => so_far.outcome(attempt) == *outcome,
            Self::Errno(errno) => so_far.errno(attempt) == Some(*errno),
            Self::Netns(inode) => attempt.netns == Some(*inode),
            Self::Cgroup(_) | Self::Container(_) | Self::Unit(_) => {
                let cgroup = attempt.cgroup.as_deref();
                cgroup.is_some_and(|cgroup| self.is_of(cgroup))
            }
            Self::Role(wanted) => role(attempt) == Some(*wanted),
        }
    }

    /// Whether that is the cgroup's, its container's or its unit's.
    pub(super) fn is_of(&self, cgroup: &Cgroup) -> bool {
        match self {
            Self::Cgroup(path) => is_at_or_below(&cgroup.path, path),
            Self::Container(wanted) => {
                let container = cgroup.container.as_ref();
                container.is_some_and(|container| is_id(&container.id, wanted))
            }
            Self::Unit(glob) => {
                let unit = cgroup.unit.as_ref();
                unit.is_some_and(|unit| glob.matches(unit.as_bytes()))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Value {
    /// As an expression takes it; what was looked up is a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(span) | Self::User(span) => span.fmt(f),
            Self::Port(span) | Self::Lport(span) | Self::Dport(span) => span.fmt(f),
            Self::PpidTree(number) | Self::Netns(number) => number.fmt(f),
            Self::Comm(glob) | Self::Unit(glob) => quote(f, &glob.to_string()),
            Self::Addr(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Addr(net) => net.fmt(f),
            Self::Family(Family::Other(number)) => number.fmt(f),
            Self::Family(family) => f.write_str(family.name()),
            Self::Proto(proto) => match (proto.name(), proto) {
                (Some(name), _) => f.write_str(name),
                (None, Proto::Ip(number)) => number.fmt(f),
                (None, Proto::Raw) => Ok(()),
            },
            Self::Op(op) => f.write_str(op.name()),
            Self::Outcome(outcome) => f.write_str(outcome.name()),
            Self::Errno(errno) => match errno.name() {
                Some(name) => f.write_str(name),
                None => errno.number().fmt(f),
            },
            Self::Cgroup(path) if path.is_empty() => f.write_str("/"),
            Self::Cgroup(text) | Self::Container(text) => quote(f, &escaped(text)),
            Self::Role(role) => f.write_str(role.name()),
        }
    }
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Server, Self::Client];

    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// Numbers from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<T> {
    pub first: T,
    pub last: T,
}

impl<T: Copy + PartialOrd + FromStr> Span<T> {
    /// `80`, `8000-8100`
    fn parse(text: &str, min: T) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        (min <= first && first <= last).then_some(Self { first, last })
    }

    pub fn contains(self, number: T) -> bool {
        self.first <= number && number <= self.last
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for Span<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last {
            return first.fmt(f);
        }
        write!(f, "{first}-{last}")
    }
}

/// Digits alone: no sign, no space.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A name may hold digits and hyphens too, so what can be a number is one.
fn user(text: &str, names: &dyn Names) -> Result<Value, String> {
    if let Some(span) = Span::parse(text, 0) {
        return Ok(Value::User(span));
    }
    let uid = names.user(text).ok_or_else(|| {
        format!("there is no user `{text}` on this host; a number works without a name")
    })?;
    Ok(Value::User(Span {
        first: uid,
        last: uid,
    }))
}

fn net(text: &str) -> Option<IpNet> {
    let net: Option<IpNet> = text.parse().ok();
    let net = net.or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)));
    net.map(|net| net.trunc())
}

fn family(text: &str, host: &dyn Names) -> Option<Family> {
    // bsd/sys/socket.h; include/linux/socket.h
    let inet6 = if host.numbers_are_darwins() { 30 } else { 10 };
    let named = [Family::Ipv4, Family::Ipv6, Family::Unspec];
    let named = named.into_iter().find(|family| family.name() == text);
    named.or_else(|| {
        Some(match number(text)? {
            0 => Family::Unspec,
            2 => Family::Ipv4,
            number if number == inet6 => Family::Ipv6,
            number => Family::Other(number),
        })
    })
}

fn proto(text: &str) -> Option<Proto> {
    Proto::named(text).or_else(|| number(text).map(Proto::Ip))
}

/// `EACCES`, `13`, or as the kernel returns it: `-13`.
fn errno(text: &str, host: &dyn Names) -> Option<Errno> {
    let name = text.to_ascii_uppercase();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if host.numbers_are_darwins() {
        return Errno::from_darwin_name(&name)
            .or_else(|| Errno::from_darwin_ret(-number::<i32>(digits)?));
    }
    Errno::from_name(&name).or_else(|| Errno::from_ret(-number::<i32>(digits)?))
}

/// As the tree has it; where it is usually mounted does not matter.
fn cgroup(text: &str) -> Option<Box<str>> {
    let path = text.strip_prefix("/sys/fs/cgroup").unwrap_or(text);
    let is_path = text.starts_with('/') && (path.is_empty() || path.starts_with('/'));
    is_path.then(|| path.trim_end_matches('/').into())
}

/// What systemctl takes a name without a suffix for (systemd.unit(5)).
fn unit(word: &str) -> Cow<'_, str> {
    const SUFFIXES: [&str; 11] = [
        "service",
        "socket",
        "device",
        "mount",
        "automount",
        "swap",
        "target",
        "path",
        "timer",
        "slice",
        "scope",
    ];
    match word.rsplit_once('.') {
        Some((_, suffix)) if SUFFIXES.contains(&suffix) => word.into(),
        _ if word.ends_with('*') => word.into(),
        _ => format!("{word}.service").into(),
    }
}

fn port(attempt: &Attempt) -> Option<u16> {
    match (attempt.op, attempt.requested) {
        (_, Some(asked)) if asked.port != 0 => Some(asked.port),
        (Op::Bind, Some(_)) | (Op::Listen, _) => attempt.local?.port,
        _ => None,
    }
}

fn lport(attempt: &Attempt) -> Option<u16> {
    match attempt.op {
        Op::Bind | Op::Listen => port(attempt),
        Op::Connect => attempt.local?.port,
    }
}

fn dport(attempt: &Attempt) -> Option<u16> {
    match attempt.op {
        Op::Connect => port(attempt),
        Op::Bind | Op::Listen => None,
    }
}

/// An IPv4 address within IPv6 (`::ffff:10.0.0.1`) is in both kinds of networks.
fn is_in(ip: IpAddr, net: IpNet) -> bool {
    net.contains(&ip) || net.contains(&ip.to_canonical())
}

fn is_below(attempt: &Attempt, root: u32) -> bool {
    let ancestors = attempt.ancestors.as_deref().unwrap_or_default();
    attempt.tgid == root || attempt.ppid == Some(root) || ancestors.contains(&root)
}

fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The name or id itself or, as docker takes it, the beginning of an id.
fn is_id(id: &str, wanted: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    id == wanted
        || (id.len() == ID_LENGTH && is_hex(id) && !wanted.is_empty() && id.starts_with(wanted))
}

/// Of the ids of containers: 256 bits in hexadecimal digits.
const ID_LENGTH: usize = 64;

fn role(attempt: &Attempt) -> Option<Role> {
    match attempt.op {
        Op::Listen => Some(Role::Server),
        Op::Connect => Some(Role::Client),
        Op::Bind => Some(match attempt.requested?.port {
            0 => Role::Client,
            _ => Role::Server,
        }),
    }
}

/// Without the backslashes that take the next character as it is.
fn unescaped(word: &str) -> Cow<'_, str> {
    if !word.contains('\\') {
        return word.into();
    }
    let mut chars = word.chars();
    let char = || {
        Some(match chars.next()? {
            '\\' => chars.next().unwrap_or('\\'),
            char => char,
        })
    };
    std::iter::from_fn(char).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"")
}

/// Writes a word with its backslashes, in quotes where an expression would end it early.
fn quote(f: &mut fmt::Formatter<'_>, word: &str) -> fmt::Result {
    let ends = |char: char| char.is_whitespace() || matches!(char, ',' | '(' | ')' | '!');
    if word.is_empty() || word.contains(ends) {
        write!(f, "\"{word}\"")
    } else {
        f.write_str(word)
    }
}
