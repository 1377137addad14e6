//! Errors, numbered and named as Linux has them, and those that only macOS has.

/// An error by its meaning: of those that Linux has, its number (`EACCES` is 13), whichever system
/// it was met on. Always positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(u16);

/// Those that something is concluded from.
impl Errno {
    pub const EPERM: Self = Self(1);
    pub const EINTR: Self = Self(4);
    pub const EBADF: Self = Self(9);
    pub const EAGAIN: Self = Self(11);
    pub const ENOMEM: Self = Self(12);
    pub const EACCES: Self = Self(13);
    pub const EFAULT: Self = Self(14);
    pub const ENODEV: Self = Self(19);
    pub const EINVAL: Self = Self(22);
    pub const EPIPE: Self = Self(32);
    pub const ENAMETOOLONG: Self = Self(36);
    pub const ENOSYS: Self = Self(38);
    pub const ENONET: Self = Self(64);
    pub const EPROTO: Self = Self(71);
    pub const ENOTSOCK: Self = Self(88);
    pub const EDESTADDRREQ: Self = Self(89);
    pub const ENOPROTOOPT: Self = Self(92);
    pub const EOPNOTSUPP: Self = Self(95);
    pub const EAFNOSUPPORT: Self = Self(97);
    pub const EADDRINUSE: Self = Self(98);
    pub const EADDRNOTAVAIL: Self = Self(99);
    pub const ENETUNREACH: Self = Self(101);
    pub const ECONNABORTED: Self = Self(103);
    pub const ENOBUFS: Self = Self(105);
    pub const EISCONN: Self = Self(106);
    pub const ETIMEDOUT: Self = Self(110);
    pub const ECONNRESET: Self = Self(104);
    pub const ECONNREFUSED: Self = Self(111);
    pub const EHOSTDOWN: Self = Self(112);
    pub const EHOSTUNREACH: Self = Self(113);
    pub const EALREADY: Self = Self(114);
    pub const EINPROGRESS: Self = Self(115);
}

impl Errno {
    /// Every error that has a name.
    pub fn named() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|&(number, ..)| Self(number))
    }

    /// `EACCES`, as `name` gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        if RESTARTS.iter().any(|&(_, restart)| restart == name) {
            return Some(Self::EINTR);
        }
        Self::named().find(|errno| errno.name() == Some(name))
    }

    /// The same, of those that macOS has and Linux has not as well: `ENOTSUP`.
    pub fn from_darwin_name(name: &str) -> Option<Self> {
        let own = || DARWIN.iter().find(|&&(_, own)| own == name);
        Self::from_name(name).or_else(|| own().map(|&(number, _)| Self(DARWIN_ONLY | number)))
    }

    /// The error in a kernel function's return value; `None` where it is no error.
    ///
    /// Errors are -1 to -4095 (include/linux/err.h, `MAX_ERRNO`). What the kernel keeps to itself
    /// is what a caller gets of it.
    pub fn from_ret(ret: i32) -> Option<Self> {
        match ret {
            -516..=-512 if is_restart(ret) => Some(Self::EINTR),
            -4095..=-1 => u16::try_from(-ret).ok().map(Self),
            _ => None,
        }
    }

    /// The error in a return value that macOS's numbers are in.
    ///
    /// bsd/sys/errno.h: those up to 34 are Linux's, but for `EAGAIN`'s and `EDEADLK`'s.
    pub fn from_darwin_ret(ret: i32) -> Option<Self> {
        let Self(number) = Self::from_ret(ret)?;
        let same = number <= 34 && number != 11;
        let known = darwin_name(number).and_then(Self::from_darwin_name);
        let own = Self(DARWIN_ONLY | number);
        Some(if same {
            Self(number)
        } else {
            known.unwrap_or(own)
        })
    }

    /// As Linux has it; of those that Linux does not have, as macOS has it.
    pub const fn number(self) -> u16 {
        self.0 & !DARWIN_ONLY
    }

    /// `EACCES`; `None` for a number that has no name.
    pub fn name(self) -> Option<&'static str> {
        if self.0 & DARWIN_ONLY != 0 {
            return darwin_name(self.number());
        }
        TABLE
            .iter()
            .find(|(number, ..)| *number == self.0)
            .map(|(_, name, _)| *name)
    }

    /// `Permission denied`; `None` for a number that has no name.
    pub fn describe(self) -> Option<&'static str> {
        TABLE
            .iter()
            .find(|(number, ..)| *number == self.0)
            .map(|(.., text)| *text)
    }
}

impl std::fmt::Display for Errno {
    /// The name, or `E` and the number where there is none: `E4000`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "E{}", self.number()),
        }
    }
}

/// Whether the kernel returns this where a signal interrupts a call: it is begun anew, or `EINTR`
/// is what its caller gets.
pub fn is_restart(ret: i32) -> bool {
    RESTARTS.iter().any(|&(restart, _)| restart == ret)
}

