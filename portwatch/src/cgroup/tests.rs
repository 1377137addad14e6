use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::*;
use crate::{
    event::{Container, Runtime},
    process::tests::{gone, own_attempt},
};

const ID: &str = "3f2504e04f8911d39a0c0305e82c3301b4d9f9a5d6b8a7c6e5f4031221304f5e";

/// A tree of directories that looks like one of cgroups.
fn tree(paths: &[&str]) -> tempfile::TempDir {
    let mount = tempfile::tempdir().unwrap();
    for path in paths {
        fs::create_dir_all(mount.path().join(path)).unwrap();
    }
    mount
}

fn cgroups(mount: &Path, has_version_1: bool) -> Cgroups {
    let mounts = Mounts {
        version_2: Vec::new(),
        has_version_1,
    };
    Cgroups::seen(View::Host(Some(mount.to_owned())), &mounts)
}

fn id(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn described(cgroups: &mut Cgroups, attempt: &Attempt, id: u64) -> Option<Arc<Cgroup>> {
    let mut attempt = Attempt {
        cgroup_id: Some(id),
        ..attempt.clone()
    };
    cgroups.describe(&mut attempt);
    attempt.cgroup
}

#[test]
fn the_cgroup_of_a_process_that_is_gone_is_found_in_the_tree() {
    let mount = tree(&["system.slice/nginx.service", "system.slice/other.service"]);
    let mut cgroups = cgroups(mount.path(), false);
    let service = id(&mount.path().join("system.slice/nginx.service"));
    let found = described(&mut cgroups, &gone(), service).unwrap();
    let expected = Cgroup {
        path: "/system.slice/nginx.service".to_owned(),
        unit: Some("nginx.service".to_owned()),
        container: None,
    };
    assert_eq!(*found, expected);
    let again = described(&mut cgroups, &gone(), service).unwrap();
    assert!(Arc::ptr_eq(&found, &again));
    // What came along on the walk needs none, even when the cgroup is gone too.
    let other = mount.path().join("system.slice/other.service");
    let other_id = id(&other);
    fs::remove_dir(&other).unwrap();
    let found = described(&mut cgroups, &gone(), other_id).unwrap();
    assert_eq!(found.unit.as_deref(), Some("other.service"));
}

#[test]
fn what_is_not_in_the_tree_is_asked_for_after_a_rest() {
    let mount = tree(&["a"]);
    let mut cgroups = cgroups(mount.path(), false);
    let missing = u64::MAX;
    assert_eq!(described(&mut cgroups, &gone(), missing), None);
    assert!(matches!(
        cgroups.by_id.get(&missing),
        Some(Found::Nowhere { until }) if *until > Instant::now()
    ));
    let late = mount.path().join("late");
    fs::create_dir(&late).unwrap();
    assert_eq!(described(&mut cgroups, &gone(), id(&late)), None);
    cgroups.by_id.clear();
    cgroups.tree = Some(Tree::new(mount.path().to_owned()));
    assert!(described(&mut cgroups, &gone(), id(&late)).is_some());
}

#[test]
fn the_root_is_known_without_looking() {
    let mount = tree(&[]);
    let root = id(mount.path());
    let found = described(&mut cgroups(mount.path(), false), &gone(), root).unwrap();
    assert_eq!(found.path, "/");
    let mut nowhere = Cgroups::seen(View::Host(None), &Mounts::default());
    let found = described(&mut nowhere, &gone(), ROOT).unwrap();
    assert_eq!(found.path, "/");
    assert_eq!(described(&mut nowhere, &gone(), 77), None);
}

#[test]
fn this_process_is_in_its_cgroup() {
    let mut cgroups = Cgroups::new();
    let text = fs::read("/proc/thread-self/cgroup").unwrap();
    let line = membership::lines(&text).find(Line::is_version_2);
    let Some((line, tree)) = line.zip(cgroups.tree.as_ref()) else {
        return;
    };
    let Some(id) = tree.id_of(line.path) else {
        // In a cgroup that lies outside the tree that is seen from here.
        return;
    };
    let path = String::from_utf8_lossy(line.path).into_owned();
    let found = described(&mut cgroups, &own_attempt(), id).unwrap();
    assert_eq!(found.path, path);
    assert_eq!(described(&mut cgroups, &gone(), id).unwrap().path, path);
}

#[test]
fn a_caller_that_was_moved_is_not_believed() {
    let mount = tree(&["a"]);
    let tree = Tree::new(mount.path().to_owned());
    let attempt = Attempt {
        cgroup_id: Some(u64::MAX),
        ..own_attempt()
    };
    assert_eq!(path_of_caller(&attempt, &tree, &View::Host(None)), None);
}

#[test]
fn on_a_hybrid_host_the_version_1_trees_tell_unit_and_container() {
    let docker = format!(
        "12:pids:/docker/{ID}\n11:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n"
    );
    let kubernetes = format!(
        "5:cpu,cpuacct:/kubepods/burstable/pod3e1f0c2a-1111/{ID}\n1:name=systemd:/kubepods/burstable/pod3e1f0c2a-1111/{ID}\n0::/\n"
    );
    let without_systemd = format!("3:memory:/docker/{ID}\n2:cpu:/\n1:name=systemd:/\n0::/\n");
    let id = || ID.to_owned();
    for (text, runtime) in [
        (docker, Some(Runtime::Docker)),
        (kubernetes, None),
        (without_systemd, Some(Runtime::Docker)),
    ] {
        let found = in_version_1(text.as_bytes());
        assert_eq!(found.container, Some(Container { runtime, id: id() }));
        assert_eq!((found.path.as_str(), found.unit), ("/", None));
    }
    let text =
        "9:pids:/system.slice/sshd.service\n1:name=systemd:/system.slice/sshd.service\n0::/\n";
    let found = in_version_1(text.as_bytes());
    assert_eq!(found.unit.as_deref(), Some("sshd.service"));
    assert_eq!(found.container, None);
    assert_eq!(in_version_1(b"\xff").unit, None);
}

#[test]
fn on_a_hybrid_host_a_process_is_looked_up_once_a_second() {
    let mount = tree(&[]);
    let root = id(mount.path());
    let mut cgroups = cgroups(mount.path(), true);
    let mut own = own_attempt();
    let first = described(&mut cgroups, &own, root).unwrap();
    let text = fs::read("/proc/thread-self/cgroup").unwrap();
    assert_eq!(*first, in_version_1(&text));
    own.id.start_ns += TRUSTED_NS - 1;
    assert!(Arc::ptr_eq(
        &first,
        &described(&mut cgroups, &own, root).unwrap()
    ));
    own.id.start_ns += 1;
    let later = described(&mut cgroups, &own, root).unwrap();
    assert!(!Arc::ptr_eq(&first, &later));
    let mut unknown = Attempt {
        process_start: None,
        ..own.clone()
    };
    let first = described(&mut cgroups, &unknown, root).unwrap();
    unknown.id.start_ns += process::CLOSE_NS - 1;
    let same = described(&mut cgroups, &unknown, root).unwrap();
    assert!(Arc::ptr_eq(&first, &same));
    unknown.id.start_ns += 1;
    let later = described(&mut cgroups, &unknown, root).unwrap();
    assert!(!Arc::ptr_eq(&first, &later));
    // Of a process that is gone, only the root is known.
    let gone = described(&mut cgroups, &gone(), root).unwrap();
    assert_eq!(*gone, at(b"/"));
}

#[test]
fn many_cgroups_do_not_fill_the_memory() {
    let mount = tree(&["a"]);
    let mut cgroups = cgroups(mount.path(), false);
    for id in 1_u64 << 60.. {
        described(&mut cgroups, &gone(), id);
        assert!(cgroups.by_id.len() <= CAPACITY);
        if id == (1 << 60) + 2 * u64::try_from(CAPACITY).unwrap() {
            break;
        }
    }
}

/// What mountinfo says in a cgroup namespace, with the directories that are the whole tree's root.
fn view_of_guest(mountinfo: &str, roots: &[&str]) -> View {
    let is_root = |point: &Path| roots.iter().any(|root| point == Path::new(root));
    View::new(false, &Mounts::parse(mountinfo.as_bytes()), is_root)
}

#[test]
fn a_part_of_the_tree_is_not_taken_for_the_whole() {
    let own = "1 2 0:3 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    let view = view_of_guest(own, &[]);
    assert_eq!(view, View::Part);
    let said = view.limit(false).unwrap();
    assert!(said.remedy.unwrap().contains("--cgroupns=host"));
    // A bind mount of what is above the namespace's root, but below the tree's.
    let middle = "1 2 0:3 /.. /mnt ro - cgroup2 cgroup rw\n";
    assert_eq!(view_of_guest(middle, &[]), View::Part);
    let hosts = format!("{own}{middle}1 2 0:3 /../.. /host/cgroup ro - cgroup2 cgroup rw\n");
    let view = view_of_guest(&hosts, &["/host/cgroup"]);
    let expected = View::Above {
        point: "/host/cgroup".into(),
        above: 2,
    };
    assert_eq!(view, expected);
    assert_eq!(view.limit(false), None);
    assert!(view.limit(true).is_some());
}

#[test]
fn paths_of_a_cgroup_namespace_are_told_by_the_host_s() {
    let above = View::Above {
        point: "/host".into(),
        above: 2,
    };
    for (shown, path) in [
        (
            "/../../system.slice/a.service",
            Some("/system.slice/a.service"),
        ),
        ("/../..", Some("/")),
        ("/../../..a", Some("/..a")),
        ("/../sibling", None),
        ("/", None),
        ("/../..a", None),
    ] {
        assert_eq!(
            above.absolute(shown.as_bytes()),
            path.map(str::as_bytes),
            "{shown}"
        );
        assert_eq!(View::Part.absolute(shown.as_bytes()), None);
        assert_eq!(
            View::Host(None).absolute(shown.as_bytes()),
            Some(shown.as_bytes())
        );
    }
}

#[test]
fn what_a_cgroup_namespace_hides_is_not_known_and_the_rest_is_found_by_its_id() {
    let mount = tree(&["system.slice/nginx.service", &format!("docker-{ID}.scope")]);
    let container = id(&mount.path().join(format!("docker-{ID}.scope")));
    let mut part = Cgroups::seen(View::Part, &Mounts::default());
    assert_eq!(described(&mut part, &own_attempt(), container), None);
    assert_eq!(part.of_process(std::process::id()), None);
    assert!(!part.sees_all() && part.limit().is_some());
    let view = View::Above {
        point: mount.path().to_owned(),
        above: 1,
    };
    let mut above = Cgroups::seen(view, &Mounts::default());
    let found = described(&mut above, &own_attempt(), container).unwrap();
    assert_eq!(found.container.as_ref().map(|found| &*found.id), Some(ID));
    let root = id(mount.path());
    let hybrid = Mounts {
        version_2: Vec::new(),
        has_version_1: true,
    };
    let view = View::Above {
        point: mount.path().to_owned(),
        above: 1,
    };
    let mut above = Cgroups::seen(view, &hybrid);
    assert_eq!(described(&mut above, &own_attempt(), root), None);
}
