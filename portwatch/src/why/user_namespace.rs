//! How user namespaces lie to each other, as ioctl_ns(2) tells it.

use std::os::fd::OwnedFd;

use crate::{explain::predict::Reach, nsfs};

/// Deeper than the kernel lets them lie (`create_user_ns`: 32 below the first).
const DEPTH: usize = 34;

/// Goes from the owner of the network namespace upwards, as `cap_capable_helper` does
/// (security/commoncap.c).
///
/// The way ends at portwatch's own user namespace: a caller in it, or below it, is above nothing
/// that lies beyond.
pub(super) fn reach(owner: Option<OwnedFd>, caller: Option<u32>) -> Reach {
    let Some(caller) = caller else {
        return Reach::Unknown;
    };
    let Some(mut namespace) = owner else {
        return Reach::Elsewhere;
    };
    if nsfs::inode(&namespace) == Some(caller) {
        return Reach::Same;
    }
    for _ in 0..DEPTH {
        let made_by = nsfs::made_by(&namespace).ok();
        let Ok(parent) = nsfs::parent(&namespace) else {
            return Reach::Elsewhere;
        };
        if nsfs::inode(&parent) == Some(caller) {
            return Reach::Below { made_by };
        }
        namespace = parent;
    }
    Reach::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnedFd {
        std::fs::File::open("/proc/self/ns/user").unwrap().into()
    }

    #[test]
    fn ones_own_user_namespace_is_the_same() {
        let inode = nsfs::inode(own());
        assert!(inode.is_some());
        assert_eq!(reach(Some(own()), inode), Reach::Same);
    }

    #[test]
    fn above_ones_own_there_is_nothing() {
        assert_eq!(reach(Some(own()), Some(1)), Reach::Elsewhere);
        assert_eq!(reach(None, Some(1)), Reach::Elsewhere);
        assert_eq!(reach(Some(own()), None), Reach::Unknown);
    }
}
