//! Manual pages and completions.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::run::{away_from_terminals, printed};

#[test]
fn manual_page() {
    insta::assert_snapshot!(printed(&["man"]));
}

#[test]
fn manual_pages_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let said = printed(&["man", path]).replace(path, "DIR");
    insta::assert_snapshot!(said);
    let why = fs::read_to_string(directory.path().join("portwatch-why.1")).unwrap();
    assert!(why.contains("EXAMPLES") && why.contains("dual"), "{why}");
}

#[test]
fn completions_of_bash() {
    insta::assert_snapshot!(printed(&["completions", "bash"]));
}

#[test]
fn completions_parse() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        assert!(
            script.contains("no-loopback") && script.contains("tracepoint"),
            "{shell}"
        );
        let Some(program) = find(shell) else {
            let line = format!("skipped: completions_parse, for {shell} is not here");
            writeln!(io::stderr(), "{line}").unwrap();
            continue;
        };
        assert!(parses(&program, &script), "{shell}");
        assert!(!parses(&program, "if true; echo ("), "{shell}");
    }
}

/// A shell that is installed, or that `cargo xtask setup` has unpacked.
fn find(shell: &str) -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/programs");
    let unpacked = ["bin", "usr/bin"].map(|place| unpacked.join(place));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(unpacked);
    let mut programs = places.map(|place| place.join(shell));
    programs.find(|program| program.is_file())
}

/// Whether a shell that does not run the script finds nothing wrong with it.
fn parses(program: &Path, script: &str) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("script");
    fs::write(&file, script).unwrap();
    let mut command = away_from_terminals(program);
    // What is unpacked has libraries beside it.
    let beside = program.ancestors().nth(2).unwrap().join("lib");
    let libraries = beside.join(format!("{}-linux-gnu", std::env::consts::ARCH));
    command
        .env("LD_LIBRARY_PATH", libraries)
        .env("HOME", directory.path());
    command.arg("-n").arg(&file);
    command.output().unwrap().status.success()
}
