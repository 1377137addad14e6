//! Where tracefs is, and whether the tracepoints of `bind()` and `connect()` are in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::source::tracefs::PLACES;

/// The tracepoints that the sources attach to; each needs the number in its `id`.
const EVENTS: [&str; 4] = [
    "syscalls/sys_enter_bind",
    "syscalls/sys_exit_bind",
    "syscalls/sys_enter_connect",
    "syscalls/sys_exit_connect",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tracefs {
    /// The numbers can be read
    Ready(PathBuf),
    /// Mounted, and this process may not look into it
    Hidden(PathBuf),
    /// Mounted, and these events are not in it
    Lacking(PathBuf, Vec<&'static str>),
    Unmounted,
}

impl Tracefs {
    /// Looks at both places; the better one counts.
    pub(crate) fn find() -> Self {
        // Unreadable where /proc is not mounted; then only what can be seen counts as mounted.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let found: Vec<_> = PLACES
            .iter()
            .map(|place| Self::look(place, &mounts))
            .collect();
        let rank = |tracefs: &Self| match tracefs {
            Self::Ready(_) => 0,
            Self::Lacking(..) => 1,
            Self::Hidden(_) => 2,
            Self::Unmounted => 3,
        };
        found
            .into_iter()
            .min_by_key(rank)
            .unwrap_or(Self::Unmounted)
    }

    fn look(place: &str, mounts: &str) -> Self {
        let directory = PathBuf::from(place);
        let mounted = is_mounted(mounts, place);
        let mut lacking = Vec::new();
        for event in EVENTS {
            match readable(&directory.join("events").join(event).join("id")) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => lacking.push(event),
                Err(_) if mounted => return Self::Hidden(directory),
                // debugfs itself is closed, and nothing says that tracefs lies in it.
                Err(_) => return Self::Unmounted,
            }
        }
        match lacking.len() {
            0 => Self::Ready(directory),
            _ if mounted || directory.join("events").exists() => Self::Lacking(directory, lacking),
            _ => Self::Unmounted,
        }
    }
}

fn readable(path: &Path) -> io::Result<()> {
    fs::read(path).map(drop)
}

/// Whether mountinfo (Documentation/filesystems/proc.rst, 3.5) has a tracefs at the place.
fn is_mounted(mountinfo: &str, place: &str) -> bool {
    mountinfo.lines().any(|line| {
        let Some((mount, kind)) = line.split_once(" - ") else {
            return false;
        };
        mount.split(' ').nth(4) == Some(place) && kind.split(' ').next() == Some("tracefs")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
33 22 0:7 / /sys/kernel/debug rw,nosuid shared:15 - debugfs debugfs rw
34 22 0:12 / /sys/kernel/tracing rw,nosuid,nodev shared:16 - tracefs tracefs rw
";

    #[test]
    fn a_mounted_tracefs_is_found_by_its_kind() {
        assert!(is_mounted(MOUNTS, "/sys/kernel/tracing"));
        assert!(!is_mounted(MOUNTS, "/sys/kernel/debug/tracing"));
        assert!(!is_mounted(MOUNTS, "/sys/kernel/debug"));
        assert!(!is_mounted("", "/sys/kernel/tracing"));
    }

    fn with_events(events: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for event in events {
            let event = directory.path().join("events").join(event);
            fs::create_dir_all(&event).unwrap();
            fs::write(event.join("id"), "2238\n").unwrap();
        }
        directory
    }

    fn look(directory: &tempfile::TempDir) -> Tracefs {
        Tracefs::look(directory.path().to_str().unwrap(), "")
    }

    #[test]
    fn all_four_events_make_it_ready() {
        let directory = with_events(&EVENTS);
        assert_eq!(
            look(&directory),
            Tracefs::Ready(directory.path().to_owned())
        );
    }

    #[test]
    fn a_missing_event_is_named() {
        let directory = with_events(&EVENTS[..3]);
        let found = look(&directory);
        let missing = vec!["syscalls/sys_exit_connect"];
        assert_eq!(
            found,
            Tracefs::Lacking(directory.path().to_owned(), missing)
        );
    }

    #[test]
    fn an_empty_directory_is_an_unmounted_tracefs() {
        assert_eq!(look(&with_events(&[])), Tracefs::Unmounted);
    }
}
