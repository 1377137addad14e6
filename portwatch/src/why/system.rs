//! The system that is asked about: `linux`, `macos-14`, `macos-10.13`, and on a Mac `macos` for
//! its own.

use crate::{
    event::{System, Version},
    source::dtrace::this_system,
};

/// No system that portwatch knows the rules of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no system that can be asked about; linux, macos-14 and macos-10.13 are")]
pub struct NoSystem(String);

pub(super) fn parse(typed: &str) -> Result<System, NoSystem> {
    if typed.eq_ignore_ascii_case("linux") {
        return Ok(System::Linux);
    }
    if cfg!(target_os = "macos") && typed == std::env::consts::OS {
        return this_system().map_err(|_| NoSystem(typed.to_owned()));
    }
    let version = typed.to_ascii_lowercase();
    let version = version.strip_prefix("macos-").and_then(Version::parse);
    version
        .map(System::MacOs)
        .ok_or_else(|| NoSystem(typed.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_known_by_name_and_version() {
        for (typed, expected) in [
            ("linux", "Linux"),
            ("Linux", "Linux"),
            ("macos-14", "macOS 14"),
            ("macOS-10.13", "macOS 10.13"),
            ("macos-10.14.6", "macOS 10.14"),
        ] {
            assert_eq!(parse(typed).unwrap().to_string(), expected);
        }
        for typed in [
            "",
            "macos-",
            "macos-9",
            "macos-10.x",
            "macos-1.2.3.4",
            "windows",
        ] {
            assert!(parse(typed).is_err(), "{typed}");
        }
        // Only a Mac has a version of its own.
        assert_eq!(parse("macos").is_ok(), cfg!(target_os = "macos"));
    }
}
