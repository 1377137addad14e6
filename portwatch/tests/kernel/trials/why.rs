//! `portwatch why` against the kernel: what it predicts is what happens.
//!
//! Every case is a command line. Most go through the library, in a network namespace of the
//! trial's own; some through the command, also in other user namespaces.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::fd::{AsRawFd as _, OwnedFd},
    process::{ChildStdin, Command},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;
use libtest_mimic::{Completion, Trial};
use portwatch::{
    cli::{self, Cli},
    errno::Errno,
    explain::predict::{Expected, Prediction},
    users::Users,
    why::{self, Question},
};
use rustix::{
    net::{SocketType, sockopt},
    thread::CapabilitySet,
};

use super::super::{
    process::{Process, next_line},
    source, sys, timing,
    workload::{CONFINED, DWELLER, FLAG, USER, hide_ipv6},
};

type Test = fn() -> Result<()>;

const TRIALS: [(&str, Test); 10] = [
    ("why::agrees_about_ports", ports),
    ("why::agrees_about_addresses", addresses),
    ("why::agrees_about_a_new_namespace", new_namespace),
    ("why::agrees_without_ipv6", without_ipv6),
    ("why::agrees_about_shared_ports", shared_ports),
    ("why::agrees_about_listeners_and_owners", owners),
    ("why::agrees_about_connections", connections),
    ("why::agrees_about_connects", connects),
    ("why::agrees_about_a_listener_without_room", listeners),
    ("why::the_command_agrees", command),
];

pub(super) fn all() -> impl Iterator<Item = Trial> {
    TRIALS.into_iter().map(|(name, test)| {
        timing::trial(name.to_owned(), move || {
            test().map(|()| Completion::Completed)
        })
    })
}

/// Predictions that were compared, and those that were wrong.
#[derive(Default)]
struct Tally {
    /// Every so-manieth question is asked, or each
    share: Option<u32>,
    questions: u32,
    compared: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// Of many questions. In emulation each takes most of a second: there a quarter of them, from all over
    /// the list; this machine is asked each.
    fn of_many() -> Self {
        Self {
            share: source::is_emulated().then_some(4),
            ..Self::default()
        }
    }

    /// Whether it is the next question's turn: without a pattern that would leave out the same of each kind.
    fn is_its_turn(&mut self) -> bool {
        const SCATTER: u32 = 0x9e37_79b9;
        self.questions += 1;
        let drawn = self.questions.wrapping_mul(SCATTER) >> 16;
        self.share.is_none_or(|share| drawn.is_multiple_of(share))
    }

    /// Asks, and tries on a thread of its own, which may then be somebody else.
    fn ask(&mut self, words: &str) -> Result<()> {
        if !self.is_its_turn() {
            return Ok(());
        }
        let mut users = Users::new();
        let question = Question::new(&typed(words)?, &users)?;
        let mut answers = why::answer(&question, &mut users).with_context(|| words.to_owned())?;
        for answer in &mut answers.answers {
            let order = why::order(&question, &answers.person, &answer.situation);
            let tried = std::thread::scope(|scope| scope.spawn(|| order.perform()).join());
            let tried = tried.map_err(|_| anyhow::anyhow!("the trial panicked"))?;
            answer.tried = Some(tried.with_context(|| words.to_owned())?);
            self.compared += 1;
            if answer.agrees() != Some(true) && !is_left_behind(&answer.prediction) {
                self.wrong.push(format!(
                    "{words}: {:?} was predicted, {:?} came\n  {:?}",
                    answer.prediction.result, answer.tried, answer.prediction.checks
                ));
            }
            if is_nobodys(&answer.prediction) {
                let cause = &answer.prediction.cause;
                self.wrong
                    .push(format!("{words}: nobody is named: {cause:?}"));
            }
        }
        Ok(())
    }

