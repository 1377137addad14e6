//! How user namespaces lie to each other, as ioctl_ns(2) tells it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::fstat;

use crate::explain::predict::Reach;

/// Deeper than the kernel lets them lie (`create_user_ns`: 32 below the first).
const DEPTH: usize = 34;

/// The user namespace that owns another namespace; `None` where it is not portwatch's own, nor
/// below it (`ns_get_owner`, kernel/user_namespace.c).
pub(super) fn owner_of(namespace: impl AsFd) -> Option<OwnedFd> {
    nsfs::owner(namespace.as_fd()).ok()
}

pub(super) fn inode_of(namespace: &OwnedFd) -> Option<u32> {
    u32::try_from(fstat(namespace).ok()?.st_ino).ok()
}

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
    if inode_of(&namespace) == Some(caller) {
        return Reach::Same;
    }
    for _ in 0..DEPTH {
        let made_by = nsfs::made_by(namespace.as_fd()).ok();
        let Ok(parent) = nsfs::parent(namespace.as_fd()) else {
            return Reach::Elsewhere;
        };
        if inode_of(&parent) == Some(caller) {
            return Reach::Below { made_by };
        }
        namespace = parent;
    }
    Reach::Unknown
}

#[expect(unsafe_code, reason = "rustix has no names for these ioctls")]
mod nsfs {
    use std::{
        ffi::c_void,
        os::fd::{BorrowedFd, FromRawFd as _, OwnedFd},
    };

    use rustix::{
        io::Result,
        ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode},
    };

    /// include/uapi/linux/nsfs.h
    const NS_GET_USERNS: Opcode = opcode::none(0xB7, 1);
    const NS_GET_PARENT: Opcode = opcode::none(0xB7, 2);
    const NS_GET_OWNER_UID: Opcode = opcode::none(0xB7, 4);

    /// Opens a namespace that has to do with another.
    struct Related(Opcode);

    // SAFETY: the kernel takes no argument and returns a new descriptor (fs/nsfs.c, `ns_ioctl`).
    unsafe impl Ioctl for Related {
        type Output = OwnedFd;

        const IS_MUTATING: bool = false;

        fn opcode(&self) -> Opcode {
            self.0
        }

        fn as_ptr(&mut self) -> *mut c_void {
            std::ptr::null_mut()
        }

        unsafe fn output_from_ptr(fd: IoctlOutput, _: *mut c_void) -> Result<OwnedFd> {
            // SAFETY: it is new and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
    }

    pub(super) fn owner(namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
        // SAFETY: the opcode is one of those that the implementation above is for.
        unsafe { ioctl(namespace, Related(NS_GET_USERNS)) }
    }

    pub(super) fn parent(namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
        // SAFETY: as above.
        unsafe { ioctl(namespace, Related(NS_GET_PARENT)) }
    }

    /// The user who made a user namespace, in portwatch's numbering.
    pub(super) fn made_by(namespace: BorrowedFd<'_>) -> Result<u32> {
        // SAFETY: it writes one `uid_t`, despite its opcode, which names no argument.
        let getter = unsafe { Getter::<NS_GET_OWNER_UID, u32>::new() };
        // SAFETY: as above.
        unsafe { ioctl(namespace, getter) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnedFd {
        std::fs::File::open("/proc/self/ns/user").unwrap().into()
    }

    #[test]
    fn ones_own_user_namespace_is_the_same() {
        let inode = inode_of(&own());
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
