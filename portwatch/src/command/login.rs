//! Who else than root one may be: the command runs as who called sudo, for it is their server that
//! does not start, and what root may is not what they may; portwatch as whoever it is told.

use std::{
    ffi::OsString,
    io,
    process::{Child, Command},
    thread,
};

use rustix::{
    process::geteuid,
    thread::{CapabilitySet, CapabilitySets, Gid, Uid},
};
use uzers::os::unix::UserExt as _;

/// What sudo tells of who called it (sudo(8)).
const SUDO: [&str; 4] = ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"];

/// A user as a login makes them: with their groups, their home, and no privilege of another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    uid: u32,
    gid: u32,
    /// All of them, as initgroups(3) sets them
    groups: Vec<u32>,
    /// Environment variables that say who one is
    variables: Vec<(&'static str, OsString)>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoLogin {
    #[error(
        "invalid value for '{option}': there is no user `{typed}` on this host; a number works without a name"
    )]
    Unknown { option: &'static str, typed: String },
    #[error("{0} needs root: to become somebody else takes root's privileges")]
    NotRoot(&'static str),
}

impl Login {
    /// The user who was asked for, or who called sudo. `None`: nobody else than runs portwatch.
    pub fn find(run_as: Option<&str>) -> Result<Option<Self>, NoLogin> {
        let variable = |name| std::env::var(name).ok()?.parse().ok();
        match run_as {
            Some(typed) => Self::asked_for("--run-as", typed),
            None => Ok(variable("SUDO_UID")
                .filter(|uid| geteuid().is_root() && *uid != 0)
                .map(|uid| Self::of(uid, variable("SUDO_GID")))),
        }
    }

    /// The user whom an option names. `None`: nobody else than runs portwatch.
    pub fn asked_for(option: &'static str, typed: &str) -> Result<Option<Self>, NoLogin> {
        let login = Self::typed(option, typed)?;
        match (geteuid().as_raw(), login.uid) {
            (own, wanted) if own == wanted => Ok(None),
            (0, _) => Ok(Some(login)),
            _ => Err(NoLogin::NotRoot(option)),
        }
    }

    fn typed(option: &'static str, typed: &str) -> Result<Self, NoLogin> {
        let unknown = || NoLogin::Unknown {
            option,
            typed: typed.to_owned(),
        };
        let uid = match uzers::get_user_by_name(typed) {
            Some(user) => user.uid(),
            None => typed.parse().map_err(|_| unknown())?,
        };
        // (uid_t)-1 means "leave it" to the kernel (setresuid(2)).
        if uid == u32::MAX {
            return Err(unknown());
        }
        Ok(Self::of(uid, None))
    }

    /// A group of the same number for a uid that nobody has, unless another is known.
    fn of(uid: u32, gid: Option<u32>) -> Self {
        let Some(user) = uzers::get_user_by_uid(uid) else {
            let gid = gid.unwrap_or(uid);
            return Self {
                uid,
                gid,
                groups: vec![gid],
                variables: Vec::new(),
            };
        };
        let gid = user.primary_group_id();
        let groups = uzers::get_user_groups(user.name(), gid).unwrap_or_default();
        let name = || user.name().to_owned();
        let path = |path: &std::path::Path| path.as_os_str().to_owned();
        Self {
            uid,
            gid,
            groups: groups.iter().map(uzers::Group::gid).collect(),
            variables: vec![
                ("USER", name()),
                ("LOGNAME", name()),
                ("HOME", path(user.home_dir())),
                ("SHELL", path(user.shell())),
            ],
        }
    }

    /// Starts a command as that user: from a thread that becomes them, since the kernel keeps who
    /// one is for each thread, and a new process is who the thread was that made it.
    pub(super) fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // It does not run through sudo.
        for name in SUDO {
            command.env_remove(name);
        }
        thread::scope(|scope| {
            let spawned = scope.spawn(move || {
                self.become_it()?;
                command.spawn()
            });
            let panicked = |_| Err(io::Error::other("the thread that was to start it panicked"));
            spawned.join().unwrap_or_else(panicked)
        })
    }

    /// Groups and ids of the calling thread only, groups first: no capability is taken for what comes
    /// after the user's.
    pub fn take_ids(&self) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
    }

    /// The calling thread only. After the ids what root's capabilities are left, which none are unless
    /// the securebits keep them (capabilities(7)).
    fn become_it(&self) -> io::Result<()> {
        self.take_ids()?;
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        if self.uid != 0 {
            rustix::thread::set_capabilities(None, none)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_groups_of_a_login_and_its_home() {
        let root = Login::typed("--run-as", "root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        let home = root.variables.iter().find(|(name, _)| *name == "HOME");
        assert_eq!(home.unwrap().1, "/root");
        assert_eq!(Login::typed("--run-as", "0"), Ok(root));
    }

    #[test]
    fn a_number_that_nobody_has_is_its_own_group() {
        let nobody = Login::typed("--run-as", "4000000").unwrap();
        assert_eq!((nobody.uid, nobody.gid), (4_000_000, 4_000_000));
        assert_eq!(nobody.groups, [4_000_000]);
        let of_sudo = Login::of(4_000_000, Some(7));
        assert_eq!((of_sudo.gid, of_sudo.groups), (7, vec![7]));
    }

    #[test]
    fn who_is_not_there_is_refused() {
        for typed in ["no such user", "-1", "4294967295", ""] {
            let error = Login::typed("--user-after", typed).unwrap_err();
            assert!(error.to_string().contains("'--user-after'"), "{error}");
            assert!(error.to_string().contains(&format!("`{typed}`")), "{error}");
        }
    }
}
