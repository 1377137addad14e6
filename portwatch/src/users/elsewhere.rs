//! No program is static on macOS.

pub const fn ask_no_modules() {}
