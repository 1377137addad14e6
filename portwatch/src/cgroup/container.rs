//! The container that a cgroup path names.
//!
//! Runtimes put the id into the name of the cgroup, each in its own way. Whoever may make
//! cgroups (a user below the own systemd, say) may use the same names: it is what the cgroup
//! says, and no proof.

use crate::event::{Container, Runtime};

/// The innermost container: of one that runs in another, the one that the process sees.
pub fn of(path: &str) -> Option<Container> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    (0..names.len()).rev().find_map(|at| {
        let place = Place {
            parent: at.checked_sub(1).map(|above| names[above]),
            name: names[at],
            child: names.get(at + 1).copied(),
            depth: at,
        };
        place.with_prefix().or(place.bare()).or(place.named())
    })
}

/// One name of a path, and where it stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Option<&'a str>,
    name: &'a str,
    child: Option<&'a str>,
    depth: usize,
}

impl Place<'_> {
    /// `docker-ID.scope` of runtimes that leave their cgroups to systemd, the same without
    /// `.scope`, and `kubepods-podUID.slice:cri-containerd:ID` where the two were mixed up.
    fn with_prefix(self) -> Option<Container> {
        let name = self.name.strip_suffix(".scope").unwrap_or(self.name);
        let (prefix, id) = name.rsplit_once(['-', ':'])?;
        let runtime = match prefix.rsplit(':').next()? {
            "docker" => Runtime::Docker,
            "cri-containerd" | "nerdctl" => Runtime::Containerd,
            "crio" => Runtime::CriO,
            "libpod" | "libpod-payload" => Runtime::Podman,
            // Among others `libpod-conmon` and `crio-conmon`, which watch a container from outside.
            _ => return None,
        };
        is_id(id).then(|| container(runtime, id))
    }

    /// `/docker/ID`; `/kubepods/burstable/podUID/ID`, from which the runtime does not show.
    fn bare(self) -> Option<Container> {
        let runtime = (self.parent == Some("docker")).then_some(Runtime::Docker);
        is_id(self.name).then(|| Container {
            runtime,
            id: self.name.to_owned(),
        })
    }

    /// Containers that have names: of LXC (and Incus, LXD, Proxmox) and systemd-nspawn.
    fn named(self) -> Option<Container> {
        if let Some(name) = self.name.strip_prefix("lxc.payload.") {
            return (!name.is_empty()).then(|| container(Runtime::Lxc, name));
        }
        // Before LXC 4, and of Proxmox: `/lxc/NAME`
        if matches!(self.parent, Some("lxc" | "lxc.payload")) && self.depth == 1 {
            return Some(container(Runtime::Lxc, self.name));
        }
        self.machine()
            .filter(|name| !name.is_empty())
            .map(|name| container(Runtime::SystemdNspawn, &unescaped(name)))
    }

    /// `machine-NAME.scope` may also be a virtual machine; only systemd-nspawn puts a `payload`
    /// into it, beside a `supervisor` of its own.
    fn machine(&self) -> Option<&str> {
        let scope = self
            .name
            .strip_prefix("machine-")
            .and_then(|name| name.strip_suffix(".scope"))
            .filter(|_| self.child == Some("payload"));
        let service = self
            .name
            .strip_prefix("systemd-nspawn@")
            .and_then(|name| name.strip_suffix(".service"))
            .filter(|_| self.child != Some("supervisor"));
        scope.or(service)
    }
}

fn container(runtime: Runtime, id: &str) -> Container {
    Container {
        runtime: Some(runtime),
        id: id.to_owned(),
    }
}

