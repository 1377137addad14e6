//! What portwatch gives up once its programs are attached: from then on it reads what others wrote,
//! and whoever found a hole in that should gain as little as possible.
//!
//! It keeps the capabilities that its look-ups and late hooks take, can gain none, and has no system
//! call that starts a program, changes the machine or waits for connections. Landlock is not used: a
//! process in one of its domains may look into none outside (security/landlock/ptrace.c), which is how
//! the program behind an attempt and the holder of a port are found.

use std::io;

use rustix::{
    io::Errno,
    thread::{CapabilitySet, CapabilitySets},
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// What the watch itself takes, where portwatch had it.
const KEPT: [CapabilitySet; 6] = [
    // Maps are read, and hooks of the module sctp attached when it is loaded.
    CapabilitySet::BPF,
    CapabilitySet::PERFMON,
    // Others' network namespaces are entered; kernels before 5.8 ask for it in place of the above.
    CapabilitySet::SYS_ADMIN,
    // Others' programs, descriptors and namespaces are looked at.
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::DAC_READ_SEARCH,
    // Callers' sockets are asked for their network namespace (SIOCGSKNS, net/socket.c).
    CapabilitySet::NET_ADMIN,
];

/// System calls that a watch never makes.
const DENIED: &[i64] = &[
    // Other programs
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes' memory
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_userfaultfd,
    // The kernel
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // File systems
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    // Connections to here
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
];

/// What is kept beside what every watch takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// A log file is opened again, in whatever directory it is
    pub log_file: bool,
    /// A command is told to end, whoever it runs as
    pub command: bool,
}

/// Confines the calling thread, and those that it starts. What cannot be given up is said in the log.
pub fn enter(needs: Needs) {
    let steps: [(&str, io::Result<()>); 3] = [
        ("privileges could be gained", no_new_privileges()),
        ("capabilities are kept", drop_capabilities(needs)),
        ("no system call is denied", deny_calls()),
    ];
    for (what, result) in steps {
        if let Err(error) = result {
            log::info!("portwatch is not confined as it should be: {what}: {error}");
        }
    }
}

fn no_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

fn drop_capabilities(needs: Needs) -> io::Result<()> {
    let kept = kept(needs);
    // From the bounding set only with CAP_SETPCAP, without which there is nothing to bound.
    for capability in CapabilitySet::all().difference(kept).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel does not have it, or we may not.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let had = rustix::thread::capabilities(None)?;
    let left = CapabilitySets {
        effective: had.effective & kept,
        permitted: had.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, left)?)
}

fn kept(needs: Needs) -> CapabilitySet {
    let mut kept = KEPT.into_iter().collect::<CapabilitySet>();
    kept.set(CapabilitySet::DAC_OVERRIDE, needs.log_file);
    kept.set(CapabilitySet::KILL, needs.command);
    kept
}

fn deny_calls() -> io::Result<()> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let denied = DENIED.iter().map(|&call| (call, Vec::new())).collect();
    let refused = SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs());
    let filter = SeccompFilter::new(denied, SeccompAction::Allow, refused, architecture);
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command, thread};

    use super::*;

    /// In a thread: a process stays what it is.
    #[test]
    fn what_is_given_up_is_gone_for_good() {
        let confined = thread::spawn(|| {
            enter(Needs::default());
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let sets = rustix::thread::capabilities(None).unwrap();
            let started = Command::new("true").status().map_err(|error| error.kind());
            (status, sets, started)
        });
        let (status, sets, started) = confined.join().unwrap();
        assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
        assert!(kept(Needs::default()).contains(sets.permitted), "{sets:?}");
        assert_eq!(started, Err(io::ErrorKind::PermissionDenied));
        assert!(Command::new("true").status().unwrap().success());
    }

    #[test]
    fn no_more_is_kept_than_is_asked_for() {
        let watch = kept(Needs::default());
        for (needs, more) in [
            (
                Needs {
                    log_file: true,
                    ..Needs::default()
                },
                CapabilitySet::DAC_OVERRIDE,
            ),
            (
                Needs {
                    command: true,
                    ..Needs::default()
                },
                CapabilitySet::KILL,
            ),
        ] {
            assert_eq!(kept(needs).difference(watch), more);
        }
    }
}
