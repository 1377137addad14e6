//! packaging/systemd/portwatch.service by systemd's own account: it knows every line, and what is left
//! open is no more than docs/SERVICE.md says.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::command::{root, shown, which};

const UNIT: &str = "packaging/systemd/portwatch.service";

/// Where the unit has the program, which no machine that builds it needs to have there.
const PROGRAM: &str = "/usr/local/bin/portwatch";

/// Ten times what docs/SERVICE.md gives: no more may be left open without a word there.
const EXPOSURE: &str = "27";

pub(super) fn check() -> Result<()> {
    let Some(analyze) = which("systemd-analyze") else {
        eprintln!("lint: skipped: there is no systemd-analyze here");
        return Ok(());
    };
    let unit = fs::read_to_string(root().join(UNIT)).context(UNIT)?;
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("portwatch.service");
    fs::write(&copy, unit.replace(PROGRAM, "/bin/true"))?;
    let threshold = format!("--threshold={EXPOSURE}");
    says_nothing(&analyze, &["verify", "--man=no"], &copy)?;
    says_nothing(&analyze, &["security", "--offline=yes", &threshold], &copy)
}

/// What it does not know it only warns of.
fn says_nothing(analyze: &Path, arguments: &[&str], unit: &Path) -> Result<()> {
    let mut command = Command::new(analyze);
    let ran = command.args(arguments).arg(unit).output()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(
        ran.status.success() && said.is_empty(),
        "`{}`: {}\n{said}{}",
        shown(&command),
        ran.status,
        String::from_utf8_lossy(&ran.stdout),
    );
    Ok(())
}
