//! /proc/PID/stat (Documentation/filesystems/proc.rst): a task's name and when it began.

use super::read;

/// Clock ticks per second of what /proc shows, of every machine that portwatch runs on
/// (`USER_HZ`, include/asm-generic/param.h).
const USER_HZ: u64 = 100;

/// Length of the file; its longest line has some 52 numbers of 64 bits.
const LEN: u64 = 2048;

/// Length of a command name without its NUL; kernel threads show longer ones.
const COMM: usize = 15;

#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    /// As the task chose it, up to 15 bytes
    pub comm: Vec<u8>,
    /// Since boot, in ticks
    pub start: u64,
}

impl Stat {
    pub(super) fn read(path: &str) -> Option<Self> {
        Self::parse(&read(path, LEN)?)
    }

    /// The name stands in parentheses and may hold any byte, spaces, parentheses and line feeds
    /// included. After its last parenthesis there are only a letter and numbers.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let comm = text.get(open + 1..close)?;
        let rest = str::from_utf8(text.get(close + 1..)?).ok()?;
        // Field 3 is the first after the name, field 22 is `starttime`.
        let start = rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
        Some(Self {
            comm: comm[..comm.len().min(COMM)].to_owned(),
            start,
        })
    }
}

/// The tick that a time since boot, in nanoseconds, is shown as (`nsec_to_clock_t`).
pub(super) const fn tick(since_boot_ns: u64) -> u64 {
    since_boot_ns / (1_000_000_000 / USER_HZ)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const AFTER: &str = " S 1 77 77 0 -1 4194560 900 0 0 0 1 2 0 0 20 0 1 0 476085 3133440 362 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 1 1 1 1 1 1 1 0\n";

    fn parsed(comm: &[u8]) -> Stat {
        Stat::parse(&[b"77 (", comm, b")", AFTER.as_bytes()].concat()).unwrap()
    }

    #[test]
    fn name_and_start_are_found() {
        assert_eq!(
            parsed(b"nginx"),
            Stat {
                comm: b"nginx".to_vec(),
                start: 476_085
            }
        );
    }

    #[test]
    fn a_name_cannot_pose_as_fields() {
        let hostile: [&[u8]; 7] = [
            b"",
            b") S 1 1 1 1 1 1",
            b"(((",
            b")))",
            b"a b\nc",
            b"\xff\xfe (x) R 2",
            b"x) S 0 0 0 0 0",
        ];
        for comm in hostile {
            let Stat { comm: found, start } = parsed(comm);
            assert_eq!((found.as_slice(), start), (comm, 476_085));
        }
    }

    #[test]
    fn the_longer_name_of_a_kernel_thread_is_cut_to_the_length_of_a_name() {
        assert_eq!(
            parsed(b"a_kernel_thread_with_a_long_name").comm,
            b"a_kernel_thread"
        );
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let whole = [b"77 (nginx)", AFTER.as_bytes()].concat();
        let needed = whole.windows(6).position(|at| at == b"476085").unwrap();
        for len in 0..needed {
            assert_eq!(Stat::parse(&whole[..len]), None, "{len}");
        }
        assert_eq!(Stat::parse(b")("), None);
    }

    #[test]
    fn a_time_is_shown_as_the_tick_that_it_lies_in() {
        assert_eq!(tick(4_760_859_999_999), 476_085);
        assert_eq!(tick(4_760_850_000_000), 476_085);
        assert_eq!(tick(4_760_849_999_999), 476_084);
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(bytes in vec(any::<u8>(), 0..300)) {
            drop(Stat::parse(&bytes));
        }

        #[test]
        fn any_name_comes_back(comm in vec(1_u8.., 0..=15)) {
            prop_assert_eq!(parsed(&comm).comm, comm);
        }
    }
}
