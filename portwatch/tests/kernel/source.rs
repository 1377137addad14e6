//! Which sources must work here, and why others cannot.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Fexit,
    Kprobe,
    Tracepoint,
}

impl Source {
    pub(crate) const ALL: [Self; 3] = [Self::Fexit, Self::Kprobe, Self::Tracepoint];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// Why it cannot be tested here; `None` if it must work.
    pub(crate) fn unusable(self) -> Result<Option<String>> {
        match required() {
            Some(required) if required.split(',').any(|name| name == self.name()) => Ok(None),
            Some(required) => Ok(Some(format!("PORTWATCH_TEST_SOURCES={required}"))),
            None => self.ask_doctor(),
        }
    }

    fn ask_doctor(self) -> Result<Option<String>> {
        static ANSWER: OnceLock<Result<Vec<Verdict>, String>> = OnceLock::new();
        let answer = ANSWER.get_or_init(|| doctor().map_err(|error| format!("{error:#}")));
        let verdicts = answer
            .as_ref()
            .map_err(|error| anyhow::anyhow!("portwatch doctor: {error}"))?;
        let verdict = verdicts.iter().find(|verdict| verdict.name == self.name());
        let verdict =
            verdict.with_context(|| format!("portwatch doctor does not know {}", self.name()))?;
        Ok((!verdict.usable).then(|| verdict.why.clone().unwrap_or_default()))
    }
}

/// Set in the test kernels, which also means: on an emulated machine.
fn required() -> Option<String> {
    std::env::var("PORTWATCH_TEST_SOURCES").ok()
}

/// Whether time means something here.
pub(crate) fn is_emulated() -> bool {
    required().is_some()
}

/// The portwatch under test.
pub(crate) fn binary() -> Result<PathBuf> {
    std::env::var_os("PORTWATCH_BIN")
        .map(PathBuf::from)
        .or_else(|| option_env!("CARGO_BIN_EXE_portwatch").map(PathBuf::from))
        .context("PORTWATCH_BIN names no portwatch to test")
}

/// The part of `portwatch doctor --json` that matters here.
#[derive(Deserialize)]
struct Report {
    sources: Vec<Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    name: String,
    usable: bool,
    why: Option<String>,
}

fn doctor() -> Result<Vec<Verdict>> {
    let output = Command::new(binary()?)
        .args(["doctor", "--json"])
        .output()?;
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("stderr: {:?}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(report.sources)
}