    fn finish(self, at_least: usize) -> Result<()> {
        let Self {
            share,
            compared,
            wrong,
            ..
        } = self;
        // A quarter is, without a pattern, more than a fifth.
        let at_least = share.map_or(at_least, |share| at_least / (share as usize + 1));
        ensure!(
            wrong.is_empty(),
            "{} of {compared} predictions were wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        ensure!(compared >= at_least, "only {compared} were compared");
        Ok(())
    }
}

/// Whether what is left of a connection decides: the kernel tells nothing of its options.
fn is_left_behind(prediction: &Prediction) -> bool {
    let mut checks = prediction.checks.iter();
    prediction.result == Expected::Unknown && checks.any(|check| check.detail.contains("time_wait"))
}

/// Whether the port is said to be in use, and not by whom: here all is there to be seen.
fn is_nobodys(prediction: &Prediction) -> bool {
    let cause = prediction.cause.as_ref();
    prediction.result == Expected::Fails(Errno::EADDRINUSE)
        && cause.is_none_or(|cause| cause.holders.is_empty())
}

fn typed(words: &str) -> Result<cli::Why> {
    let words = ["portwatch", "why"]
        .into_iter()
        .chain(words.split_whitespace());
    match Cli::try_parse_from(words)?.command {
        Some(cli::Command::Why(typed)) => Ok(typed),
        _ => bail!("no question"),
    }
}

/// Who asks: root, an ordinary user, and one of them who holds the capability.
struct Cast {
    capable: Settled,
}

impl Cast {
    fn assemble() -> Result<Self> {
        let bits = CapabilitySet::NET_BIND_SERVICE.bits().to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args([FLAG, CONFINED, &bits, "cat"]);
        Ok(Self {
            capable: settled(&mut command)?,
        })
    }

    fn parts(&self) -> [String; 3] {
        [
            "--user root".to_owned(),
            format!("--user {USER}"),
            format!(
                "--pid {} --netns /proc/thread-self/ns/net",
                self.capable.process.pid()
            ),
        ]
    }
}

/// A process that has become what it is to be, and repeats what it is told. It ends with its input.
struct Settled {
    process: Process,
    _input: ChildStdin,
}

fn settled(command: &mut Command) -> Result<Settled> {
    let mut process = Process::spawn(command)?;
    let mut input = process.stdin()?;
    // If it has ended, its last words say why.
    drop(input.write_all(b"ready\n"));
    match next_line(&mut process.stdout()?)?.as_deref() {
        Some("ready") => Ok(Settled {
            process,
            _input: input,
        }),
        _ => Err(process.obituary()),
    }
}

/// Who may have which port.
fn ports() -> Result<()> {
    sys::in_own_netns(|| {
        let cast = Cast::assemble()?;
        let mut tally = Tally::of_many();
        for start in ["0", "80", "1024"] {
            sys::set_net("ipv4/ip_unprivileged_port_start", start)?;
            for who in cast.parts() {
                for address in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
                    for port in ["79", "80", "1024", "0"] {
                        for proto in ["", "--udp"] {
                            tally.ask(&format!("{address}:{port} {proto} {who}"))?;
                        }
                    }
                }
            }
        }
        tally.finish(216)
    })
}

const ADDRESSES: [&str; 17] = [
    "0.0.0.0",
    "127.0.0.1",
    "127.9.9.9",
    "0.1.2.3",
    "198.51.100.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[2001:db8::1]",
    "[::ffff:0.0.0.0]",
    "[::ffff:127.0.0.1]",
    "[::ffff:198.51.100.1]",
    "[ff01::1]",
    "[ff02::1]",
    "[ff05::1]",
    "[ff0e::1]",
];

/// Which addresses can be had, and which error comes first.
fn addresses() -> Result<()> {
    const OPTIONS: [&str; 6] = [
        "",
        "--freebind",
        "--v6only",
        "--dual-stack",
        "--device lo",
        "--device nosuch",
    ];
    sys::in_own_netns(|| {
        let mut tally = Tally::of_many();
        let everything = |tally: &mut Tally, options: &str| -> Result<()> {
            for address in ADDRESSES {
                for proto in ["", "--udp"] {
                    tally.ask(&format!("{address}:80 {proto} {options} --user {USER}"))?;
                    tally.ask(&format!("{address}:8080 {proto} {options}"))?;
                }
            }
            Ok(())
        };
        for options in OPTIONS {
            everything(&mut tally, options)?;
        }
        for address in [
            "[fe80::1]",
            "[fe80::1%lo]",
            "[fe80::1%77]",
            "[ff02::1%lo]",
            "[ff02::1%77]",
        ] {
            for proto in ["", "--udp"] {
                tally.ask(&format!("{address}:8080 {proto}"))?;
            }
        }
        for family in ["ipv4", "ipv6"] {
            sys::set_net(&format!("{family}/ip_nonlocal_bind"), "1")?;
        }
        sys::set_net("ipv6/bindv6only", "1")?;
        everything(&mut tally, "")?;
        tally.finish(400)
    })
}

/// Before its first address a network namespace takes every IPv4 one.
fn new_namespace() -> Result<()> {
    sys::in_empty_netns(|| {
        let mut tally = Tally::of_many();
        let everything = |tally: &mut Tally| -> Result<()> {
            for address in ADDRESSES {
                for proto in ["", "--udp"] {
                    for options in ["", "--device lo", "--v6only"] {
                        tally.ask(&format!("{address}:8080 {proto} {options}"))?;
                        tally.ask(&format!("{address}:80 {proto} {options} --user {USER}"))?;
                    }
                }
            }
            Ok(())
        };
        everything(&mut tally)?;
        sys::raise_loopback()?;
        everything(&mut tally)?;
        tally.finish(360)
    })
}

