//! What decides about a question, looked up in the network namespace that it is about.

use std::{io, path::Path};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with};

use super::{NoAnswer, Person, Place, Question, UNKNOWN, Where, place, user_namespace::reach};
use crate::{
    event::{IfName, Op, Options, Requested, System, Unseen},
    explain::{
        self, Facts,
        listener::destination,
        predict::{Caller, Device, Network, Situation},
    },
    facts::{Gatherer, Namespace, Way, nothing},
    netns, nsfs,
    sockets::kernel::Kernel,
    source::ebpf::iterator,
};

/// The network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// Everything that a question's addresses have in common.
pub(super) struct Scene<'a> {
    question: &'a Question,
    person: &'a Person,
    /// `None` where another system is asked about
    namespace: Option<Namespace>,
    network: Network,
    device: Option<Device>,
    /// Where commands that are proposed must run
    standing: Option<explain::Namespace>,
    caller: Caller,
    gatherer: Gatherer,
}

impl<'a> Scene<'a> {
    pub(super) fn set(question: &'a Question, person: &'a Person) -> Result<Self, NoAnswer> {
        let (namespace, network) = if question.system == System::Linux {
            let (namespace, network) = enter(question, person)?;
            (Some(namespace), network)
        } else {
            (None, UNKNOWN)
        };
        let device = match (question.device, &namespace) {
            (Some(name), Some(namespace)) => Some(Device {
                name,
                index: index(namespace, name),
            }),
            _ => None,
        };
        let place = place(question, person);
        let gatherer = Gatherer::new(namespace.as_ref().and_then(|_| iterator()));
        Ok(Self {
            caller: Caller {
                tgid: match place {
                    Some(Where::OfProcess(tgid)) => tgid,
                    _ => person.caller.tgid,
                },
                ..person.caller.clone()
            },
            standing: standing(place, network.netns),
            question,
            person,
            namespace,
            network,
            device,
            gatherer,
        })
    }

    /// The question about one of its addresses.
    pub(super) fn situation(&mut self, place: &Place) -> Result<Situation, NoAnswer> {
        let to = Requested {
            ip: place.ip,
            port: self.question.port,
            scope_id: self.scope(place)?,
        };
        let v6only = match self.question.v6only {
            _ if to.ip.is_ipv4() => false,
            Some(v6only) => v6only,
            None => self.v6only_by_default(),
        };
        let Question {
            op,
            proto,
            reuseaddr,
            reuseport,
            freebind,
            ..
        } = *self.question;
        Ok(Situation {
            system: self.question.system,
            op,
            proto,
            to,
            options: Options {
                reuseaddr,
                reuseport,
                freebind,
                v6only,
                ..Options::default()
            },
            device: self.device,
            caller: self.caller.clone(),
            subject: self.person.subject,
            network: self.network,
            facts: self.facts(to),
        })
    }

    fn scope(&self, place: &Place) -> Result<u32, NoAnswer> {
        let Some(zone) = &place.zone else {
            return Ok(0);
        };
        if let Ok(number) = zone.parse() {
            return Ok(number);
        }
        let named = || index(self.namespace.as_ref()?, IfName::new(zone.as_bytes())?);
        named().ok_or_else(|| NoAnswer::Interface(zone.clone()))
    }

    /// `net.ipv6.bindv6only`
    fn v6only_by_default(&self) -> bool {
        let read = || std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only").ok();
        let visit = |namespace: &Namespace| namespace.as_ref().visit(read).ok().flatten();
        let text = self.namespace.as_ref().and_then(visit);
        text.is_some_and(|text| text.trim() == "1")
    }

    fn facts(&mut self, to: Requested) -> Facts {
        let Some(namespace) = &self.namespace else {
            return Facts::default();
        };
        let mut facts = Facts {
            namespace: self.standing.clone(),
            lsms: crate::facts::lsms(),
            ..Facts::default()
        };
        if let Err(error) = namespace.try_enter() {
            nothing(&mut facts, Unseen::from(&error));
            return facts;
        }
        let index = self.device.and_then(|device| device.index);
        let interface = Some(to.scope_id).filter(|scope| *scope != 0).or(index);
        facts.ports = namespace.ports();
        facts.address = namespace.address(to.ip, interface);
        let connect = self.question.op == Op::Connect;
        (facts.route, facts.neighbour) = namespace.route(Way {
            destination: if connect { destination(to.ip) } else { to.ip },
            source: None,
            // Which addresses are local does not depend on the socket's interface.
            interface: interface.filter(|_| connect),
            uid: Some(self.person.subject.euid),
        });
        if let Some(index) = interface {
            facts.interface = namespace.interface(index);
        }
        let proto = self.question.proto;
        facts.holders = self.gatherer.holders(namespace, proto, to.port);
        facts
    }
}

fn standing(place: Option<Where>, netns: Option<u32>) -> Option<explain::Namespace> {
    let own = netns::Namespace::own().ok()?.inode();
    if netns? == own {
        return Some(explain::Namespace::Own);
    }
    match place? {
        Where::Named(name) => Some(explain::Namespace::Named(name)),
        Where::OfProcess(_) => Some(explain::Namespace::Other),
        Where::File(_) => None,
    }
}

fn enter(question: &Question, person: &Person) -> Result<(Namespace, Network), NoAnswer> {
    let path = place(question, person).map_or_else(|| OWN.into(), |place| place.path());
    let failed = |error| NoAnswer::Namespace(path.clone(), error);
    let namespace = open(&path).map_err(failed)?;
    let owner = namespace.as_ref().owned_by();
    let network = Network {
        netns: Some(namespace.inode()),
        user_ns: owner.as_ref().and_then(nsfs::inode),
        reach: reach(owner, person.subject.user_ns),
        unprivileged_port_start: namespace.threshold(),
        ipv6: has_ipv6(),
    };
    Ok((namespace, network))
}

fn open(path: &Path) -> io::Result<Namespace> {
    let place = netns::Place {
        path: Some(path.to_owned()),
        tgid: None,
    };
    Ok(place.open()?.into())
}

/// Kernels without it, or with `ipv6.disable=1`, make no such socket in any namespace.
fn has_ipv6() -> bool {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, flags, None);
    socket.err() != Some(rustix::io::Errno::AFNOSUPPORT)
}

/// The kernel's own list of open descriptors, where this user may have it: it is complete, and a
/// hundredth of the work of a walk over /proc.
fn iterator() -> Option<Box<dyn Kernel>> {
    match iterator::open() {
        Ok(files) => Some(Box::new(files)),
        Err(error) => {
            log::info!("who holds a port is looked for in /proc: {error:#}");
            None
        }
    }
}

/// The number of an interface in a network namespace.
fn index(namespace: &Namespace, name: IfName) -> Option<u32> {
    let name = str::from_utf8(name.as_bytes()).ok()?;
    let look = || {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).ok()?;
        name_to_index(socket, name).ok()
    };
    namespace.as_ref().visit(look).ok()?
}
