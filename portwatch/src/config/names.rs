//! What users give by name, looked up on this host.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{cli, event::System, filter::Names, users::Users};

/// This host.
pub(super) struct Host<'a> {
    users: &'a Users,
    root: PathBuf,
    watches_a_mac: bool,
}

impl<'a> Host<'a> {
    pub(super) fn new(users: &'a Users) -> Self {
        Self {
            users,
            root: "/".into(),
            watches_a_mac: false,
        }
    }

    /// For what is watched, and not replayed.
    pub(super) fn watching(users: &'a Users, source: cli::Source, system: Option<System>) -> Self {
        let is_linux = system.map_or(!cfg!(target_os = "macos"), |system| system == System::Linux);
        Self {
            watches_a_mac: source.is_dtrace() && !is_linux,
            ..Self::new(users)
        }
    }
}

impl Names for Host<'_> {
    fn numbers_are_darwins(&self) -> bool {
        self.watches_a_mac
    }

    fn user(&self, name: &str) -> Option<u32> {
        self.users.uid_of(name)
    }

    /// The names are those of ip-netns(8).
    fn netns(&self, name: &str) -> Result<u32, String> {
        let path = match name.strip_prefix("pid:") {
            Some(pid) => format!("/proc/{pid}/ns/net"),
            None if name.contains('/') => name.to_owned(),
            None => format!("/run/netns/{name}"),
        };
        namespace(Path::new(&path)).map_err(|error| format!("{path}: {error}"))
    }

    /// Of docker, and of podman where it runs as root. Other runtimes keep their names elsewhere.
    fn container(&self, name: &str) -> Option<String> {
        let root = &self.root;
        docker(&root.join("var/lib/docker/containers"), name).or_else(|| {
            let file = "var/lib/containers/storage/overlay-containers/containers.json";
            podman(&root.join(file), name)
        })
    }
}

/// The inode of a namespace's file.
fn namespace(path: &Path) -> io::Result<u32> {
    let metadata = fs::metadata(path)?;
    // All namespaces are files of one file system of the kernel's own (fs/nsfs.c).
    if metadata.dev() != fs::metadata("/proc/self/ns/net")?.dev() {
        return Err(io::Error::other("this is no network namespace"));
    }
    u32::try_from(metadata.ino()).map_err(io::Error::other)
}

/// Each container of docker has a directory, named like its id.
fn docker(containers: &Path, name: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        name: String,
    }

    fs::read_dir(containers).ok()?.flatten().find_map(|entry| {
        let file = fs::File::open(entry.path().join("config.v2.json")).ok()?;
        let config: Config = serde_json::from_reader(io::BufReader::new(file)).ok()?;
        let found = config.name.trim_start_matches('/') == name;
        found.then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// podman has all of them in one file.
fn podman(containers: &Path, name: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Container {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }

    let file = fs::File::open(containers).ok()?;
    let all: Vec<Container> = serde_json::from_reader(io::BufReader::new(file)).ok()?;
    let mut all = all.into_iter();
    let found = all.find(|container| container.names.iter().any(|known| known == name))?;
    Some(found.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_found_by_process_and_by_path() {
        let users = Users::new();
        let host = Host::new(&users);
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let of_process = host.netns(&format!("pid:{}", std::process::id())).unwrap();
        assert_eq!(own.to_str().unwrap(), format!("net:[{of_process}]"));
        assert_eq!(host.netns("/proc/self/ns/net"), Ok(of_process));
    }

    #[test]
    fn what_is_no_namespace_is_refused() {
        let users = Users::new();
        let host = Host::new(&users);
        let error = host.netns("no-such-name").unwrap_err();
        assert!(error.starts_with("/run/netns/no-such-name: "), "{error}");
        let error = host.netns("/proc/self/status").unwrap_err();
        assert!(error.ends_with("this is no network namespace"), "{error}");
        assert!(host.netns("pid:0").is_err());
    }

    #[test]
    fn containers_of_docker_and_podman_have_names() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write(
            "var/lib/docker/containers/3f25/config.v2.json",
            r#"{"ID":"3f25","Name":"/web","Path":"nginx"}"#,
        );
        write("var/lib/docker/containers/bad/config.v2.json", "{");
        write(
            "var/lib/containers/storage/overlay-containers/containers.json",
            r#"[{"id":"aa01","names":["db","pod-db"]},{"id":"aa02"}]"#,
        );
        let users = Users::new();
        let host = Host {
            users: &users,
            root: root.path().into(),
            watches_a_mac: false,
        };
        assert_eq!(host.container("web").as_deref(), Some("3f25"));
        assert_eq!(host.container("pod-db").as_deref(), Some("aa01"));
        assert_eq!(host.container("3f25"), None);
    }
}
