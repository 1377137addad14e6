//! Which capabilities tracing asks for on this kernel, which this process lacks, and the command
//! that grants them.
//!
//! kernel/bpf/syscall.c (`bpf_capable`) and `kernel/trace/trace_event_perf.c`, kernel/events/core.c
//! (`perfmon_capable`) ask for `CAP_BPF` and `CAP_PERFMON`, and take `CAP_SYS_ADMIN` for both.

use std::fmt;

use super::{
    capability::{Capability, listing, names},
    command::Command,
    facts::{Grants, Namespace},
    tracefs::Tracefs,
};

/// Why this process may not trace, and what lets it. Displays as one message of some lines, the
/// first of which can stand alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPrivileges {
    needs: Vec<Need>,
    obstacle: Option<Obstacle>,
    /// `kernel.perf_event_paranoid`, where lowering it would do as well
    paranoid: Option<i32>,
    command: Command,
}

/// One capability that tracing asks for here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    capability: Capability,
    held: bool,
    weight: Weight,
    /// Lines, each to follow "to"
    purposes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Tracing works without, and says less
    Wish,
    /// Kernels with a certain patch ask for it: only trying tells
    Likely,
    Certain,
}

/// Why neither sudo nor setcap would help.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Obstacle {
    UserNamespace,
    BoundingSet,
    NoNewPrivileges,
}

impl MissingPrivileges {
    /// What lacks for certain; `None` where trying makes sense.
    pub(crate) fn certain(grants: &Grants, command: Command) -> Option<Self> {
        Self::at_least(Weight::Certain, grants, command)
    }

    /// What may have lacked, once the kernel has refused; `None` where it cannot have been that.
    pub(crate) fn likely(grants: &Grants, command: Command) -> Option<Self> {
        Self::at_least(Weight::Likely, grants, command)
    }

    fn at_least(weight: Weight, grants: &Grants, command: Command) -> Option<Self> {
        let needs = needs(grants);
        let lacks = |need: &Need| !need.held && need.weight >= weight;
        needs
            .iter()
            .any(lacks)
            .then(|| Self::new(needs, grants, command))
    }

    fn new(needs: Vec<Need>, grants: &Grants, command: Command) -> Self {
        let mut missing = Self {
            needs,
            obstacle: None,
            paranoid: None,
            command,
        };
        missing.obstacle = missing.obstacle(grants);
        let spared = missing.missing().contains(&Capability::SYS_ADMIN)
            && missing.obstacle.is_none()
            && grants.knows_cap_bpf()
            && grants.tracefs != Tracefs::Unmounted;
        missing.paranoid = grants.paranoid.filter(|value| *value > 2 && spared);
        missing
    }

    fn obstacle(&self, grants: &Grants) -> Option<Obstacle> {
        let bounded = |capability: &Capability| grants.status.bounding.has(*capability);
        if grants.user_namespace == Namespace::Other {
            Some(Obstacle::UserNamespace)
        } else if !self.missing().iter().all(bounded) {
            Some(Obstacle::BoundingSet)
        } else if grants.status.no_new_privs {
            Some(Obstacle::NoNewPrivileges)
        } else {
            None
        }
    }

    /// The capabilities that lack, wishes aside.
    pub(crate) fn missing(&self) -> Vec<Capability> {
        let missing = self.required().filter(|need| !need.held);
        missing.map(|need| need.capability).collect()
    }

    /// Those that are required, held or not: a command that grants some takes the others away.
    fn all(&self) -> Vec<Capability> {
        self.required().map(|need| need.capability).collect()
    }

    fn required(&self) -> impl Iterator<Item = &Need> {
        self.needs.iter().filter(|need| need.weight > Weight::Wish)
    }

    /// `sudo setcap cap_bpf,cap_perfmon+ep /usr/bin/portwatch`
    fn setcap(&self) -> String {
        let list = names(&self.all(), ",").to_lowercase();
        format!("sudo setcap {list}+ep {}", self.command.file)
    }

    /// What to type or to change, one thing a line.
    pub(crate) fn remedy(&self) -> String {
        let file = &self.command.file;
        match self.obstacle {
            Some(Obstacle::UserNamespace) => {
                "run it outside this user namespace (on the host, not in a rootless container)"
                    .to_owned()
            }
            Some(Obstacle::BoundingSet) => "docker run --privileged --pid=host …".to_owned(),
            Some(Obstacle::NoNewPrivileges) => {
                "start it from a shell or service that does not set no_new_privs".to_owned()
            }
            None => format!("sudo {file}\n{}", self.setcap()),
        }
    }

    fn fmt_remedy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Command { file, arguments } = &self.command;
        let capabilities = names(&self.all(), " ");
        match self.obstacle {
            Some(Obstacle::UserNamespace) => write!(
                f,
                "it runs in a user namespace of its own (a rootless container, or unshare), where \
                 capabilities\ncount for nothing that reaches the whole machine; run it outside:\n  \
                 sudo {file}{arguments}"
            ),
            Some(Obstacle::BoundingSet) => write!(
                f,
                "the container or service around it keeps them from everything inside, root too; \
                 start that with\n  docker run --privileged --pid=host …\nor, in a systemd unit,\n  \
                 CapabilityBoundingSet={capabilities}\n  AmbientCapabilities={capabilities}"
            ),
            Some(Obstacle::NoNewPrivileges) => write!(
                f,
                "no_new_privs is set for this process, so neither sudo nor setcap adds any; start \
                 it from a\nshell or service that does not set it (in a systemd unit: \
                 NoNewPrivileges=no)"
            ),
            None => write!(
                f,
                "run it as root:\n  sudo {file}{arguments}\nor grant them to the file, and so to \
                 everyone who may run it:\n  {}",
                self.setcap()
            ),
        }
    }

    fn fmt_needs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .required()
            .map(|need| need.capability.name().len())
            .max()
            .unwrap_or(0);
        for need in self.required() {
            let Need {
                capability,
                held,
                weight: _,
                purposes,
            } = need;
            let state = if *held { "held" } else { "missing" };
            write!(f, "\n  {:width$}  {state:7}  to ", capability.name())?;
            f.write_str(&purposes.join(&format!("\n{:1$}", "", width + 13)))?;
        }
        Ok(())
    }
}