/// As with ipv6.disable=1.
fn without_ipv6() -> Result<()> {
    sys::in_own_netns(|| {
        hide_ipv6()?;
        let mut tally = Tally::default();
        for address in ["[::]", "[::1]", "[::ffff:127.0.0.1]", "127.0.0.1"] {
            for options in ["", "--udp", "--connect", "--udp --connect"] {
                tally.ask(&format!("{address}:8080 {options}"))?;
            }
        }
        tally.finish(16)
    })
}

/// Which sockets can have a port together.
fn shared_ports() -> Result<()> {
    const PLACES: [&str; 7] = [
        "0.0.0.0",
        "127.0.0.1",
        "[::] --v6only",
        "[::] --dual-stack",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.0.0.1 --device lo",
    ];
    const SHARING: [&str; 4] = ["", "--reuseaddr", "--reuseport", "--reuseaddr --reuseport"];
    sys::in_own_netns(|| {
        let mut tally = Tally::of_many();
        for proto in ["", "--udp"] {
            for held in PLACES {
                for sharing in SHARING {
                    let holder = hold(&format!("{proto} {sharing}"), held)?;
                    for new in PLACES {
                        // Between those that differ in nothing but the options, all; else the
                        // ones that decide.
                        for wanted in SHARING {
                            if held == new || wanted == sharing {
                                let (address, options) = split(new);
                                tally.ask(&format!("{address}:7000 {options} {proto} {wanted}"))?;
                            }
                        }
                    }
                    drop(holder);
                }
            }
        }
        tally.finish(500)
    })
}

fn split(place: &str) -> (&str, &str) {
    place.split_once(' ').unwrap_or((place, ""))
}

