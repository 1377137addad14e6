//! The hooks that tell one security module from another.

use super::{
    Attach, Hook, Kind,
    table::{BIND, CONNECT, moot},
};
use crate::event::Lsm;

/// Where securityfs is mounted.
const LIST: &str = "/sys/kernel/security/lsm";

/// A security module, and what is attached to its own hooks.
struct Module {
    /// As /sys/kernel/security/lsm names it
    name: &'static str,
    fexit: [Hook; 2],
    kprobe: [Hook; 2],
}

const NO_MODULE: &str = "which security module denied an attempt";

/// A module by its name, its functions for bind and connect, and the programs for them: two of
/// `fexit`, one of `kprobe`.
macro_rules! modules {
    ($($name:literal $bind:literal $connect:literal: $fexit:literal $kprobe:literal;)*) => {
        &[$(Module {
            name: $name,
            fexit: [
                moot(BIND, concat!($fexit, "_bind"), Attach::Fexit($bind), NO_MODULE),
                moot(CONNECT, concat!($fexit, "_con"), Attach::Fexit($connect), NO_MODULE),
            ],
            kprobe: [
                moot(BIND, $kprobe, Attach::Kretprobe($bind), NO_MODULE),
                moot(CONNECT, $kprobe, Attach::Kretprobe($connect), NO_MODULE),
            ],
        }),*]
    };
}

/// One that is built without the function refuses nothing (Landlock before 6.7).
const MODULES: &[Module] = modules! {
    "apparmor" "apparmor_socket_bind" "apparmor_socket_connect": "fx_apparmor" "apparmor_exit";
    "bpf" "bpf_lsm_socket_bind" "bpf_lsm_socket_connect": "fx_bpf" "bpf_exit";
    "landlock" "hook_socket_bind" "hook_socket_connect": "fx_landlock" "landlock_exit";
    "selinux" "selinux_socket_bind" "selinux_socket_connect": "fx_selinux" "selinux_exit";
    "smack" "smack_socket_bind" "smack_socket_connect": "fx_smack" "smack_exit";
    "tomoyo" "tomoyo_socket_bind" "tomoyo_socket_connect": "fx_tomoyo" "tomoyo_exit";
};

/// Those that have no say in a bind or connect.
const INDIFFERENT: &[&str] = &[
    "capability",
    "evm",
    "ima",
    "integrity",
    "ipe",
    "loadpin",
    "lockdown",
    "safesetid",
    "yama",
];

const BPF: &str = "bpf";
const TOMOYO: &str = "tomoyo";

/// TOMOYO's profiles. Without one every domain's mode is `disabled` (`tomoyo_profile`,
/// security/tomoyo/util.c): it is built into many kernels, and hardly ever given a policy, which is
/// loaded as the first process starts.
const TOMOYO_PROFILES: &str = "/sys/kernel/security/tomoyo/profile";

/// Whether TOMOYO refuses nothing, whatever is done.
fn is_tomoyo_idle() -> bool {
    std::fs::read_to_string(TOMOYO_PROFILES).is_ok_and(|profiles| has_no_profile(&profiles))
}

fn has_no_profile(profiles: &str) -> bool {
    let is_version = |line: &str| line.contains("PROFILE_VERSION=");
    profiles.lines().all(is_version)
}

/// The modules that are active, as /sys/kernel/security/lsm lists them.
pub(in super::super) struct Active {
    /// `None` where the kernel does not tell
    list: Option<String>,
    tomoyo_is_idle: bool,
}

/// Which module refused what none has that is hooked: a hook is passed by every call, and costs
/// what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Unhooked {
    /// TOMOYO is not hooked either, since it had no policy
    tomoyo: bool,
}

impl Unhooked {
    /// BPF programs, if there are no others. TOMOYO may have been given a policy meanwhile: then
    /// nobody knows.
    pub(in super::super) fn module(self) -> Option<Lsm> {
        (!self.tomoyo || is_tomoyo_idle()).then_some(Lsm::Bpf)
    }
}

impl Active {
    pub(in super::super) fn read() -> Self {
        Self {
            list: std::fs::read_to_string(LIST).ok(),
            tomoyo_is_idle: is_tomoyo_idle(),
        }
    }

    /// Whatever may be active.
    pub(super) const fn any() -> Self {
        Self {
            list: None,
            tomoyo_is_idle: false,
        }
    }

    fn names(&self) -> Option<impl Iterator<Item = &str>> {
        Some(self.list.as_deref()?.trim().split(','))
    }

