//! From one namespace, or a socket, to the namespaces that it has to do with (ioctl_ns(2)).

use std::{
    ffi::c_void,
    os::fd::{AsFd, FromRawFd as _, OwnedFd},
};

use rustix::{
    fs::fstat,
    io::Result,
    ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode},
    thread::LinkNameSpaceType,
};

/// include/uapi/linux/nsfs.h
const NS_GET_USERNS: Opcode = opcode::none(0xB7, 1);
const NS_GET_PARENT: Opcode = opcode::none(0xB7, 2);
const NS_GET_NSTYPE: Opcode = opcode::none(0xB7, 3);
const NS_GET_OWNER_UID: Opcode = opcode::none(0xB7, 4);
/// include/uapi/linux/sockios.h, since 4.10
const SIOCGSKNS: Opcode = 0x894C;

/// The number that tells a namespace from every other.
pub fn inode(namespace: impl AsFd) -> Option<u32> {
    u32::try_from(fstat(namespace).ok()?.st_ino).ok()
}

/// Whether a file stands for a network namespace; an error where it stands for none.
#[expect(unsafe_code, reason = "rustix has no name for this ioctl")]
pub fn is_network(file: impl AsFd) -> Result<bool> {
    // SAFETY: the kernel takes no argument and returns a number (fs/nsfs.c, `ns_ioctl`).
    let kind = unsafe { ioctl(file, Kind) }?;
    Ok(kind.cast_unsigned() == LinkNameSpaceType::Network as u32)
}

/// The user namespace that owns another namespace; an error where it is not portwatch's own, nor
/// below it (`ns_get_owner`, kernel/user_namespace.c).
pub fn owner(namespace: impl AsFd) -> Result<OwnedFd> {
    related(namespace, NS_GET_USERNS)
}

/// The user namespace above another.
pub fn parent(namespace: impl AsFd) -> Result<OwnedFd> {
    related(namespace, NS_GET_PARENT)
}

/// The network namespace that a socket belongs to, which need not be its process's; takes
/// `CAP_NET_ADMIN` there.
pub fn of_socket(socket: impl AsFd) -> Result<OwnedFd> {
    related(socket, SIOCGSKNS)
}

/// The user who made a user namespace, in portwatch's numbering.
#[expect(unsafe_code, reason = "rustix has no name for this ioctl")]
pub fn made_by(namespace: impl AsFd) -> Result<u32> {
    // SAFETY: it writes one `uid_t`, despite its opcode, which names no argument.
    let getter = unsafe { Getter::<NS_GET_OWNER_UID, u32>::new() };
    // SAFETY: as above.
    unsafe { ioctl(namespace, getter) }
}

#[expect(unsafe_code, reason = "rustix has no names for these ioctls")]
fn related(to: impl AsFd, opcode: Opcode) -> Result<OwnedFd> {
    // SAFETY: all callers give an opcode that the implementation below is for.
    unsafe { ioctl(to, Related(opcode)) }
}

/// Opens a namespace that has to do with a namespace or a socket.
struct Related(Opcode);

// SAFETY: the kernel takes no argument and returns a new descriptor (fs/nsfs.c, `ns_ioctl`;
// net/socket.c, `sock_ioctl`).
#[expect(unsafe_code, reason = "rustix has no names for these ioctls")]
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

/// The kind of a namespace, as the `CLONE_NEW*` flag of clone(2) that makes one.
struct Kind;

// SAFETY: as above, and nothing is opened.
#[expect(unsafe_code, reason = "rustix has no name for this ioctl")]
unsafe impl Ioctl for Kind {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        NS_GET_NSTYPE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(kind: IoctlOutput, _: *mut c_void) -> Result<IoctlOutput> {
        Ok(kind)
    }
}
