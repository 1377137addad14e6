//! The names behind user ids.

#[cfg_attr(not(target_os = "linux"), path = "users/elsewhere.rs")]
mod services;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

pub use self::services::ask_no_modules;
use foldhash::fast::RandomState;

/// Names of users, remembered, since asking may go over the network (LDAP) and each attempt
/// needs one.
#[derive(Debug)]
pub struct Users {
    names: HashMap<u32, Option<Box<str>>, RandomState>,
    name_of: fn(u32) -> Option<String>,
    uid_of: fn(&str) -> Option<u32>,
    fresh_until: Instant,
    /// How often names were forgotten, or were others than before
    version: u64,
}

impl Users {
    /// Far more users than are active on one machine; whoever runs through user ids on purpose
    /// (user namespaces allow it) must not fill the memory.
    const CAPACITY: usize = 1024;

    /// Users come, go and are renamed while portwatch runs.
    const FRESH: Duration = Duration::from_mins(5);

    /// Asks the system (`getpwuid_r`, `getpwnam_r`).
    pub fn new() -> Self {
        Self::with_lookups(
            |uid| {
                Some(
                    uzers::get_user_by_uid(uid)?
                        .name()
                        .to_string_lossy()
                        .into_owned(),
                )
            },
            |name| uzers::get_user_by_name(name).map(|user| user.uid()),
        )
    }

    /// Asks the functions given.
    pub fn with_lookups(
        name_of: fn(u32) -> Option<String>,
        uid_of: fn(&str) -> Option<u32>,
    ) -> Self {
        Self {
            names: HashMap::default(),
            name_of,
            uid_of,
            fresh_until: Instant::now() + Self::FRESH,
            version: 0,
        }
    }

    /// As long as this is the same, so is each name that was given.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The name as the system has it, not made harmless; `None` for an id without a user.
    pub fn name(&mut self, uid: u32) -> Option<&str> {
        if self.names.len() >= Self::CAPACITY {
            self.forget();
        }
        let name_of = self.name_of;
        self.names
            .entry(uid)
            .or_insert_with(|| name_of(uid).map(String::into_boxed_str))
            .as_deref()
    }

    /// Takes a name that is known from elsewhere, which stays until as many others were taken.
    pub fn remember(&mut self, uid: u32, name: Option<String>) {
        // One less than what makes `name` forget them.
        if self.names.len() + 1 >= Self::CAPACITY {
            self.forget();
        }
        let known = self.names.insert(uid, name.map(String::into_boxed_str));
        if known.as_ref() != self.names.get(&uid) {
            self.version += 1;
        }
        self.fresh_until = Instant::now() + Self::FRESH;
    }

    /// The id behind a name as somebody typed it; `None` where there is no such user.
    pub fn uid_of(&self, name: &str) -> Option<u32> {
        (self.uid_of)(name)
    }

    /// Forgets names that were asked for long ago. To be called now and then: a name is needed more
    /// often than the clock is worth a look.
    pub fn forget_if_stale(&mut self, now: Instant) {
        if now >= self.fresh_until {
            self.forget();
            self.fresh_until = now + Self::FRESH;
        }
    }

    fn forget(&mut self) {
        self.names.clear();
        self.version += 1;
    }
}

impl Default for Users {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn root_has_a_name_and_the_name_leads_back() {
        assert_eq!(Users::new().name(0), Some("root"));
        assert_eq!(Users::new().uid_of("root"), Some(0));
    }

    #[test]
    fn an_id_or_name_without_a_user_has_none() {
        assert_eq!(Users::new().name(4_000_000_000), None);
        assert_eq!(Users::new().uid_of("no such user"), None);
        assert_eq!(Users::new().uid_of("nul\0"), None);
    }

    #[test]
    fn each_id_is_asked_for_once_known_or_not() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let name_of = |uid| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            (uid == 7).then(|| String::from("seven"))
        };
        let mut users = Users::with_lookups(name_of, |_| None);
        for _ in 0..3 {
            assert_eq!(users.name(7), Some("seven"));
            assert_eq!(users.name(8), None);
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn running_through_ids_does_not_fill_the_memory() {
        let mut users = Users::with_lookups(|uid| Some(uid.to_string()), |_| None);
        for uid in 0..10_000 {
            assert_eq!(users.name(uid), Some(uid.to_string().as_str()));
        }
        assert!(users.names.len() <= Users::CAPACITY);
    }

    #[test]
    fn names_that_are_told_count_and_do_not_fill_the_memory() {
        let mut users = Users::with_lookups(|_| None, |_| None);
        for uid in 0..10_000 {
            users.remember(uid, Some(uid.to_string()));
            assert_eq!(users.name(uid), Some(uid.to_string().as_str()));
        }
        assert!(users.names.len() <= Users::CAPACITY);
        let version = users.version();
        users.remember(9999, Some("9999".to_owned()));
        assert_eq!(users.version(), version, "it is the same name");
        users.remember(9999, None);
        assert_eq!(users.name(9999), None);
        assert_ne!(users.version(), version);
    }

    #[test]
    fn names_are_asked_for_again_after_a_while() {
        let mut users = Users::with_lookups(|uid| Some(uid.to_string()), |_| None);
        users.name(1);
        let version = users.version();
        users.forget_if_stale(Instant::now());
        assert_eq!((users.names.len(), users.version()), (1, version));
        users.forget_if_stale(Instant::now() + Users::FRESH);
        assert_eq!(users.names.len(), 0);
        assert_ne!(users.version(), version);
    }
}