    fn has(&self, module: &str) -> bool {
        self.names()
            .is_none_or(|mut names| names.any(|name| name == module))
    }

    /// BPF programs have no hook beside modules that are all known, and hooked if they could refuse.
    pub(in super::super) fn unhooked(&self) -> Option<Unhooked> {
        let is_known =
            |name| INDIFFERENT.contains(&name) || MODULES.iter().any(|it| it.name == name);
        let all_are_known = self.names()?.all(is_known);
        (all_are_known && self.has(BPF)).then(|| Unhooked {
            tomoyo: self.tomoyo_is_idle && self.has(TOMOYO),
        })
    }

    /// The hooks that tell the modules apart: where it is not known which are active, all there are.
    pub(in super::super) fn hooks(&self, kind: Kind) -> impl Iterator<Item = &'static Hook> {
        let is_hooked = |module: &&Module| match module.name {
            BPF => self.has(BPF) && self.unhooked().is_none(),
            TOMOYO => self.has(TOMOYO) && !self.tomoyo_is_idle,
            name => self.has(name),
        };
        let hooked = MODULES.iter().filter(is_hooked);
        hooked.flat_map(move |module| match kind {
            Kind::Fexit => &module.fexit[..],
            Kind::Kprobe => &module.kprobe[..],
            Kind::Tracepoint => &[],
        })
    }
}

/// Whether a hook is there to tell the modules apart.
pub(in super::super) fn tells_modules_apart(unseen: &str) -> bool {
    unseen == NO_MODULE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(list: &str) -> Active {
        Active {
            list: Some(list.to_owned()),
            tomoyo_is_idle: false,
        }
    }

    fn hooks(kind: Kind, active: &Active) -> Vec<String> {
        active
            .hooks(kind)
            .map(|hook| hook.attach.to_string())
            .collect()
    }

    #[test]
    fn only_active_modules_are_hooked() {
        let landlock = active("capability,landlock,yama\n");
        assert_eq!(
            hooks(Kind::Fexit, &landlock),
            ["fexit:hook_socket_bind", "fexit:hook_socket_connect"]
        );
        assert_eq!(landlock.unhooked(), None);
        assert!(hooks(Kind::Tracepoint, &active("apparmor")).is_empty());
    }

    #[test]
    fn bpf_programs_are_known_by_the_others() {
        let debian = active("lockdown,capability,landlock,yama,apparmor,tomoyo,bpf,ipe,ima,evm");
        assert_eq!(debian.unhooked().and_then(Unhooked::module), Some(Lsm::Bpf));
        let names = hooks(Kind::Kprobe, &debian);
        assert_eq!(names.len(), 6, "{names:?}");
        assert!(!names.contains(&"kretprobe:bpf_lsm_socket_bind".to_owned()));
    }

    #[test]
    fn bpf_programs_are_hooked_beside_a_module_that_nobody_knows() {
        let unknown = active("lockdown,novel,bpf");
        assert_eq!(unknown.unhooked(), None);
        assert_eq!(
            hooks(Kind::Kprobe, &unknown),
            [
                "kretprobe:bpf_lsm_socket_bind",
                "kretprobe:bpf_lsm_socket_connect"
            ]
        );
    }

    #[test]
    fn tomoyo_is_not_hooked_while_it_has_no_profile() {
        for (profiles, is_idle) in [
            ("", true),
            ("PROFILE_VERSION=20150505\n", true),
            ("<kernel> PROFILE_VERSION=20150505\n", true),
            (
                "PROFILE_VERSION=20150505\n0-COMMENT=-----Disabled Mode-----\n",
                false,
            ),
        ] {
            assert_eq!(has_no_profile(profiles), is_idle, "{profiles}");
        }
        let idle = Active {
            tomoyo_is_idle: true,
            ..active("capability,apparmor,tomoyo,bpf")
        };
        assert_eq!(
            hooks(Kind::Fexit, &idle),
            [
                "fexit:apparmor_socket_bind",
                "fexit:apparmor_socket_connect"
            ]
        );
        assert_eq!(idle.unhooked(), Some(Unhooked { tomoyo: true }));
    }

    #[test]
    fn all_are_hooked_where_none_is_known_to_be_active() {
        assert_eq!(hooks(Kind::Fexit, &Active::any()).len(), 2 * MODULES.len());
        assert_eq!(Active::any().unhooked(), None);
    }
}