impl fmt::Display for MissingPrivileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = listing(&self.missing());
        write!(
            f,
            "not permitted to trace: this process lacks {missing}\n\nthis kernel asks for"
        )?;
        self.fmt_needs(f)?;
        for need in self
            .needs
            .iter()
            .filter(|need| need.weight == Weight::Wish && !need.held)
        {
            let (name, purpose) = (need.capability.name(), need.purposes.join(" "));
            write!(f, "\nand, only to {purpose}, for {name}")?;
        }
        f.write_str("\n\n")?;
        self.fmt_remedy(f)?;
        if let Some(paranoid) = self.paranoid {
            write!(
                f,
                "\nor lower kernel.perf_event_paranoid from {paranoid}, and CAP_BPF and \
                 CAP_PERFMON are enough:\n  sudo sysctl kernel.perf_event_paranoid=2"
            )?;
        }
        f.write_str("\n\n`portwatch doctor` shows what else this host allows")
    }
}

impl std::error::Error for MissingPrivileges {}

/// What tracing asks for, in the order in which it is asked.
fn needs(grants: &Grants) -> Vec<Need> {
    let mut needs = tracing(grants);
    match &grants.tracefs {
        Tracefs::Ready(_) | Tracefs::Lacking(..) => {}
        Tracefs::Hidden(place) => {
            let purpose = format!("read the tracepoints' numbers in {}", place.display());
            needs.extend(read_search(grants, purpose));
        }
        Tracefs::Unmounted => {
            ask_admin(
                &mut needs,
                grants,
                Weight::Likely,
                "mount tracefs, which is not mounted",
            );
            needs.extend(read_search(
                grants,
                "read the tracepoints' numbers in it".to_owned(),
            ));
        }
    }
    let purpose = "name the programs and sockets of other users";
    needs.push(Need {
        held: grants.effective().has(Capability::SYS_PTRACE),
        weight: Weight::Wish,
        capability: Capability::SYS_PTRACE,
        purposes: vec![purpose.to_owned()],
    });
    needs
}

fn tracing(grants: &Grants) -> Vec<Need> {
    let effective = grants.effective();
    let admin = effective.has(Capability::SYS_ADMIN);
    let both = effective.has(Capability::BPF) && effective.has(Capability::PERFMON);
    let paranoid = grants.paranoid.filter(|value| *value > 2);
    let mut needs = Vec::new();
    match paranoid {
        _ if !grants.knows_cap_bpf() => {
            ask_admin(
                &mut needs,
                grants,
                Weight::Certain,
                "load and attach eBPF programs",
            );
        }
        // Debian's patch to perf_event_open(): "security/perf: allow further restriction".
        // Upstream, 3 means what 2 means, so holders of both may try.
        Some(value) => {
            let weight = if both {
                Weight::Likely
            } else {
                Weight::Certain
            };
            let purpose = "load and attach eBPF programs, in place of CAP_BPF and CAP_PERFMON:";
            ask_admin(&mut needs, grants, weight, purpose);
            let why = format!("kernel.perf_event_paranoid is {value}, and Debian's and Ubuntu's");
            let why = [why, "kernels let nothing less open a probe then".to_owned()];
            for need in &mut needs {
                need.purposes.extend(why.clone());
            }
        }
        None => {
            let need = |capability, purpose: &str| Need {
                capability,
                held: admin || effective.has(capability),
                weight: Weight::Certain,
                purposes: vec![purpose.to_owned()],
            };
            needs.push(need(Capability::BPF, "load eBPF programs and their maps"));
            needs.push(need(
                Capability::PERFMON,
                "attach them and let them read kernel memory",
            ));
        }
    }
    needs
}

fn ask_admin(needs: &mut Vec<Need>, grants: &Grants, weight: Weight, purpose: &str) {
    let asked = needs
        .iter_mut()
        .find(|need| need.capability == Capability::SYS_ADMIN);
    if let Some(need) = asked {
        need.purposes.push(format!("and to {purpose}"));
        need.weight = need.weight.max(weight);
        return;
    }
    needs.push(Need {
        capability: Capability::SYS_ADMIN,
        held: grants.effective().has(Capability::SYS_ADMIN),
        weight,
        purposes: vec![purpose.to_owned()],
    });
}

/// tracefs belongs to root, mode 0700 (fs/tracefs/inode.c): its owner needs no capability. The
/// fexit source does without it, so only a refusal tells whether it was missed.
fn read_search(grants: &Grants, purpose: String) -> Option<Need> {
    let effective = grants.effective();
    (!grants.root).then(|| Need {
        capability: Capability::DAC_READ_SEARCH,
        held: [Capability::DAC_READ_SEARCH, Capability::DAC_OVERRIDE]
            .iter()
            .any(|capability| effective.has(*capability)),
        weight: Weight::Likely,
        purposes: vec![purpose],
    })
}

#[cfg(test)]
mod tests;
