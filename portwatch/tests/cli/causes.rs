//! docs/CAUSES.md against the rows that the kernel tests make.

use std::{env, fmt::Write as _, fs, path::Path};

use portwatch::{
    errno::Errno,
    event::{Code, Op},
};

#[path = "../kernel/cause.rs"]
mod cause;

use cause::{Answer, GROUPS, Row, Since};

/// The causes that no test makes, and why.
const UNMADE: &[(Code, &str)] = &[
    (
        Code::OutOfMemory,
        "the test kernels are built without fault injection",
    ),
    (
        Code::PortInUseKernel,
        "that a socket which no process has open is the kernel's own cannot be proven yet: it may be in flight between two processes",
    ),
    (
        Code::SelinuxDenied,
        "the test kernels run AppArmor, and SELinux beside it needs another boot",
    ),
    (
        Code::SmackDenied,
        "the test kernels run AppArmor, and Smack beside it needs another boot",
    ),
    (
        Code::TomoyoDenied,
        "TOMOYO loads its policy when /sbin/init starts, which the test kernels have none of",
    ),
    (
        Code::IcmpError,
        "no firewall of the test kernels answers with such an ICMP error",
    ),
    (
        Code::PacketDenied,
        "only packet labels of SELinux or AppArmor refuse a SYN like this",
    ),
    (
        Code::KernelWithoutIpv6,
        "no bind or connect comes of it: only `portwatch why` tells",
    ),
    (Code::MacosLowPortAddress, "macOS"),
    (Code::MacosWildcardExempt, "macOS"),
    (Code::MacosRestrictedPort, "macOS"),
    (Code::MacosPolicyDenied, "macOS"),
];

/// `UPDATE_DOCS=1 cargo test -p portwatch --test cli causes` writes them anew.
#[test]
fn the_tables_in_the_document_are_the_rows_of_the_tests() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = package.join("../docs/CAUSES.md");
    let text = fs::read_to_string(&path).unwrap();
    let updated = updated(&text).expect("the markers of the tables");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &updated).unwrap();
    } else {
        assert_eq!(text, updated, "UPDATE_DOCS=1 writes docs/CAUSES.md anew");
    }
}

#[test]
fn every_code_is_made_or_said_why_not() {
    assert_eq!(unaccounted(), []);
}

/// The file with its tables as they should be.
fn updated(text: &str) -> Option<String> {
    let text = between(text, "made", &made())?;
    between(&text, "not made", &not_made())
}

/// Replaces what stands between two markers.
fn between(text: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- begin: {name} -->\n"),
        format!("<!-- end: {name} -->"),
    );
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{table}\n{end}{after}"))
}

/// Each code with the situations that have it, in the order of the codes.
fn made() -> String {
    let mut table =
        "| code | situation | call | result | `fexit` | `kprobe` | `tracepoint` | kernels |\n\
                     |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for code in Code::ALL {
        for row in rows().filter(|row| code_of(row) == Some(*code)) {
            write_row(&mut table, &format!("`{}`", code.name()), row);
        }
    }
    for row in rows().filter(|row| code_of(row).is_none()) {
        write_row(&mut table, "none", row);
    }
    table
}

fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|(_, rows)| *rows)
}

fn write_row(table: &mut String, code: &str, row: &Row) {
    let Row {
        case,
        op,
        ret,
        since,
        ..
    } = row;
    let [fexit, kprobe, tracepoint] = row.answers.map(|answer| said(answer, code_of(row)));
    let case = case
        .split_once(": ")
        .filter(|(first, _)| is_op(first))
        .map_or(*case, |(_, rest)| rest);
    let kernels = match since {
        Some(Since { major, minor, what }) => format!("{major}.{minor} and later: {what}"),
        None => "all".to_owned(),
    };
    let _ = writeln!(
        table,
        "| {code} | {case} | `{}` | {} | {fexit} | {kprobe} | {tracepoint} | {kernels} |",
        op.name(),
        errno(*ret),
    );
}

fn is_op(word: &str) -> bool {
    [Op::Bind, Op::Connect, Op::Listen]
        .iter()
        .any(|op| op.name() == word)
}

/// How sure a source is, or what else it says.
fn said(answer: Answer, code: Option<Code>) -> String {
    match answer {
        Answer::Says(said, confidence) if Some(said) == code => confidence.name().to_owned(),
        Answer::Says(said, confidence) => format!("`{}`, {}", said.name(), confidence.name()),
        Answer::Silent => "no cause".to_owned(),
        Answer::Unseen => "not seen".to_owned(),
    }
}

fn errno(ret: i32) -> String {
    Errno::from_ret(ret).map_or_else(|| "0".to_owned(), |errno| format!("`{errno}`"))
}

fn not_made() -> String {
    let mut table = "| code | why not |\n|---|---|\n".to_owned();
    for (code, why) in UNMADE {
        let _ = writeln!(table, "| `{}` | {why} |", code.name());
    }
    table
}

/// The codes that no row has, and no reason is given for; or that have both.
fn unaccounted() -> Vec<Code> {
    let made = |code: Code| rows().any(|row| says(row, code));
    let excused = |code: Code| UNMADE.iter().any(|(other, _)| *other == code);
    let all = Code::ALL.iter().copied();
    all.filter(|&code| made(code) == excused(code)).collect()
}

/// What is so, as the source knows it that sees most.
fn code_of(row: &Row) -> Option<Code> {
    row.answers.iter().find_map(|answer| match answer {
        Answer::Says(code, _) => Some(*code),
        Answer::Silent | Answer::Unseen => None,
    })
}

/// Whether any source gives it that code.
fn says(row: &Row, code: Code) -> bool {
    let is_it = |answer: &Answer| matches!(answer, Answer::Says(said, _) if *said == code);
    row.answers.iter().any(is_it)
}