/// What the caller gets of what the kernel returns.
pub fn to_caller(ret: i32) -> i32 {
    const EINTR: i32 = -4;
    if is_restart(ret) { EINTR } else { ret }
}

/// The kernel's own, which no caller sees (include/linux/errno.h).
const RESTARTS: [(i32, &str); 4] = [
    (-512, "ERESTARTSYS"),
    (-513, "ERESTARTNOINTR"),
    (-514, "ERESTARTNOHAND"),
    (-516, "ERESTART_RESTARTBLOCK"),
];

/// Number, name and text of each error that a bind or connect can end in, and some more
/// (include/uapi/asm-generic/errno.h and errno-base.h).
const TABLE: &[(u16, &str, &str)] = &[
    (1, "EPERM", "Operation not permitted"),
    (2, "ENOENT", "No such file or directory"),
    (4, "EINTR", "Interrupted system call"),
    (5, "EIO", "Input/output error"),
    (6, "ENXIO", "No such device or address"),
    (9, "EBADF", "Bad file descriptor"),
    (11, "EAGAIN", "Resource temporarily unavailable"),
    (12, "ENOMEM", "Cannot allocate memory"),
    (13, "EACCES", "Permission denied"),
    (14, "EFAULT", "Bad address"),
    (16, "EBUSY", "Device or resource busy"),
    (17, "EEXIST", "File exists"),
    (19, "ENODEV", "No such device"),
    (20, "ENOTDIR", "Not a directory"),
    (22, "EINVAL", "Invalid argument"),
    (23, "ENFILE", "Too many open files in system"),
    (24, "EMFILE", "Too many open files"),
    (28, "ENOSPC", "No space left on device"),
    (32, "EPIPE", "Broken pipe"),
    (34, "ERANGE", "Numerical result out of range"),
    (36, "ENAMETOOLONG", "File name too long"),
    (38, "ENOSYS", "Function not implemented"),
    (64, "ENONET", "Machine is not on the network"),
    (71, "EPROTO", "Protocol error"),
    (75, "EOVERFLOW", "Value too large for defined data type"),
    (88, "ENOTSOCK", "Socket operation on non-socket"),
    (89, "EDESTADDRREQ", "Destination address required"),
    (90, "EMSGSIZE", "Message too long"),
    (91, "EPROTOTYPE", "Protocol wrong type for socket"),
    (92, "ENOPROTOOPT", "Protocol not available"),
    (93, "EPROTONOSUPPORT", "Protocol not supported"),
    (94, "ESOCKTNOSUPPORT", "Socket type not supported"),
    (95, "EOPNOTSUPP", "Operation not supported"),
    (96, "EPFNOSUPPORT", "Protocol family not supported"),
    (
        97,
        "EAFNOSUPPORT",
        "Address family not supported by protocol",
    ),
    (98, "EADDRINUSE", "Address already in use"),
    (99, "EADDRNOTAVAIL", "Cannot assign requested address"),
    (100, "ENETDOWN", "Network is down"),
    (101, "ENETUNREACH", "Network is unreachable"),
    (102, "ENETRESET", "Network dropped connection on reset"),
    (103, "ECONNABORTED", "Software caused connection abort"),
    (104, "ECONNRESET", "Connection reset by peer"),
    (105, "ENOBUFS", "No buffer space available"),
    (106, "EISCONN", "Transport endpoint is already connected"),
    (107, "ENOTCONN", "Transport endpoint is not connected"),
    (
        108,
        "ESHUTDOWN",
        "Cannot send after transport endpoint shutdown",
    ),
    (110, "ETIMEDOUT", "Connection timed out"),
    (111, "ECONNREFUSED", "Connection refused"),
    (112, "EHOSTDOWN", "Host is down"),
    (113, "EHOSTUNREACH", "No route to host"),
    (114, "EALREADY", "Operation already in progress"),
    (115, "EINPROGRESS", "Operation now in progress"),
    (125, "ECANCELED", "Operation canceled"),
    (126, "ENOKEY", "Required key not available"),
    (129, "EKEYREJECTED", "Key was rejected by service"),
];

/// Set in the number of an error that only macOS has; Linux's end at 4095.
const DARWIN_ONLY: u16 = 0x8000;

fn darwin_name(number: u16) -> Option<&'static str> {
    let mut named = DARWIN.iter().filter(|&&(own, _)| own == number);
    named.next().map(|&(_, name)| name)
}

