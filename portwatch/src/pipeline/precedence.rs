//! Precedence over others for threads that must answer in time on a busy machine.

use rustix::process::{getpriority_process, setpriority_process};

/// The niceness of the thread that looks things up. Its budget bounds what it takes of a processor, and
/// at a load of twenty an answer would come too late without.
const NICE: i32 = -15;

/// Threads that are started while it lives have precedence for good. Whoever may not have it
/// (`CAP_SYS_NICE`) goes without.
pub(super) struct Precedence {
    before: Option<i32>,
}

impl Precedence {
    pub(super) fn take() -> Self {
        let before = getpriority_process(None).ok();
        let taken = before.is_some_and(|before| before > NICE)
            && setpriority_process(None, NICE)
                .inspect_err(|error| log::info!("look-ups have no precedence: {error}"))
                .is_ok();
        Self {
            before: before.filter(|_| taken),
        }
    }
}

/// The thread that took it goes on as before: to be nicer takes no privilege.
impl Drop for Precedence {
    fn drop(&mut self) {
        if let Some(before) = self.before
            && let Err(error) = setpriority_process(None, before)
        {
            log::warn!("cannot give precedence back: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_is_given_back() {
        let before = getpriority_process(None).unwrap();
        let taken = Precedence::take();
        let meanwhile = getpriority_process(None).unwrap();
        assert!(meanwhile == NICE || taken.before.is_none());
        drop(taken);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
