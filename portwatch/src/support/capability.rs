//! Capabilities: their names, and the sets of a process as /proc/PID/status prints them.

/// One capability, by its number in include/uapi/linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability(u8);

impl Capability {
    pub(crate) const DAC_OVERRIDE: Self = Self(1);
    pub(crate) const DAC_READ_SEARCH: Self = Self(2);
    pub(crate) const SYS_PTRACE: Self = Self(19);
    pub(crate) const SYS_ADMIN: Self = Self(21);
    pub(crate) const PERFMON: Self = Self(38);
    pub(crate) const BPF: Self = Self(39);

    /// `CAP_BPF`
    pub(crate) fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or("CAP_?")
    }

    pub(crate) const fn number(self) -> u8 {
        self.0
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities(u64);

impl Capabilities {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn has(self, capability: Capability) -> bool {
        self.0 >> capability.0 & 1 == 1
    }

    /// How many of these are not among those.
    pub(crate) const fn beyond(self, those: Self) -> u32 {
        (self.0 & !those.0).count_ones()
    }

    #[cfg(test)]
    pub(crate) const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability.0)
    }

    /// Every one up to the kernel's last (`/proc/sys/kernel/cap_last_cap`).
    const fn holds_all(self, last: u8) -> bool {
        let all = u64::MAX >> (63 - (last & 63));
        self.0 & all == all
    }

    /// In words: `none`, `all 41`, `all but CAP_SYS_RESOURCE`, or the names.
    pub(crate) fn describe(self, last: u8) -> String {
        let numbers = 0..=last.min(63);
        if self.0 == 0 {
            return "none".to_owned();
        }
        if self.holds_all(last) {
            return format!("all {}", numbers.count());
        }
        let (held, lacking): (Vec<_>, Vec<_>) = numbers
            .map(Capability)
            .partition(|capability| self.has(*capability));
        if lacking.len() <= 3 {
            return format!("all but {}", names(&lacking, ", "));
        }
        names(&held, ", ")
    }
}

/// The names with something between them.
pub(crate) fn names(capabilities: &[Capability], between: &str) -> String {
    let names: Vec<_> = capabilities
        .iter()
        .map(|capability| capability.name())
        .collect();
    names.join(between)
}

/// `CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH`
pub(crate) fn listing(capabilities: &[Capability]) -> String {
    match capabilities.split_last() {
        Some((last, rest)) if !rest.is_empty() => {
            format!("{} and {}", names(rest, ", "), last.name())
        }
        _ => names(capabilities, ""),
    }
}

/// What /proc/PID/status says of a process's privileges (fs/proc/array.c, `task_cap`,
/// `task_seccomp`, `task_state`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) effective: Capabilities,
    pub(crate) bounding: Capabilities,
    /// Neither sudo nor file capabilities can add any (`PR_SET_NO_NEW_PRIVS`)
    pub(crate) no_new_privs: bool,
    /// A seccomp filter or strict mode
    pub(crate) seccomp: bool,
    /// How many pid namespaces deep, seen from the one that /proc belongs to
    pub(crate) pid_levels: usize,
}

impl Status {
    /// Lines that are not there count as 0.
    pub(crate) fn parse(text: &str) -> Self {
        let field = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| *key == name)
                .map_or("", |(_, value)| value.trim())
        };
        let set = |name| Capabilities(u64::from_str_radix(field(name), 16).unwrap_or(0));
        let flag = |name| field(name).parse::<u32>().is_ok_and(|value| value != 0);
        Self {
            effective: set("CapEff"),
            bounding: set("CapBnd"),
            no_new_privs: flag("NoNewPrivs"),
            seccomp: flag("Seccomp"),
            pid_levels: field("NSpid").split_whitespace().count(),
        }
    }
}

/// In the order of their numbers.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Name:\tcat\nNSpid:\t8509\nCapInh:\t0000000000000000\n\
                        CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\n\
                        CapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n";

    const DOCKER: &str = "Name:\tsh\nNSpid:\t812\t7\nCapEff:\t00000000a80425fb\n\
                          CapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n\
                          Seccomp_filters:\t1\n";

    #[test]
    fn root_holds_every_capability() {
        let status = Status::parse(ROOT);
        assert_eq!(status.effective.describe(40), "all 41");
        assert!(status.effective.has(Capability::BPF));
        assert!(!status.no_new_privs);
        assert!(!status.seccomp);
        assert_eq!(status.pid_levels, 1);
    }

    #[test]
    fn a_container_holds_the_engine_s_default_set() {
        let status = Status::parse(DOCKER);
        assert!(!status.effective.has(Capability::SYS_ADMIN));
        assert!(!status.bounding.has(Capability::BPF));
        assert!(status.no_new_privs);
        assert!(status.seccomp);
        assert_eq!(status.pid_levels, 2);
        assert!(
            status
                .effective
                .describe(40)
                .starts_with("CAP_CHOWN, CAP_DAC_OVERRIDE, ")
        );
    }

    #[test]
    fn a_nearly_full_set_is_told_by_what_it_lacks() {
        let status = Status::parse("CapEff:\t000001fffeffffff\n");
        assert_eq!(status.effective.describe(40), "all but CAP_SYS_RESOURCE");
    }

    #[test]
    fn capabilities_that_the_kernel_lacks_are_not_missed() {
        let old = Status::parse("CapEff:\t0000003fffffffff\n");
        assert_eq!(old.effective.describe(37), "all 38");
    }

    #[test]
    fn an_empty_status_holds_nothing() {
        assert_eq!(Status::parse(""), Status::default());
        assert_eq!(Capabilities::NONE.describe(40), "none");
    }

    #[test]
    fn numbers_and_names_agree() {
        for (capability, number, name) in [
            (Capability::DAC_OVERRIDE, 1, "CAP_DAC_OVERRIDE"),
            (Capability::DAC_READ_SEARCH, 2, "CAP_DAC_READ_SEARCH"),
            (Capability::SYS_PTRACE, 19, "CAP_SYS_PTRACE"),
            (Capability::SYS_ADMIN, 21, "CAP_SYS_ADMIN"),
            (Capability::PERFMON, 38, "CAP_PERFMON"),
            (Capability::BPF, 39, "CAP_BPF"),
        ] {
            assert_eq!((capability.number(), capability.name()), (number, name));
        }
    }
}