/// Numbers that macOS gives other errors than Linux does (bsd/sys/errno.h).
const DARWIN: &[(u16, &str)] = &[
    (11, "EDEADLK"),
    (35, "EAGAIN"),
    (36, "EINPROGRESS"),
    (37, "EALREADY"),
    (38, "ENOTSOCK"),
    (39, "EDESTADDRREQ"),
    (40, "EMSGSIZE"),
    (41, "EPROTOTYPE"),
    (42, "ENOPROTOOPT"),
    (43, "EPROTONOSUPPORT"),
    (44, "ESOCKTNOSUPPORT"),
    (45, "ENOTSUP"),
    (46, "EPFNOSUPPORT"),
    (47, "EAFNOSUPPORT"),
    (48, "EADDRINUSE"),
    (49, "EADDRNOTAVAIL"),
    (50, "ENETDOWN"),
    (51, "ENETUNREACH"),
    (52, "ENETRESET"),
    (53, "ECONNABORTED"),
    (54, "ECONNRESET"),
    (55, "ENOBUFS"),
    (56, "EISCONN"),
    (57, "ENOTCONN"),
    (58, "ESHUTDOWN"),
    (59, "ETOOMANYREFS"),
    (60, "ETIMEDOUT"),
    (61, "ECONNREFUSED"),
    (62, "ELOOP"),
    (63, "ENAMETOOLONG"),
    (64, "EHOSTDOWN"),
    (65, "EHOSTUNREACH"),
    (66, "ENOTEMPTY"),
    (67, "EPROCLIM"),
    (68, "EUSERS"),
    (69, "EDQUOT"),
    (70, "ESTALE"),
    (71, "EREMOTE"),
    (72, "EBADRPC"),
    (73, "ERPCMISMATCH"),
    (74, "EPROGUNAVAIL"),
    (75, "EPROGMISMATCH"),
    (76, "EPROCUNAVAIL"),
    (77, "ENOLCK"),
    (78, "ENOSYS"),
    (79, "EFTYPE"),
    (80, "EAUTH"),
    (81, "ENEEDAUTH"),
    (82, "EPWROFF"),
    (83, "EDEVERR"),
    (84, "EOVERFLOW"),
    (85, "EBADEXEC"),
    (86, "EBADARCH"),
    (87, "ESHLIBVERS"),
    (88, "EBADMACHO"),
    (89, "ECANCELED"),
    (90, "EIDRM"),
    (91, "ENOMSG"),
    (92, "EILSEQ"),
    (93, "ENOATTR"),
    (94, "EBADMSG"),
    (95, "EMULTIHOP"),
    (96, "ENODATA"),
    (97, "ENOLINK"),
    (98, "ENOSR"),
    (99, "ENOSTR"),
    (100, "EPROTO"),
    (101, "ETIME"),
    (102, "EOPNOTSUPP"),
    (103, "ENOPOLICY"),
    (104, "ENOTRECOVERABLE"),
    (105, "EOWNERDEAD"),
    (106, "EQFULL"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_platform() {
        for &(number, name, _) in TABLE {
            let os = rustix::io::Errno::from_raw_os_error(i32::from(number));
            assert_eq!(
                Errno::from_ret(-i32::from(number)).unwrap().to_string(),
                name
            );
            if cfg!(target_os = "linux") {
                let debug = format!("{os:?}");
                assert!(
                    debug.contains(name.trim_start_matches('E')) || !debug.starts_with('E'),
                    "{debug} {name}"
                );
            }
        }
    }

    #[test]
    fn only_error_returns_are_errors() {
        assert_eq!(Errno::from_ret(0), None);
        assert_eq!(Errno::from_ret(5), None);
        assert_eq!(Errno::from_ret(-4096), None);
        assert_eq!(Errno::from_ret(-13).map(Errno::number), Some(13));
    }

    #[test]
    fn macos_has_numbers_of_its_own() {
        let shown = |number: i32| Errno::from_darwin_ret(-number).unwrap().to_string();
        assert_eq!(shown(13), "EACCES");
        assert_eq!(shown(48), "EADDRINUSE");
        assert_eq!((shown(11), shown(35)), ("EDEADLK".into(), "EAGAIN".into()));
        assert_eq!((shown(45), shown(106)), ("ENOTSUP".into(), "EQFULL".into()));
        assert_eq!(shown(113), "E113");
        assert_eq!(Errno::from_darwin_ret(-48), Some(Errno::EADDRINUSE));
        assert_ne!(Errno::from_darwin_ret(-98), Some(Errno::EADDRINUSE));
        assert_eq!(
            (Errno::from_darwin_ret(0), Errno::from_darwin_ret(48)),
            (None, None)
        );
    }

    #[test]
    fn a_name_leads_back_to_its_number() {
        for errno in Errno::named() {
            assert_eq!(Errno::from_name(&errno.to_string()), Some(errno));
        }
        assert_eq!(Errno::from_name("eacces"), None);
    }

    #[test]
    fn what_is_begun_anew_is_an_interrupted_call_to_its_caller() {
        for (ret, name) in RESTARTS {
            assert!(is_restart(ret));
            assert_eq!(to_caller(ret), -4);
            assert_eq!(Errno::from_ret(ret), Some(Errno::EINTR));
            assert_eq!(Errno::from_name(name), Some(Errno::EINTR));
        }
        assert!(!is_restart(-4) && !is_restart(512) && !is_restart(-515) && to_caller(-13) == -13);
    }

    #[test]
    fn a_number_without_a_name_is_shown_as_a_number() {
        assert_eq!(Errno::from_ret(-4000).unwrap().to_string(), "E4000");
    }
}
