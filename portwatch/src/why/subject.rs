//! On whose behalf it is asked, and what the kernel would know of them.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::user_namespace;
use crate::{explain::predict::Subject, users::Users};

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
    pub note: Option<String>,
    pub subject: Subject,
    pub identity: Identity,
    /// Whether that is what portwatch itself runs with
    pub is_caller: bool,
    pub process: Option<u32>,
}

/// What a thread has to take on to make the same call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
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
        let own = Status::of("/proc/self").ok_or(NoPerson::Proc)?;
        match who {
            Who::Process(tgid) => Self::process(tgid),
            Who::User(uid) => Ok(Self::user(uid, &own, users)),
            Who::Caller => Ok(match sudo_user(&own) {
                Some(uid) => Self {
                    note: Some(
                        "asked through sudo, so about the user behind it: --user root asks about root"
                            .to_owned(),
                    ),
                    ..Self::user(uid, &own, users)
                },
                None => Self {
                    name: name(own.identity.uid, users),
                    note: None,
                    subject: own.subject("/proc/self"),
                    identity: own.identity,
                    is_caller: true,
                    process: None,
                },
            }),
        }
    }

    /// A login: root has what the bounding set leaves, everybody else no capability.
    fn user(uid: u32, own: &Status, users: &mut Users) -> Self {
        let (gid, groups) = groups_of(uid);
        let identity = Identity {
            uid,
            gid,
            groups,
            cap_effective: if uid == 0 { own.cap_bounding } else { 0 },
        };
        let is_caller = identity.uid == own.identity.uid
            && identity.cap_effective == own.identity.cap_effective;
        let status = Status {
            identity: identity.clone(),
            ..own.clone()
        };
        Self {
            name: name(uid, users),
            note: None,
            subject: status.subject("/proc/self"),
            identity,
            is_caller,
            process: None,
        }
    }

    fn process(tgid: u32) -> Result<Self, NoPerson> {
        let directory = format!("/proc/{tgid}");
        let status = Status::of(&directory).ok_or(NoPerson::Process(tgid))?;
        Ok(Self {
            name: format!("{} (pid {tgid})", status.name),
            note: None,
            subject: status.subject(&directory),
            identity: status.identity,
            is_caller: false,
            process: Some(tgid),
        })
    }
}

/// Who called sudo, if portwatch runs as root through it (sudo(8), `SUDO_UID`).
fn sudo_user(own: &Status) -> Option<u32> {
    let uid = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    (own.identity.uid == 0 && uid != 0).then_some(uid)
}

fn name(uid: u32, users: &mut Users) -> String {
    users
        .name(uid)
        .map_or_else(|| format!("uid {uid}"), ToOwned::to_owned)
}

/// A group of the same number for a uid that nobody has.
fn groups_of(uid: u32) -> (u32, Vec<u32>) {
    let Some(user) = uzers::get_user_by_uid(uid) else {
        return (uid, Vec::new());
    };
    let groups = user.groups().unwrap_or_default();
    let groups = groups.iter().map(uzers::Group::gid).collect();
    (user.primary_group_id(), groups)
}

/// What is of use in /proc/PID/status (Documentation/filesystems/proc.rst).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Not made harmless
    name: String,
    pub(super) identity: Identity,
    cap_bounding: u64,
    seccomp: Option<bool>,
}

impl Status {
    /// Of a process's directory in /proc.
    pub(super) fn of(directory: &str) -> Option<Self> {
        Self::parse(&fs::read(format!("{directory}/status")).ok()?)
    }

    /// `Name:` comes first and holds what the process likes, but the kernel escapes its line feeds.
    fn parse(status: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(status);
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let effective = |name| field(name)?.split_whitespace().nth(1)?.parse().ok();
        let set = |name| u64::from_str_radix(field(name)?, 16).ok();
        let groups = field("Groups")?.split_whitespace();
        Some(Self {
            name: field("Name")?.to_owned(),
            identity: Identity {
                uid: effective("Uid")?,
                gid: effective("Gid")?,
                groups: groups.filter_map(|group| group.parse().ok()).collect(),
                cap_effective: set("CapEff")?,
            },
            cap_bounding: set("CapBnd")?,
            // Absent where the kernel has no seccomp; 2 is SECCOMP_MODE_FILTER.
            seccomp: Some(field("Seccomp").is_some_and(|mode| mode == "2")),
        })
    }

    fn subject(&self, directory: &str) -> Subject {
        Subject {
            euid: self.identity.uid,
            cap_effective: Some(self.identity.cap_effective),
            user_ns: user_namespace::inode(&format!("{directory}/ns/user")),
            seccomp: self.seccomp,
            cgroup_programs: None,
        }
    }
}

impl Person {
    /// The file that stands for their network namespace, unless another is asked about.
    pub(super) fn network_namespace(&self) -> Option<PathBuf> {
        let tgid = self.process?;
        Some(format!("/proc/{tgid}/ns/net").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tngi\\nnx\nUmask:\t0022\nUid:\t1000\t33\t33\t33\n\
        Gid:\t1000\t34\t34\t34\nGroups:\t4 33 \nCapEff:\t0000000000000400\n\
        CapBnd:\t000001ffffffffff\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn the_effective_ids_are_the_ones_that_count() {
        let status = Status::parse(STATUS.as_bytes()).unwrap();
        assert_eq!(status.name, "ngi\\nnx");
        assert_eq!(
            status.identity,
            Identity {
                uid: 33,
                gid: 34,
                groups: vec![4, 33],
                cap_effective: 0x400,
            }
        );
        assert_eq!(status.cap_bounding, 0x1ff_ffff_ffff);
        assert_eq!(status.seccomp, Some(true));
        let without = STATUS.replace("Seccomp:\t2\n", "");
        let status = Status::parse(without.as_bytes()).unwrap();
        assert_eq!(status.seccomp, Some(false));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        for length in [0, 10, 60, 100] {
            assert_eq!(Status::parse(&STATUS.as_bytes()[..length]), None);
        }
    }

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
