//! The programs, and what each takes to load.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{BOLD, Page};
use crate::source::cost::{Cost, Program};

const HEADER: [&str; 7] = [
    "SOURCE", "PROGRAM", "VERIFIED", "BPF", "NATIVE", "LOAD", "HOOKS",
];
/// The columns of numbers
const NUMBERS: std::ops::Range<usize> = 2..6;

impl Page {
    /// Instructions that were verified, bytes, and time; what the kernel does not tell is `-`.
    pub(super) fn programs(self, programs: &[Program]) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(HEADER);
        table.add_rows(programs.iter().map(row));
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if NUMBERS.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = String::new();
        for (index, line) in table.lines().enumerate() {
            let line = line.trim_end();
            text.push_str(&if index == 0 {
                self.paint(line, BOLD)
            } else {
                line.to_owned()
            });
            text.push('\n');
        }
        text
    }
}

fn row(program: &Program) -> [String; 7] {
    let Program {
        source,
        name,
        hooks,
        cost,
    } = program;
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let ([verified, translated, jitted, time], place) = match cost {
        Ok(Cost {
            verified,
            translated,
            jitted,
            load_time,
        }) => {
            let time = format!("{:.1} ms", load_time.as_secs_f64() * 1000.0);
            let [verified, translated, jitted] =
                [verified, translated, jitted].map(|it| number(*it));
            ([verified, translated, jitted, time], hooks.join(", "))
        }
        Err(why) => (["-"; 4].map(str::to_owned), format!("not loaded: {why}")),
    };
    let source = source.name().to_owned();
    [
        source,
        (*name).to_owned(),
        verified,
        translated,
        jitted,
        time,
        place,
    ]
}

#[derive(Serialize)]
pub(super) struct ProgramJson<'a> {
    source: &'static str,
    program: &'static str,
    hooks: &'a [String],
    verified: Option<u32>,
    translated: Option<u32>,
    jitted: Option<u32>,
    load_ns: Option<u64>,
    why: Option<&'a str>,
}

impl<'a> From<&'a Program> for ProgramJson<'a> {
    fn from(program: &'a Program) -> Self {
        let Program {
            source,
            name,
            hooks,
            cost,
        } = program;
        let loaded = cost.as_ref().ok();
        Self {
            source: source.name(),
            program: name,
            hooks,
            verified: loaded.and_then(|cost| cost.verified),
            translated: loaded.and_then(|cost| cost.translated),
            jitted: loaded.and_then(|cost| cost.jitted),
            load_ns: loaded.and_then(|cost| u64::try_from(cost.load_time.as_nanos()).ok()),
            why: cost.as_ref().err().map(String::as_str),
        }
    }
}
