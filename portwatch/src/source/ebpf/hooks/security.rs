//! The hooks that tell one security module from another.

use super::{Attach, Hook, Kind, moot};

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
                moot(concat!($fexit, "_bind"), Attach::Fexit($bind), NO_MODULE),
                moot(concat!($fexit, "_con"), Attach::Fexit($connect), NO_MODULE),
            ],
            kprobe: [
                moot($kprobe, Attach::Kretprobe($bind), NO_MODULE),
                moot($kprobe, Attach::Kretprobe($connect), NO_MODULE),
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

/// The hooks of the modules that are active, as /sys/kernel/security/lsm lists them: all of them
/// where the kernel does not tell.
pub(in super::super) fn of_modules(
    kind: Kind,
    active: Option<&str>,
) -> impl Iterator<Item = &'static Hook> {
    let is_active = move |module: &&Module| {
        active.is_none_or(|active| active.trim().split(',').any(|name| name == module.name))
    };
    let active = MODULES.iter().filter(is_active);
    active.flat_map(move |module| match kind {
        Kind::Fexit => &module.fexit[..],
        Kind::Kprobe => &module.kprobe[..],
        Kind::Tracepoint => &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(kind: Kind, active: Option<&str>) -> Vec<String> {
        of_modules(kind, active)
            .map(|hook| hook.attach.to_string())
            .collect()
    }

    #[test]
    fn only_active_modules_are_hooked() {
        assert_eq!(
            hooks(Kind::Fexit, Some("capability,landlock,yama\n")),
            ["fexit:hook_socket_bind", "fexit:hook_socket_connect"]
        );
        assert_eq!(
            hooks(Kind::Kprobe, Some("lockdown,bpf")),
            [
                "kretprobe:bpf_lsm_socket_bind",
                "kretprobe:bpf_lsm_socket_connect"
            ]
        );
        assert!(hooks(Kind::Tracepoint, Some("apparmor")).is_empty());
    }

    #[test]
    fn all_are_hooked_where_none_is_known_to_be_active() {
        assert_eq!(hooks(Kind::Fexit, None).len(), 2 * MODULES.len());
    }
}