/// A socket on port 7000, made as a command line says it.
fn hold(options: &str, place: &str) -> Result<OwnedFd> {
    let (address, more) = split(place);
    let typed = typed(&format!("{address}:7000 {options} {more}"))?;
    let address: std::net::SocketAddr = typed.target.parse()?;
    let family = if address.is_ipv4() {
        rustix::net::AddressFamily::INET
    } else {
        rustix::net::AddressFamily::INET6
    };
    let kind = if typed.udp {
        SocketType::DGRAM
    } else {
        SocketType::STREAM
    };
    let socket = rustix::net::socket(family, kind, None)?;
    sockopt::set_socket_reuseaddr(&socket, typed.reuseaddr)?;
    sockopt::set_socket_reuseport(&socket, typed.reuseport)?;
    if address.is_ipv6() && (typed.v6only || typed.dual_stack) {
        sockopt::set_ipv6_v6only(&socket, typed.v6only)?;
    }
    if let Some(device) = &typed.device {
        sys::bind_to_device(&socket, device)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Holders that listen, and holders of other users.
fn owners() -> Result<()> {
    sys::in_own_netns(|| {
        let mut tally = Tally::of_many();
        for place in ["0.0.0.0", "127.0.0.1", "[::] --dual-stack", "[::1]"] {
            for sharing in ["", "--reuseaddr", "--reuseport", "--reuseaddr --reuseport"] {
                let holder = hold(sharing, place)?;
                let ask = |tally: &mut Tally| -> Result<()> {
                    for who in ["--user root".to_owned(), format!("--user {USER}")] {
                        let (address, options) = split(place);
                        tally.ask(&format!("{address}:7000 {options} {sharing} {who}"))?;
                        tally.ask(&format!("127.0.0.1:7000 {sharing} {who}"))?;
                    }
                    Ok(())
                };
                ask(&mut tally)?;
                rustix::net::listen(&holder, 1)?;
                ask(&mut tally)?;
            }
        }
        tally.finish(128)
    })
}

/// Connections that are in the way of a server, though nobody listens any more.
fn connections() -> Result<()> {
    const PLACES: [&str; 6] = [
        "0.0.0.0",
        "127.0.0.1",
        "[::] --v6only",
        "[::] --dual-stack",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ];
    sys::in_own_netns(|| {
        let mut tally = Tally::of_many();
        for (place, peer) in [
            ("[::] --dual-stack", "[::1]:7000"),
            ("[::] --dual-stack", "127.0.0.1:7000"),
            ("[::] --v6only", "[::1]:7000"),
            ("0.0.0.0", "127.0.0.1:7000"),
        ] {
            let listener = hold("--reuseaddr", place)?;
            rustix::net::listen(&listener, 8)?;
            let client = TcpStream::connect(peer)?;
            let accepted = rustix::net::accept(&listener)?;
            drop(listener);
            let ask = |tally: &mut Tally| -> Result<()> {
                for wanted in PLACES {
                    let (address, options) = split(wanted);
                    for sharing in ["", "--reuseaddr"] {
                        tally.ask(&format!("{address}:7000 {options} {sharing}"))?;
                    }
                }
                Ok(())
            };
            ask(&mut tally)?;
            // Whoever closes first is left in TIME_WAIT, once the other one has closed too.
            drop(accepted);
            ensure!((&client).read(&mut [0])? == 0, "the far end is open");
            drop(client);
            ask(&mut tally)?;
        }
        tally.finish(96)
    })
}

/// A listener that has room for one connection, and then for none.
fn listeners() -> Result<()> {
    sys::in_own_netns(|| {
        let mut tally = Tally::default();
        let full = hold("", "127.0.0.1")?;
        rustix::net::listen(&full, 0)?;
        tally.ask("127.0.0.1:7000 --connect")?;
        // The connection that was tried stays in the queue, which has one place.
        sys::wait_for_connection(full.as_raw_fd())?;
        tally.ask("127.0.0.1:7000 --connect")?;
        tally.finish(2)
    })
}

/// Connects that this host alone decides about: nothing leaves the namespace, which has no way out.
fn connects() -> Result<()> {
    sys::in_own_netns(|| {
        let mut tally = Tally::of_many();
        for listening in [
            "",
            "0.0.0.0",
            "127.0.0.1",
            "[::] --v6only",
            "[::] --dual-stack",
            "[::1]",
        ] {
            let listener = if listening.is_empty() {
                None
            } else {
                let listener = hold("", listening)?;
                rustix::net::listen(&listener, 64)?;
                Some(listener)
            };
            for address in ADDRESSES {
                for proto in ["", "--udp"] {
                    tally.ask(&format!("{address}:7000 {proto} --connect"))?;
                }
            }
            drop(listener);
        }
        tally.finish(180)
    })
}

/// The command itself, and processes in user namespaces of their own.
fn command() -> Result<()> {
    sys::in_own_netns(|| {
        let cast = Cast::assemble()?;
        let dweller = |kind: &str| {
            let mut command = Command::new(std::env::current_exe()?);
            settled(command.args([FLAG, DWELLER, kind]))
        };
        // One has a user namespace and shares the network namespace, one has both.
        let dwellers = [dweller("guest")?, dweller("resident")?];
        let [guest, resident] = dwellers.each_ref().map(|dweller| dweller.process.pid());
        let capable = cast.capable.process.pid();
        for (words, expected) in [
            ("80 --user root".to_owned(), 0),
            (format!("80 --user {USER}"), 5),
            (format!("127.0.0.1:8080 --user {USER}"), 0),
            (format!("127.0.0.1:80 --pid {capable}"), 0),
            ("198.51.100.1:80".to_owned(), 5),
            ("198.51.100.1:80 --freebind".to_owned(), 0),
            ("[::ffff:127.0.0.1]:80 --v6only".to_owned(), 5),
            ("localhost:1 --connect".to_owned(), 5),
            // All capabilities, and none that counts here.
            (format!("127.0.0.1:80 --pid {guest}"), 5),
            (format!("127.0.0.1:8080 --pid {guest}"), 0),
            (format!("0.0.0.0:80 --pid {resident}"), 0),
            // Whoever made a user namespace is everything in it.
            (
                format!("0.0.0.0:80 --user {USER} --netns pid:{resident}"),
                0,
            ),
            (format!("0.0.0.0:80 --user 65534 --netns pid:{resident}"), 5),
            (format!("0.0.0.0:80 --user root --netns pid:{resident}"), 0),
            (
                format!("0.0.0.0:80 --pid {guest} --netns pid:{resident}"),
                5,
            ),
        ] {
            by_command(&words, expected)?;
        }
        Ok(())
    })
}

fn by_command(words: &str, expected: i32) -> Result<()> {
    let mut command = Command::new(source::binary()?);
    command
        .args(["why", "--try"])
        .args(words.split_whitespace());
    let mut process = Process::spawn(&mut command)?;
    let mut stdout = String::new();
    process.stdout()?.read_to_string(&mut stdout)?;
    let ended = process.wait()?;
    ensure!(
        ended.code == expected && stdout.contains(", as predicted"),
        "{words}: exit code {}, expected {expected}\n{stdout}{}",
        ended.code,
        ended.stderr
    );
    Ok(())
}
