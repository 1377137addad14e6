//! `cargo xtask tables`: rewrites the tables of docs/KERNELS.md that are measured in the test
//! kernels, or follow from the kernel tests.

use std::{collections::BTreeMap, fmt::Write as _, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use xtask::wire::Job;

use crate::{
    artifact::{self, KernelTest},
    command::{output, root},
    platform::{Arch, MEASURED, Platform},
    setup::{Need, ensure_for},
    vm::{self, Accelerator, Added, Boot, Hardware},
};

const DOCUMENT: &str = "docs/KERNELS.md";
const PORTWATCH: &str = "/usr/bin/portwatch";

/// What `cargo xtask tables` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only the table of what each source sees, which takes no test kernel
    #[arg(long)]
    knowledge: bool,
}

/// What portwatch says of a program that does not pass the verifier; others have no function to be attached to.
const REFUSAL: &str = "the kernel refuses the program";

/// The part of `portwatch doctor --programs --json` that matters here.
#[derive(Deserialize)]
struct Report {
    programs: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    source: String,
    #[serde(rename = "program")]
    name: String,
    verified: Option<u32>,
    translated: Option<u32>,
    jitted: Option<u32>,
    load_ns: Option<u64>,
    why: Option<String>,
}

/// `cargo xtask tables`.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure_for(&[Need::Bpf, Need::Vm])?;
    let built = artifact::kernel_test(Arch::X86_64)?;
    let knowledge = output(std::process::Command::new(&built.test).arg("--knowledge"))?;
    let mut tables = BTreeMap::from([("knowledge", knowledge)]);
    if !options.knowledge {
        tables.insert("programs", programs(&built)?);
    }
    rewrite(DOCUMENT, "tables", &tables)
}

/// Puts tables into a document, each between its markers, which name the task that writes it.
pub(crate) fn rewrite(document: &str, task: &str, tables: &BTreeMap<&str, String>) -> Result<()> {
    let path = root().join(document);
    let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read {document}"))?;
    for (name, table) in tables {
        text = with_table(&text, task, name, table).with_context(|| document.to_owned())?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write {document}"))
}

/// The document with what stands between a table's markers replaced.
fn with_table(document: &str, task: &str, name: &str, table: &str) -> Result<String> {
    let begin = format!("<!-- {name}: written by cargo xtask {task} -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let missing = || format!("there is no place for the table `{name}`");
    let (before, rest) = document.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", table.trim()))
}

/// What each program takes, in every test kernel.
fn programs(built: &KernelTest) -> Result<String> {
    let init = artifact::init(Arch::X86_64)?;
    let mut reports = Vec::new();
    for series in MEASURED {
        eprintln!("tables: Linux {series}");
        let boot = Boot {
            platform: Platform::new(Arch::X86_64, series),
            hardware: Hardware::new(Accelerator::Tcg),
            init: init.clone(),
            added: vec![Added::new(&built.portwatch, PORTWATCH)],
            job: Job {
                argv: [PORTWATCH, "doctor", "--programs", "--json"]
                    .map(str::to_owned)
                    .into(),
                env: Vec::new(),
                terminal: None,
                input: false,
            },
            limit: Some(Duration::from_secs(60 * vm::MINUTES)),
        };
        let text = boot.output()?;
        let report: Report = serde_json::from_slice(&text).context("portwatch doctor's JSON")?;
        for program in &report.programs {
            let why = program.why.as_deref().unwrap_or_default();
            ensure!(
                !why.contains(REFUSAL),
                "{} on {series}: {why}",
                program.name
            );
        }
        reports.push((series, report));
    }
    Ok(programs_table(&reports))
}

/// One row for each program, with a group of columns for each kernel.
fn programs_table(reports: &[(&str, Report)]) -> String {
    let mut text = String::from("| source | program |");
    for (series, _) in reports {
        let _ = write!(text, " {series}: verified | BPF | native | load |");
    }
    text.push_str("\n|---|---|");
    text.push_str(&"--:|--:|--:|--:|".repeat(reports.len()));
    text.push('\n');
    let Some((_, first)) = reports.first() else {
        return text;
    };
    for Program { source, name, .. } in &first.programs {
        let _ = write!(text, "| `{source}` | `{name}` |");
        for (_, report) in reports {
            let same = |it: &&Program| it.source == *source && it.name == *name;
            let _ = write!(text, " {} |", figures(report.programs.iter().find(same)));
        }
        text.push('\n');
    }
    text
}

fn figures(program: Option<&Program>) -> String {
    let number = |number: Option<u32>| number.map_or_else(|| "–".to_owned(), |it| it.to_string());
    let time = |nanos: u64| format!("{} ms", Duration::from_nanos(nanos).as_millis());
    let figures = program.map_or_else(
        || ["–"; 4].map(str::to_owned),
        |it| {
            [
                number(it.verified),
                number(it.translated),
                number(it.jitted),
                it.load_ns.map_or_else(|| "–".to_owned(), time),
            ]
        },
    );
    figures.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let document = "# Title\n<!-- it: written by cargo xtask tables -->\nold\n\
                        <!-- end of it -->\nafter\n";
        let once = with_table(document, "tables", "it", "| new |\n").unwrap();
        assert_eq!(
            once,
            "# Title\n<!-- it: written by cargo xtask tables -->\n\n| new |\n\n\
             <!-- end of it -->\nafter\n"
        );
        assert_eq!(
            with_table(&once, "tables", "it", "| new |\n").unwrap(),
            once
        );
        assert!(with_table(document, "tables", "other", "").is_err());
    }

    #[test]
    fn a_program_that_was_not_loaded_has_a_row_all_the_same() {
        let loaded = r#"{"programs":[{"source":"kprobe","program":"bind_enter","verified":7,
            "translated":80,"jitted":70,"load_ns":1999999}]}"#;
        let refused = r#"{"programs":[{"source":"kprobe","program":"bind_enter","verified":null,
            "translated":null,"jitted":null,"load_ns":null}]}"#;
        let reports = [("6.1", loaded), ("6.12", refused)]
            .map(|(series, json)| (series, serde_json::from_str(json).unwrap()));
        assert_eq!(
            programs_table(&reports).lines().last(),
            Some("| `kprobe` | `bind_enter` | 7 | 80 | 70 | 1 ms | – | – | – | – |")
        );
    }
}
