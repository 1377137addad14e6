//! macOS: its rules need who asks, the version and the address, and whether the Mac has it.

use std::net::{SocketAddr, ToSocketAddrs as _};

use super::{NoAnswer, Person, Place, Question, UNKNOWN, here};
use crate::{
    event::{Options, Requested, System},
    explain::{Facts, predict::Situation},
};

/// Everything that a question's addresses have in common.
pub(super) struct Scene<'a> {
    question: &'a Question,
    person: &'a Person,
}

impl<'a> Scene<'a> {
    pub(super) const fn set(question: &'a Question, person: &'a Person) -> Result<Self, NoAnswer> {
        Ok(Self { question, person })
    }

    /// The question about one of its addresses.
    pub(super) fn situation(&mut self, place: &Place) -> Result<Situation, NoAnswer> {
        let Question {
            system,
            op,
            proto,
            port,
            reuseaddr,
            reuseport,
            freebind,
            v6only,
            ..
        } = *self.question;
        let to = Requested {
            ip: place.ip,
            port,
            scope_id: scope(place)?,
        };
        Ok(Situation {
            system,
            op,
            proto,
            to,
            options: Options {
                reuseaddr,
                reuseport,
                freebind,
                v6only: v6only.unwrap_or(false),
                ..Options::default()
            },
            device: None,
            caller: self.person.caller.clone(),
            subject: self.person.subject,
            network: UNKNOWN,
            facts: Facts {
                host_has_address: match system {
                    System::MacOs(_) => here::has(to),
                    System::Linux => None,
                },
                ..Facts::default()
            },
        })
    }
}

/// The number of the interface that was typed behind the address, as getaddrinfo(3) knows it.
fn scope(place: &Place) -> Result<u32, NoAnswer> {
    let Some(zone) = &place.zone else {
        return Ok(0);
    };
    let found = (place.to_string(), 0).to_socket_addrs().ok();
    let number = found
        .into_iter()
        .flatten()
        .find_map(|address| match address {
            SocketAddr::V6(address) => Some(address.scope_id()),
            SocketAddr::V4(_) => None,
        });
    number.ok_or_else(|| NoAnswer::Interface(zone.clone()))
}
