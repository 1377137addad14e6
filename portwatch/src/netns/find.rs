//! From the inode of a network namespace to the namespace.

use std::{
    collections::HashMap,
    fs, io,
    os::linux::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::Namespace;
use crate::event::{Lookup, Unseen};

/// Where `ip netns` gives namespaces a name (a file that one is mounted on), and where docker does.
const IP_NETNS: &str = "/run/netns";
const NAMED: [&str; 2] = [IP_NETNS, "/var/run/docker/netns"];

/// Namespaces, remembered by where they were found. What is there may be another one by now, so
/// each use compares the inode.
#[derive(Debug, Default)]
pub struct Namespaces {
    places: HashMap<u32, Place>,
}

/// Where a namespace can be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file that stands for it
    pub path: Option<PathBuf>,
    /// A process in it
    pub tgid: Option<u32>,
}

impl Place {
    /// Its name, where it has one.
    pub fn name(&self) -> Option<String> {
        let name = self.path.as_ref()?.file_name()?;
        Some(name.to_string_lossy().into_owned())
    }

    pub fn open(&self) -> io::Result<Namespace> {
        match (&self.path, self.tgid) {
            (Some(path), _) => Namespace::open(path),
            (None, Some(tgid)) => Namespace::of_process(tgid),
            (None, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Namespaces {
    /// Places that are remembered. When they are that many, all are forgotten: those in use are
    /// soon back.
    const CAPACITY: usize = 4096;

    /// The namespace with this inode, if it is where it is thought to be: portwatch's own, at
    /// `near`, or where it was found before.
    pub fn known(&self, inode: u32, near: &Place) -> Option<Namespace> {
        let is_it = |found: &Namespace| found.inode() == inode;
        let at = |place: &Place| place.open().ok().filter(is_it);
        let own = Namespace::own().ok().filter(is_it);
        own.or_else(|| at(near))
            .or_else(|| self.places.get(&inode).and_then(at))
    }

    /// The namespace with this inode, wherever it has a name or a process. Never not there: a
    /// socket alone keeps one, which has neither.
    pub fn find(&mut self, inode: u32) -> Lookup<Namespace> {
        let (places, unseen) = self.search();
        let Some(place) = places.get(&inode) else {
            return Lookup::NotSeen(unseen.unwrap_or(Unseen::Gone));
        };
        match place.open() {
            Ok(found) if found.inode() == inode => Lookup::Found(found),
            Ok(_) => Lookup::NotSeen(Unseen::Gone),
            Err(error) => Lookup::NotSeen(Unseen::from(&error)),
        }
    }

    /// The name by which `ip netns` knows the namespace with this inode.
    pub fn name_of(inode: u32) -> Option<String> {
        let mut named = Self::default();
        named.take_in_names(IP_NETNS);
        named.places.get(&inode)?.name()
    }

    /// Looks for namespaces anew; and why there may be more.
    pub fn search(&mut self) -> (&HashMap<u32, Place>, Option<Unseen>) {
        self.places.clear();
        for directory in NAMED {
            self.take_in_names(directory);
        }
        let unseen = self.take_in(Path::new("/proc"), |name, place| {
            place.tgid = place.tgid.or(name.parse().ok());
        });
        (&self.places, unseen)
    }

    fn take_in_names(&mut self, directory: &str) {
        let directory = Path::new(directory);
        self.take_in(directory, |name, place| {
            place.path = Some(directory.join(name));
        });
    }

    /// Goes through a directory of namespaces, or of processes; tells why not all could be seen.
    fn take_in(&mut self, directory: &Path, note: impl Fn(&str, &mut Place)) -> Option<Unseen> {
        let mut unseen = None;
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if self.places.len() >= Self::CAPACITY {
                return Some(Unseen::NotSupported);
            }
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let mut place = Place::default();
            note(name, &mut place);
            match place.inode() {
                Ok(inode) => note(name, self.places.entry(inode).or_default()),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    unseen = Some(Unseen::Permission);
                }
                // Not a process, or gone.
                Err(_) => {}
            }
        }
        unseen
    }
}

impl Place {
    /// Without opening it, which would take a descriptor for each.
    fn inode(&self) -> io::Result<u32> {
        let found = match (&self.path, self.tgid) {
            (Some(path), _) => fs::metadata(path),
            (None, Some(tgid)) => fs::metadata(format!("/proc/{tgid}/ns/net")),
            (None, None) => Err(io::ErrorKind::NotFound.into()),
        };
        u32::try_from(found?.st_ino()).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_process() -> Place {
        Place {
            path: None,
            tgid: Some(std::process::id()),
        }
    }

    #[test]
    fn ones_own_namespace_is_known() {
        let own = Namespace::own().unwrap().inode();
        let namespaces = Namespaces::default();
        let found = namespaces.known(own, &Place::default()).unwrap();
        assert_eq!(found.inode(), own);
        assert!(namespaces.known(own ^ 1, &own_process()).is_none());
    }

    #[test]
    fn a_search_finds_a_process_in_each_namespace_that_it_may_look_at() {
        let own = Namespace::own().unwrap().inode();
        let mut namespaces = Namespaces::default();
        assert_eq!(namespaces.find(own).found().unwrap().inode(), own);
        assert!(namespaces.places[&own].tgid.is_some());
    }

    #[test]
    fn a_namespace_that_was_not_found_may_be_there() {
        let found = Namespaces::default().find(1);
        assert!(matches!(found, Lookup::NotSeen(_)), "{found:?}");
    }

    #[test]
    fn a_place_that_has_another_namespace_by_now_is_not_taken() {
        let mut namespaces = Namespaces::default();
        namespaces.places.insert(1, own_process());
        assert!(namespaces.known(1, &Place::default()).is_none());
    }
}
