//! Whom glibc asks for the names of users, groups and hosts (nsswitch.conf(5)).

use std::ffi::{CStr, c_char, c_int};

/// A static program must not be given modules of the host's: they come with a second glibc, and such
/// a program was seen to crash in libnss_systemd at the first user that /etc/passwd does not have. What
/// reads the files is built in, and what asks name servers. Other programs ask whom the host says.
pub fn ask_no_modules() {
    if cfg!(target_feature = "crt-static") {
        ask(c"passwd", c"files");
        ask(c"group", c"files");
        ask(c"initgroups", c"files");
        ask(c"hosts", c"files dns");
    }
}

#[expect(unsafe_code, reason = "no crate has a name for this function")]
fn ask(database: &CStr, services: &CStr) {
    unsafe extern "C" {
        /// glibc's nss/nss_database.c; declared in <nss.h>
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    // SAFETY: both are strings that end, and stay.
    let result = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    // It knows all four names; what is left is that there is no memory.
    debug_assert_eq!(result, 0);
}
