//! On whose behalf it is asked, and what the kernel would know of them.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

use serde::{Deserialize, Serialize};

#[cfg(not(target_os = "linux"))]
use self::elsewhere::{Credentials, process};
#[cfg(target_os = "linux")]
use self::linux::{Credentials, process};
use crate::{
    event::Comm,
    explain::predict::{Caller, Subject},
    users::Users,
};

/// Whom a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever asks
    Caller,
    /// A user, as a login would make them
    User(u32),
    /// A process
    Process(u32),
}

/// The one a question is about, with what was found of them.
#[derive(Clone, Debug)]
pub struct Person {
    /// `alice`, `uid 4711`, `nginx (pid 812)`; not made harmless
    pub name: String,
    /// How it came to them, where that is not plain
    pub note: Option<&'static str>,
    pub caller: Caller,
    pub subject: Subject,
    /// Effective group
    pub gid: u32,
    /// Whether that is what portwatch itself runs with
    pub is_caller: bool,
    pub process: Option<u32>,
}

/// What a thread has to take on to make the same call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub cap_effective: u64,
}

/// Nobody of that kind is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPerson {
    #[error("there is no process {0}, or it may not be looked at")]
    Process(u32),
    #[error("/proc is not mounted")]
    Proc,
}

impl Person {
    pub fn find(who: Who, users: &mut Users) -> Result<Self, NoPerson> {
        let own = Credentials::of_pid(std::process::id()).ok_or(NoPerson::Proc)?;
        match who {
            Who::Process(tgid) => process(tgid),
            Who::User(uid) => Ok(Self::user(uid, &own, users)),
            Who::Caller => Ok(match sudo_user(&own) {
                Some(uid) => Self {
                    note: Some(THROUGH_SUDO),
                    ..Self::user(uid, &own, users)
                },
                None => Self::user_with(own.uid.effective, own.cap_effective, &own, users),
            }),
        }
    }

    /// A login: root has what the bounding set leaves, everybody else no capability.
    fn user(uid: u32, own: &Credentials, users: &mut Users) -> Self {
        let cap_effective = if uid == 0 { own.cap_bounding } else { 0 };
        Self::user_with(uid, cap_effective, own, users)
    }

    fn user_with(uid: u32, cap_effective: u64, own: &Credentials, users: &mut Users) -> Self {
        let name = users
            .name(uid)
            .map_or_else(|| format!("uid {uid}"), ToOwned::to_owned);
        Self {
            caller: Caller {
                comm: Comm::cut(name.as_bytes()),
                tgid: std::process::id(),
                process: None,
                cgroup: None,
            },
            name,
            note: None,
            subject: Subject {
                euid: uid,
                cap_effective: Some(cap_effective),
                ..subject(own)
            },
            // A group of the same number for a uid that nobody has.
            gid: uzers::get_user_by_uid(uid).map_or(uid, |user| user.primary_group_id()),
            is_caller: uid == own.uid.effective && cap_effective == own.cap_effective,
            process: None,
        }
    }
}

fn subject(credentials: &Credentials) -> Subject {
    Subject {
        euid: credentials.uid.effective,
        cap_effective: Some(credentials.cap_effective),
        user_ns: credentials.user_ns,
        // SECCOMP_MODE_FILTER, include/uapi/linux/seccomp.h
        seccomp: credentials.seccomp.map(|mode| mode == 2),
        cgroup_programs: None,
    }
}

const THROUGH_SUDO: &str =
    "asked through sudo, so about the user behind it; --user root asks about root";

/// Who called sudo, if portwatch runs as root through it (sudo(8), `SUDO_UID`).
fn sudo_user(own: &Credentials) -> Option<u32> {
    let uid = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    (own.uid.effective == 0 && uid != 0).then_some(uid)
}

impl Person {
    pub(super) fn identity(&self) -> Identity {
        Identity {
            uid: self.subject.euid,
            gid: self.gid,
            cap_effective: self.subject.cap_effective.unwrap_or(0),
        }
    }
}

impl Person {
    /// The process, if its user namespace is not portwatch's own.
    pub(super) fn in_another_user_namespace(&self) -> Option<u32> {
        let own = Credentials::of_pid(std::process::id())?.user_ns;
        self.process.filter(|_| self.subject.user_ns != own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_not_given_what_portwatch_has() {
        let mut users = Users::with_lookups(|_| None, |_| None);
        let person = Person::find(Who::User(4_000_000), &mut users).unwrap();
        assert_eq!(person.name, "uid 4000000");
        assert_eq!(person.subject.cap_effective, Some(0));
        assert!(!person.is_caller);
        let gone = Person::find(Who::Process(u32::MAX), &mut users);
        assert_eq!(gone.unwrap_err(), NoPerson::Process(u32::MAX));
    }
}
