//! The answer of a look-up: found, not there, or not seen.

/// The answer of a look-up. Only [`Lookup::NotThere`] proves an absence, so only it can become a
/// sentence that tells one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup<T> {
    Found(T),
    /// The look was complete and permitted, and found nothing
    NotThere,
    /// The look was not complete: the thing may be there
    NotSeen(Unseen),
}

/// Why a look-up has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unseen {
    /// Nobody looked: no cause needed it
    NotAsked,
    /// The look did not end in time
    Time,
    /// portwatch may not look there
    Permission,
    /// It lies in a namespace that portwatch does not see into
    Namespace,
    /// The process or socket that leads there had gone
    Gone,
    /// This kernel, or this source, cannot tell
    NotSupported,
}

impl<T> Lookup<T> {
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(value) => Some(value),
            Self::NotThere | Self::NotSeen(_) => None,
        }
    }

    pub const fn as_ref(&self) -> Lookup<&T> {
        match self {
            Self::Found(value) => Lookup::Found(value),
            Self::NotThere => Lookup::NotThere,
            Self::NotSeen(why) => Lookup::NotSeen(*why),
        }
    }

    pub const fn as_mut(&mut self) -> Lookup<&mut T> {
        match self {
            Self::Found(value) => Lookup::Found(value),
            Self::NotThere => Lookup::NotThere,
            Self::NotSeen(why) => Lookup::NotSeen(*why),
        }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(value) => Lookup::Found(change(value)),
            Self::NotThere => Lookup::NotThere,
            Self::NotSeen(why) => Lookup::NotSeen(why),
        }
    }

    /// Goes on from what was found.
    pub fn and_then<U>(self, next: impl FnOnce(T) -> Lookup<U>) -> Lookup<U> {
        match self {
            Self::Found(value) => next(value),
            Self::NotThere => Lookup::NotThere,
            Self::NotSeen(why) => Lookup::NotSeen(why),
        }
    }

    /// Looks on where nothing was seen. What was proven stays.
    #[must_use]
    pub fn or_look(self, look: impl FnOnce() -> Self) -> Self {
        match self {
            Self::NotSeen(_) => look(),
            proven => proven,
        }
    }

    /// The word for how it ended; none where nobody looked.
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::Found(_) => Some("found"),
            Self::NotThere => Some("not_there"),
            Self::NotSeen(Unseen::NotAsked) => None,
            Self::NotSeen(why) => Some(why.name()),
        }
    }

    pub const fn is_found(&self) -> bool {
        matches!(self, Self::Found(_))
    }

    /// The absence is proven.
    pub const fn is_not_there(&self) -> bool {
        matches!(self, Self::NotThere)
    }
}

/// Nobody looked.
impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self::NotSeen(Unseen::NotAsked)
    }
}

impl Unseen {
    pub const ALL: [Self; 6] = [
        Self::NotAsked,
        Self::Time,
        Self::Permission,
        Self::Namespace,
        Self::Gone,
        Self::NotSupported,
    ];

    /// The word for it in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Time => "time",
            Self::Permission => "permission",
            Self::Namespace => "namespace",
            Self::Gone => "gone",
            Self::NotSupported => "not_supported",
        }
    }

    /// The reason, as a sentence has it in brackets.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotAsked => "it was not looked up",
            Self::Time => "the look-up did not end in time",
            Self::Permission => "portwatch may not look into that process",
            Self::Namespace => "it is in a namespace that portwatch cannot see into",
            Self::Gone => "the process had ended before it could be looked up",
            Self::NotSupported => "this kernel does not show it",
        }
    }
}

/// What reading a file in /proc of a process that has ended gives, on every Unix.
const ESRCH: i32 = 3;

impl From<&std::io::Error> for Unseen {
    /// Why a file that leads there could not be read.
    fn from(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => Self::Permission,
            std::io::ErrorKind::NotFound => Self::Gone,
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => Self::Time,
            _ if error.raw_os_error() == Some(ESRCH) => Self::Gone,
            _ => Self::NotSupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    #[test]
    fn only_a_complete_look_proves_an_absence() {
        let unseen = Unseen::ALL.map(Lookup::<u8>::NotSeen);
        assert!(unseen.iter().all(|answer| !answer.is_not_there()));
        assert!(Lookup::<u8>::NotThere.is_not_there());
        assert!(!Lookup::<u8>::default().is_not_there());
    }

    #[test]
    fn a_proven_answer_is_not_looked_up_again() {
        let again = || -> Lookup<u8> { unreachable!() };
        assert_eq!(Lookup::Found(1).or_look(again), Lookup::Found(1));
        assert_eq!(Lookup::NotThere.or_look(again), Lookup::NotThere);
        let unseen = Lookup::NotSeen(Unseen::Time);
        assert_eq!(unseen.or_look(|| Lookup::Found(2)), Lookup::Found(2));
    }

    #[test]
    fn an_error_tells_why_nothing_was_seen() {
        let why = |errno| Unseen::from(&Error::from_raw_os_error(errno));
        assert_eq!(why(libc::EACCES), Unseen::Permission);
        assert_eq!(why(libc::EPERM), Unseen::Permission);
        assert_eq!(why(libc::ENOENT), Unseen::Gone);
        assert_eq!(why(ESRCH), Unseen::Gone);
        assert_eq!(why(libc::EIO), Unseen::NotSupported);
    }
}
