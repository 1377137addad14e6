//! The script that dtrace runs, for the system that it runs on.

use crate::event::System;

/// As macOS takes it, with the blocks marked that other systems have otherwise.
const SCRIPT: &str = include_str!("portwatch.d");

/// What Linux has in the place of the block `PRELUDE`.
const LINUX: &str = "\
inline int PW_AF_INET6 = 10;
inline int PW_FAM_SHIFT = 0;
inline int PW_ERRNO = errno;
";

/// Probes that Linux does not have.
const DARWIN_PROBES: [&str; 4] = [
    "syscall::connect_nocancel:entry",
    "syscall::connect_nocancel:return",
    "syscall::connectx:entry",
    "syscall::connectx:return",
];

/// Renders the script.
pub(super) fn render(system: System) -> String {
    match system {
        System::MacOs(_) => SCRIPT.to_owned(),
        System::Linux => linux(),
    }
}

/// The probes that it enables.
pub(super) fn probes(system: System) -> Vec<String> {
    let text = render(system);
    let names = text.lines().map(|line| line.trim_end_matches(','));
    let mut probes: Vec<_> = names
        .filter(|line| line.starts_with("syscall::"))
        .map(str::to_owned)
        .collect();
    probes.sort();
    probes.dedup();
    probes
}

fn linux() -> String {
    let text = replaced(SCRIPT, "PRELUDE", LINUX);
    let text = replaced(&text, "CONNECTX", "");
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let probe = line.trim_end_matches(',');
        if !DARWIN_PROBES.contains(&probe) {
            lines.push(line.to_owned());
        } else if !line.ends_with(',')
            && let Some(last) = lines.last_mut()
        {
            // It closed the list of probes: the one before it does so now.
            last.truncate(last.trim_end_matches(',').len());
        }
    }
    lines.join("\n") + "\n"
}

/// With a marked block replaced; as it is where there is none of that name.
fn replaced(text: &str, block: &str, by: &str) -> String {
    let (begin, end) = (
        format!("/* @{block}-BEGIN"),
        format!("/* @{block}-END */\n"),
    );
    let found = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{by}{after}"))
    });
    found.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Version;

    #[test]
    fn the_script_for_macos() {
        let version = Version {
            major: 14,
            minor: 0,
        };
        insta::assert_snapshot!(render(System::MacOs(version)));
    }

    #[test]
    fn the_script_for_linux() {
        insta::assert_snapshot!(render(System::Linux));
    }

    #[test]
    fn linux_has_none_of_what_only_macos_has() {
        let text = render(System::Linux);
        for foreign in [
            "connectx:",
            "connect_nocancel:",
            "(int)arg3",
            "@CONNECTX",
            ",\n{",
            ",\n/",
        ] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        assert!(text.contains("profile:::tick-5s"));
    }
}
