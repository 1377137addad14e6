//! Which attempts are wanted. Pure; every part that is given must hold.

use crate::event::{Attempt, Outcome};

/// What the user asked for. An empty filter lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Thread groups (what users call pids)
    pub pids: Vec<u32>,
    /// Effective user ids, or the real one where the effective one is not known
    pub users: Vec<u32>,
    /// Requested ports; of a bind to port 0, the port that was given
    pub ports: Vec<u16>,
    /// Only attempts that failed
    pub failed_only: bool,
}

impl Filter {
    pub fn passes(&self, attempt: &Attempt) -> bool {
        let Self {
            pids,
            users,
            ports,
            failed_only,
        } = self;
        let user = attempt.euid.unwrap_or(attempt.uid);
        any_or_empty(pids, |&pid| pid == attempt.tgid)
            && any_or_empty(users, |&uid| uid == user)
            && any_or_empty(ports, |&port| port_of(attempt) == Some(port))
            && (!failed_only || attempt.outcome() == Outcome::Failed)
    }
}

fn any_or_empty<T>(wanted: &[T], matches: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(matches)
}

fn port_of(attempt: &Attempt) -> Option<u16> {
    match attempt.requested?.port {
        0 => attempt.local?.port,
        port => Some(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Local, Requested, sample::attempt};

    #[test]
    fn an_empty_filter_lets_everything_pass() {
        assert!(Filter::default().passes(&attempt()));
    }

    #[test]
    fn every_part_must_hold() {
        let both = |port| Filter {
            pids: vec![10],
            ports: vec![port],
            ..Filter::default()
        };
        assert!(both(80).passes(&attempt()));
        assert!(!both(81).passes(&attempt()));
    }

    #[test]
    fn the_user_is_the_effective_one() {
        let user = |uid| Filter {
            users: vec![uid],
            ..Filter::default()
        };
        assert!(user(0).passes(&attempt()));
        assert!(!user(1000).passes(&attempt()));
        let unknown = Attempt {
            euid: None,
            ..attempt()
        };
        assert!(user(1000).passes(&unknown));
    }

    #[test]
    fn the_port_of_a_bind_to_port_0_is_the_one_that_was_given() {
        let ephemeral = Attempt {
            requested: Some(Requested {
                ip: [127, 0, 0, 1].into(),
                port: 0,
                scope_id: 0,
            }),
            local: Some(Local {
                ip: [127, 0, 0, 1].into(),
                port: Some(40000),
            }),
            ..attempt()
        };
        assert!(
            Filter {
                ports: vec![40000],
                ..Filter::default()
            }
            .passes(&ephemeral)
        );
        assert!(
            !Filter {
                ports: vec![40000],
                ..Filter::default()
            }
            .passes(&attempt())
        );
    }

    #[test]
    fn only_failures_leaves_out_what_is_pending() {
        let failed = Filter {
            failed_only: true,
            ..Filter::default()
        };
        assert!(failed.passes(&attempt()));
        assert!(!failed.passes(&Attempt {
            ret: Some(0),
            ..attempt()
        }));
        assert!(!failed.passes(&Attempt {
            ret: Some(-115),
            ..attempt()
        }));
    }
}
