//! What the command says of itself.

use super::run::{printed, run_unread};

#[test]
fn short_help() {
    insta::assert_snapshot!(printed(&["-h"]));
}

#[test]
fn long_help() {
    insta::assert_snapshot!(printed(&["--help"]));
}

#[test]
fn help_of_doctor() {
    insta::assert_snapshot!(printed(&["doctor", "--help"]), @r"
    Show what this host and these privileges allow, and how to get what is missing

    Usage: portwatch doctor [OPTIONS]

    Options:
          --json      Print one JSON object instead of a table
          --programs  Load the eBPF programs of every source, attaching none, and show what each takes
      -h, --help      Print help
    ");
}

#[test]
fn version() {
    let expected = concat!("portwatch ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(printed(&["--version"]), expected);
    assert_eq!(printed(&["-V"]), expected);
}

#[test]
fn help_that_nobody_reads_is_no_failure() {
    let ended = run_unread(&["--help"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

/// Whether a line begins with the option, behind its letter if it has one.
fn lists(help: &str, option: &str) -> bool {
    help.lines().any(|line| {
        let mut words = line.split_whitespace().take(2);
        words.any(|word| word == option)
    })
}

#[test]
fn help_of_replay_leaves_out_what_only_a_watch_takes() {
    let help = printed(&["replay", "--help"]);
    assert!(lists(&help, "--filter") && lists(&help, "--output") && help.contains("<FILE>..."));
    for option in [
        "--seccomp",
        "--kernel",
        "--cmdline",
        "--duration",
        "--source",
        "--log-file",
        "--journald",
    ] {
        assert!(!lists(&help, option), "{option}");
    }
}

#[test]
fn help_of_top_leaves_out_how_lines_are_written() {
    let help = printed(&["top", "--help"]);
    for option in ["--source", "--log-file", "--config"] {
        assert!(lists(&help, option), "{option}");
    }
    for option in ["--json", "--fields", "--no-header", "--quiet"] {
        assert!(!lists(&help, option), "{option}");
    }
}