/// All of them use 256 random bits, in small hexadecimal digits.
fn is_id(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Undoes `\x2d`, with which systemd writes bytes that a unit's name cannot hold.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, later @ ..] = rest {
        let escaped = rest.strip_prefix(b"\\x").and_then(|code| {
            let (code, later) = code.split_first_chunk::<2>()?;
            let digits = code.iter().all(u8::is_ascii_hexdigit);
            let code = str::from_utf8(code).ok().filter(|_| digits)?;
            Some((u8::from_str_radix(code, 16).ok()?, later))
        });
        let (byte, later) = escaped.unwrap_or((*first, later));
        bytes.push(byte);
        rest = later;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f2504e04f8911d39a0c0305e82c3301b4d9f9a5d6b8a7c6e5f4031221304f5e";
    const OTHER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    /// The runtime and the id at `ID` in a path.
    fn at_id(path: &str) -> Option<(Option<Runtime>, bool)> {
        let found = of(&path.replace("OTHER", OTHER).replace("ID", ID))?;
        Some((found.runtime, found.id == ID))
    }

    fn assert_all(runtime: Option<Runtime>, paths: &[&str]) {
        for path in paths {
            assert_eq!(at_id(path), Some((runtime, true)), "{path}");
        }
    }

    #[test]
    fn docker_is_found_with_either_driver_and_rootless() {
        assert_all(
            Some(Runtime::Docker),
            &[
                "/system.slice/docker-ID.scope",
                "/docker/ID",
                "/docker/ID/init",
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
                "/ecstasks.slice/ecstasks-0a.slice/docker-ID.scope",
                "/kubepods.slice/kubepods-pod3e1f0c2a_1111_2222.slice/docker-ID.scope",
                "/system.slice/docker-ID.scope/system.slice/nginx.service",
            ],
        );
    }

    #[test]
    fn containerd_is_found() {
        assert_all(
            Some(Runtime::Containerd),
            &[
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3e1f0c2a_1111.slice/cri-containerd-ID.scope",
                "/system.slice/containerd.service/kubepods-burstable-pod3e1f.slice:cri-containerd:ID",
                "/system.slice/nerdctl-ID.scope",
            ],
        );
    }

    #[test]
    fn crio_is_found_and_its_monitor_is_none() {
        assert_all(
            Some(Runtime::CriO),
            &[
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod3e1f.slice/crio-ID.scope",
                "/kubepods/besteffort/pod3e1f0c2a-1111/crio-ID",
            ],
        );
        assert_eq!(at_id("/system.slice/crio-conmon-ID.scope"), None);
    }

    #[test]
    fn podman_is_found_rootless_too_and_its_monitor_is_none() {
        assert_all(
            Some(Runtime::Podman),
            &[
                "/machine.slice/libpod-ID.scope",
                "/machine.slice/libpod-ID.scope/container",
                "/libpod_parent/libpod-ID",
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                "/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope",
                "/system.slice/web.service/libpod-payload-ID",
            ],
        );
        assert_eq!(at_id("/machine.slice/libpod-conmon-ID.scope"), None);
    }

    #[test]
    fn an_id_alone_does_not_tell_the_runtime() {
        assert_all(
            None,
            &[
                "/kubepods/besteffort/pod3e1f0c2a-1111/ID",
                "/kubepods/pod3e1f0c2a-1111/ID",
                "/ecs/0a1b/ID",
                "/default/ID",
            ],
        );
    }

    #[test]
    fn of_containers_in_containers_the_innermost_counts() {
        assert_all(
            Some(Runtime::Containerd),
            &["/docker/OTHER/kubelet.slice/kubelet-kubepods.slice/cri-containerd-ID.scope"],
        );
        assert_all(Some(Runtime::Docker), &["/docker/OTHER/docker/ID"]);
    }

    #[test]
    fn lxc_and_nspawn_have_names() {
        for (path, runtime, id) in [
            ("/lxc.payload.web/system.slice/x", Runtime::Lxc, "web"),
            ("/lxc.payload/web", Runtime::Lxc, "web"),
            ("/lxc/101/ns/init.scope", Runtime::Lxc, "101"),
            (
                r"/machine.slice/machine-my\x2dweb.scope/payload/init.scope",
                Runtime::SystemdNspawn,
                "my-web",
            ),
            (
                "/machine.slice/systemd-nspawn@web.service/payload",
                Runtime::SystemdNspawn,
                "web",
            ),
            (
                "/machine.slice/systemd-nspawn@web.service",
                Runtime::SystemdNspawn,
                "web",
            ),
        ] {
            assert_eq!(of(path), Some(container(runtime, id)), "{path}");
        }
    }

    #[test]
    fn what_is_no_container_is_none() {
        for path in [
            "",
            "/",
            "/system.slice/docker.service",
            "/lxc.monitor.web",
            "/lxc.payload.",
            r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/vcpu0",
            "/machine.slice/systemd-nspawn@web.service/supervisor",
            "/a/lxc/b",
            "/system.slice/docker-3f2504e0.scope",
            "/user.slice/docker-.scope",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(at_id("/x/my-ID.scope"), None);
        assert_eq!(of(&format!("/docker/{}", ID.to_uppercase())), None);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for (name, meant) in [
            (r"a\x2db", "a-b"),
            (r"\x", r"\x"),
            (r"\x2", r"\x2"),
            (r"\x+1", r"\x+1"),
            (r"\xzz\x41", r"\xzzA"),
            (r"\xff", "\u{fffd}"),
        ] {
            assert_eq!(unescaped(name), meant);
        }
    }

    proptest! {
        #[test]
        fn no_path_is_too_strange(path in any::<String>(), odd in r"(/[-:a-z0-9.@\\x]{0,80}(.scope|.service)?){0,5}") {
            drop(of(&path));
            drop(of(&odd));
        }
    }
}
