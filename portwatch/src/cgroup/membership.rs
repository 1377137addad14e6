//! /proc/PID/cgroup (cgroups(7)): the cgroups that a task is in, one line for each hierarchy.

/// One line, `ID:CONTROLLERS:PATH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Empty for the v2 hierarchy; `name=systemd`, `cpu,cpuacct` …
    controllers: &'a [u8],
    /// May hold any byte but a line feed
    pub path: &'a [u8],
}

impl Line<'_> {
    pub fn is_version_2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// The v1 hierarchy in which systemd keeps its units.
    pub fn is_of_systemd(&self) -> bool {
        self.controllers == b"name=systemd"
    }
}

pub fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut parts = line.splitn(3, |&byte| byte == b':');
        let _hierarchy = parts.next()?;
        let controllers = parts.next()?;
        let path = parts.next().filter(|path| path.starts_with(b"/"))?;
        Some(Line { controllers, path })
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn version_2(text: &str) -> Option<&[u8]> {
        lines(text.as_bytes())
            .find(Line::is_version_2)
            .map(|line| line.path)
    }

    #[test]
    fn a_host_with_the_unified_hierarchy_has_one_line() {
        assert_eq!(
            version_2("0::/system.slice/nginx.service\n"),
            Some(&b"/system.slice/nginx.service"[..])
        );
    }

    #[test]
    fn a_hybrid_host_has_both_kinds() {
        let text = "12:pids:/docker/ab\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/system.slice/a.service\n0::/\n";
        assert_eq!(version_2(text), Some(&b"/"[..]));
        let systemd = lines(text.as_bytes()).find(Line::is_of_systemd);
        assert_eq!(
            systemd.map(|line| line.path),
            Some(&b"/system.slice/a.service"[..])
        );
        assert_eq!(lines(text.as_bytes()).count(), 4);
    }

    #[test]
    fn a_path_may_hold_colons_and_pose_as_a_line() {
        let text = "0::/a.slice:cri-containerd:0::/b\n";
        assert_eq!(version_2(text), Some(&b"/a.slice:cri-containerd:0::/b"[..]));
        assert_eq!(lines(text.as_bytes()).count(), 1);
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        assert_eq!(lines(b"").count(), 0);
        assert_eq!(lines(b"0:\n:\n0::\n0::relative\n").count(), 0);
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(bytes in vec(prop_oneof![Just(b':'), Just(b'/'), Just(b'\n'), any::<u8>()], 0..200)) {
            prop_assert!(lines(&bytes).all(|line| line.path.starts_with(b"/")));
        }
    }
}
