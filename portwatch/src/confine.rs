//! What portwatch gives up once its programs are attached: from then on it reads what others wrote,
//! and whoever found a hole in that should gain as little as possible.
//!
//! It keeps the capabilities that its look-ups and late hooks take, can gain none, and has no system
//! call that starts a program, changes the machine or waits for connections. If told to, it is another
//! user from then on. Landlock is not used: a process in one of its domains may look into none outside
//! (security/landlock/ptrace.c), which is how the program behind an attempt and the holder of a port
//! are found; the trial `landlock_would_hide_who_called` shows it.

use std::{collections::BTreeMap, fs, io, thread};

use rustix::{
    io::Errno,
    thread::{CapabilitySet, CapabilitySets},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::command::Login;

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
    // Namespaces and file systems
    libc::SYS_unshare,
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
    // What makes all of the above, unseen by seccomp
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// The x32 ABI goes by the same architecture: its numbers have this bit set
/// (arch/x86/include/uapi/asm/unistd.h).
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Of calls among those above it has numbers of its own: `ptrace`, `execve`, `kexec_load`,
/// `process_vm_readv`, `process_vm_writev`, `execveat` (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(target_arch = "x86_64")]
const X32_OWN: [i64; 6] = [520, 521, 528, 539, 540, 545];

/// What is kept beside what every watch takes, and who it is then.
#[derive(Debug, Default)]
pub struct Needs<'a> {
    /// A log file is opened again, in whatever directory it is
    pub log_file: bool,
    /// A command is told to end, whoever it runs as
    pub command: bool,
    /// Another than who started it, who opens what files there are
    pub user: Option<&'a Login>,
}

/// Confines the calling thread, and those that it starts. What cannot be given up is said in the log;
/// not to become the user who was asked for is an error.
pub fn enter(needs: &Needs<'_>) -> io::Result<()> {
    for left in give_up(needs)? {
        log::info!("portwatch is not confined as it should be: {left}");
    }
    Ok(())
}

/// What became of a thread that gave up what a watch does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// What the kernel said of it then (/proc/PID/status)
    pub status: String,
    /// What could not be given up
    pub left: Vec<String>,
}

/// In a thread of its own, which ends with it: a process stays what it is.
pub fn try_it() -> io::Result<Tried> {
    let confined = thread::spawn(|| {
        let left = give_up(&Needs::default())?;
        let status = fs::read_to_string("/proc/thread-self/status")?;
        Ok(Tried { status, left })
    });
    let panicked = |_| Err(io::Error::other("the thread that tried it panicked"));
    confined.join().unwrap_or_else(panicked)
}

/// Tells what could not be given up.
fn give_up(needs: &Needs<'_>) -> io::Result<Vec<String>> {
    let kept = kept(needs);
    let mut left = Vec::new();
    let mut tell = |what: &str, result: io::Result<()>| {
        left.extend(result.err().map(|error| format!("{what}: {error}")));
    };
    tell("privileges could be gained", no_new_privileges());
    tell("capabilities could be gained", bound(kept));
    if let Some(user) = needs.user {
        // Permitted capabilities outlast the change of user, effective ones are taken up again below.
        rustix::thread::set_keep_capabilities(true)?;
        user.take_ids()?;
    }
    tell("capabilities are kept", drop_capabilities(kept));
    tell("no system call is denied", deny_calls());
    Ok(left)
}

fn no_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Only with CAP_SETPCAP, without which there is nothing to bound.
fn bound(kept: CapabilitySet) -> io::Result<()> {
    for capability in CapabilitySet::all().difference(kept).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel does not have it, or we may not.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn drop_capabilities(kept: CapabilitySet) -> io::Result<()> {
    let had = rustix::thread::capabilities(None)?;
    let left = CapabilitySets {
        effective: had.permitted & kept,
        permitted: had.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, left)?)
}

fn kept(needs: &Needs<'_>) -> CapabilitySet {
    let mut kept = KEPT.into_iter().collect::<CapabilitySet>();
    // Root's files are not for a user who is to be less than root.
    kept.set(
        CapabilitySet::DAC_OVERRIDE,
        needs.log_file && needs.user.is_none(),
    );
    kept.set(CapabilitySet::KILL, needs.command);
    kept
}

/// A call of another architecture, such as a 32-bit one, ends the process.
fn deny_calls() -> io::Result<()> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let other_namespaces = vec![other_namespaces().map_err(io::Error::other)?];
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|&call| (call, Vec::new())).collect();
    denied.insert(libc::SYS_setns, other_namespaces);
    #[cfg(target_arch = "x86_64")]
    deny_x32(&mut denied);
    let refused = SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs());
    let filter = SeccompFilter::new(denied, SeccompAction::Allow, refused, architecture);
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

