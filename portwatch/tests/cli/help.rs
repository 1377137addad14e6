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

#[test]
fn help_of_replay_leaves_out_what_only_a_watch_takes() {
    let help = printed(&["replay", "--help"]);
    assert!(help.contains("--filter") && help.contains("--output") && help.contains("<FILE>..."));
    for option in [
        "--seccomp",
        "--kernel",
        "--cmdline",
        "--duration",
        "--source",
    ] {
        assert!(!help.contains(option), "{option}");
    }
}
