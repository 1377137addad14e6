//! The system whose kernel decided, whose rules and error numbers hold.

use std::fmt;

use crate::errno::Errno;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum System {
    #[default]
    Linux,
    MacOs(Version),
}

/// `10.14`, `15.0`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
}

impl System {
    /// What a negative return value means there; `None` where it is no error.
    pub fn errno(self, ret: i32) -> Option<Errno> {
        match self {
            Self::Linux => Errno::from_ret(ret),
            Self::MacOs(_) => Errno::from_darwin_ret(ret),
        }
    }

    /// The return value that means the error there; `None` where it has no such error.
    pub fn ret(self, errno: Errno) -> Option<i32> {
        (-4095..0).rev().find(|&ret| self.errno(ret) == Some(errno))
    }

    /// By its name, as it is shown: `Linux`, `macOS 14`, `macOS 10.13`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "Linux" => Some(Self::Linux),
            other => Version::parse(other.strip_prefix("macOS ")?).map(Self::MacOs),
        }
    }
}

impl Version {
    /// `14`, `10.14`, `10.14.6`, which is no other than `10.14`. There is none before 10.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let (major, minor) = (numbers.next()??, numbers.next().unwrap_or(Some(0))?);
        let patch = numbers.next().is_none_or(|patch| patch.is_some());
        (patch && numbers.next().is_none() && major >= 10).then_some(Self { major, minor })
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linux => f.write_str("Linux"),
            Self::MacOs(Version { major, minor: 0 }) => write!(f, "macOS {major}"),
            Self::MacOs(Version { major, minor }) => write!(f, "macOS {major}.{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_system() {
        for name in ["Linux", "macOS 14", "macOS 10.13", "macOS 26.1"] {
            assert_eq!(System::named(name).unwrap().to_string(), name);
        }
        for name in [
            "",
            "linux",
            "macOS",
            "macOS 9",
            "macOS 1.2.3.4",
            "macOS 14.x",
        ] {
            assert_eq!(System::named(name), None, "{name}");
        }
    }

    #[test]
    fn the_same_error_has_another_number_elsewhere() {
        let mac = System::MacOs(Version {
            major: 14,
            minor: 0,
        });
        for (errno, linux, darwin) in [
            (Errno::EACCES, -13, -13),
            (Errno::EADDRINUSE, -98, -48),
            (Errno::EINPROGRESS, -115, -36),
            (Errno::EHOSTUNREACH, -113, -65),
        ] {
            assert_eq!(
                (System::Linux.ret(errno), mac.ret(errno)),
                (Some(linux), Some(darwin))
            );
            assert_eq!(
                (System::Linux.errno(linux), mac.errno(darwin)),
                (Some(errno), Some(errno))
            );
        }
        assert_eq!(mac.ret(Errno::ENONET), None);
    }
}
