//! The systemd unit that a cgroup path names
//! (<https://systemd.io/CGROUP_DELEGATION/>; systemd's `cg_path_get_unit`, `cg_path_get_user_unit`).

/// The kinds of units that have cgroups with processes.
const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// Longest name of a unit (systemd's `UNIT_NAME_MAX`).
const LONGEST: usize = 255;

/// The innermost unit: one of a user's own systemd where there is one, else one of the host's.
/// What a unit or a container makes below its own cgroup is its own business, and no unit.
pub fn of(path: &str) -> Option<String> {
    let mut names = path.split('/').filter(|name| !name.is_empty());
    let unit = below_slices(&mut names)?;
    let of_user = is_user_manager(unit)
        .then(|| below_slices(&mut names))
        .flatten()
        // The user's systemd itself
        .filter(|&name| name != "init.scope");
    Some(of_user.unwrap_or(unit).to_owned())
}

/// Slices hold units and slices; the first name that is no slice is the unit, or nothing is.
fn below_slices<'a>(names: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = names
        .map(unescaped)
        .find(|name| !is_valid(name, ".slice"))?;
    KINDS
        .iter()
        .any(|kind| is_valid(name, kind))
        .then_some(name)
}

/// Names that could be taken for the kernel's own files have a `_` before them (`cg_escape`).
/// Other escapes belong to the unit's name.
fn unescaped(name: &str) -> &str {
    name.strip_prefix('_').unwrap_or(name)
}

fn is_valid(name: &str, kind: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    name.len() <= LONGEST
        && name.chars().all(allowed)
        && name.strip_suffix(kind).is_some_and(|stem| !stem.is_empty())
}

/// `user@1000.service`
fn is_user_manager(unit: &str) -> bool {
    unit.strip_prefix("user@")
        .and_then(|rest| rest.strip_suffix(".service"))
        .is_some_and(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn services_and_scopes_of_the_host_are_found() {
        for (path, unit) in [
            ("/init.scope", "init.scope"),
            ("/system.slice/nginx.service", "nginx.service"),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                "getty@tty1.service",
            ),
            ("/system.slice/cups.socket", "cups.socket"),
            ("/system.slice/run-x.mount", "run-x.mount"),
            (
                "/user.slice/user-1000.slice/session-2.scope",
                "session-2.scope",
            ),
            ("/top.service", "top.service"),
        ] {
            assert_eq!(of(path).as_deref(), Some(unit), "{path}");
        }
    }

    #[test]
    fn a_unit_of_a_users_own_systemd_is_found() {
        let user = "/user.slice/user-1000.slice/user@1000.service";
        for (below, unit) in [
            ("/app.slice/foo.service", "foo.service"),
            (
                "/app.slice/app-gnome-org.gnome.Terminal.slice/vte-spawn-1.scope",
                "vte-spawn-1.scope",
            ),
            ("/user.slice/podman-9.scope/x", "podman-9.scope"),
            ("/dbus.socket", "dbus.socket"),
            ("/init.scope", "user@1000.service"),
            ("/app.slice", "user@1000.service"),
            ("", "user@1000.service"),
        ] {
            assert_eq!(
                of(&format!("{user}{below}")).as_deref(),
                Some(unit),
                "{below}"
            );
        }
    }

    #[test]
    fn what_a_unit_makes_below_itself_is_no_unit() {
        for (path, unit) in [
            (
                "/system.slice/docker.service/inner.service",
                "docker.service",
            ),
            (
                "/machine.slice/machine-web.scope/payload/system.slice/a.service",
                "machine-web.scope",
            ),
        ] {
            assert_eq!(of(path).as_deref(), Some(unit), "{path}");
        }
        assert_eq!(of("/docker/0123/system.slice/nginx.service"), None);
        assert_eq!(of("/lxc.payload.web/system.slice/nginx.service"), None);
    }

    #[test]
    fn the_name_stays_as_systemctl_takes_it() {
        let path = r"/system.slice/systemd-cryptsetup@luks\x2d12.service";
        assert_eq!(
            of(path).as_deref(),
            Some(r"systemd-cryptsetup@luks\x2d12.service")
        );
        assert_eq!(
            of("/system.slice/_cpu.service").as_deref(),
            Some("cpu.service")
        );
    }

    #[test]
    fn what_is_no_name_of_a_unit_is_none() {
        for path in [
            "",
            "/",
            "/user.slice",
            "/system.slice/.service",
            "/system.slice/a b.service",
            "/system.slice/\u{202e}.service",
            "/system.slice/x.timer",
            "/../../system.slice/x.service",
            &format!("/{}.service", "x".repeat(250)),
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_unit_is_a_name_of_the_path(path in r"(/(user@1.service|a.slice|b.scope|[a-z.@\\_é]{0,9})){0,6}") {
            if let Some(unit) = of(&path) {
                prop_assert!(path.split('/').any(|name| unescaped(name) == unit));
            }
        }

        #[test]
        fn no_path_is_too_strange(path in any::<String>()) {
            drop(of(&path));
        }
    }
}