/// The same of the x32 ABI.
#[cfg(target_arch = "x86_64")]
fn deny_x32(denied: &mut BTreeMap<i64, Vec<SeccompRule>>) {
    let own = X32_OWN.map(|call| (call, Vec::new()));
    let both = denied.clone().into_iter().chain(own);
    denied.extend(both.map(|(call, rules)| (call | X32, rules)));
}

/// Whatever setns(2) is asked for but network namespaces.
fn other_namespaces() -> Result<SeccompRule, seccompiler::BackendError> {
    let network = u64::from(libc::CLONE_NEWNET.unsigned_abs());
    let kind = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, network)?;
    SeccompRule::new(vec![kind])
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd as _, process::Command};

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    use super::*;

    /// In a thread: a process stays what it is.
    #[test]
    fn what_is_given_up_is_gone_for_good() {
        let confined = thread::spawn(|| {
            let left = give_up(&Needs::default()).unwrap();
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let sets = rustix::thread::capabilities(None).unwrap();
            let started = Command::new("true").status().map_err(|error| error.kind());
            (left, status, sets, started)
        });
        let (left, status, sets, started) = confined.join().unwrap();
        assert_eq!(left, [""; 0]);
        assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
        assert!(kept(&Needs::default()).contains(sets.permitted), "{sets:?}");
        assert_eq!(started, Err(io::ErrorKind::PermissionDenied));
        assert!(Command::new("true").status().unwrap().success());
    }

    #[test]
    fn what_is_tried_stays_in_its_thread() {
        let before = fs::read_to_string("/proc/thread-self/status").unwrap();
        let tried = try_it().unwrap();
        assert!(tried.status.contains("\nNoNewPrivs:\t1\n"), "{tried:?}");
        let after = fs::read_to_string("/proc/thread-self/status").unwrap();
        let privileges = |status: &str| -> Vec<String> {
            let lines = status.lines();
            let of_it = lines.filter(|line| {
                ["Cap", "NoNewPrivs", "Seccomp"]
                    .iter()
                    .any(|name| line.starts_with(name))
            });
            of_it.map(str::to_owned).collect()
        };
        assert_eq!(privileges(&after), privileges(&before));
    }

    /// Without the filter the kernel finds fault with the arguments, or does not know the number.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_x32_abi_is_no_way_around() {
        let call = |number: i64| {
            #[expect(unsafe_code, reason = "no crate makes calls of this ABI")]
            // SAFETY: the kernel refuses the call, whose arguments point nowhere.
            let result = unsafe { libc::syscall(number, 0, 0, 0, 0, 0) };
            (result, io::Error::last_os_error().raw_os_error())
        };
        let execve = X32 | X32_OWN[0];
        assert_ne!(call(execve), (-1, Some(libc::EPERM)));
        let confined = thread::spawn(move || {
            give_up(&Needs::default()).unwrap();
            [execve, X32 | libc::SYS_accept, libc::SYS_io_uring_setup].map(call)
        });
        for denied in confined.join().unwrap() {
            assert_eq!(denied, (-1, Some(libc::EPERM)));
        }
    }

    /// Whoever may enter none is told so by the kernel, with the same number.
    #[test]
    fn of_namespaces_only_the_network_s_are_entered() {
        let enter = |name: &str, kind| {
            let file = File::open(format!("/proc/thread-self/ns/{name}")).unwrap();
            move_into_link_name_space(file.as_fd(), Some(kind))
        };
        let network = move || enter("net", LinkNameSpaceType::Network);
        let confined = thread::spawn(move || {
            let before = network();
            give_up(&Needs::default()).unwrap();
            let others = enter("uts", LinkNameSpaceType::HostNameAndNISDomainName);
            (before, network(), others)
        });
        let (before, network, others) = confined.join().unwrap();
        assert_eq!(network, before);
        assert_eq!(others, Err(Errno::PERM));
    }

    #[test]
    fn no_more_is_kept_than_is_asked_for() {
        let watch = kept(&Needs::default());
        let more = |needs: &Needs<'_>| kept(needs).difference(watch);
        let log_file = Needs {
            log_file: true,
            ..Needs::default()
        };
        assert_eq!(more(&log_file), CapabilitySet::DAC_OVERRIDE);
        let command = Needs {
            command: true,
            ..Needs::default()
        };
        assert_eq!(more(&command), CapabilitySet::KILL);
    }
}
