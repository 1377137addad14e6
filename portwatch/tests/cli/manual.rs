//! Manual pages and completions.

use std::{io::Write as _, process::Stdio};

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
    let why = std::fs::read_to_string(directory.path().join("portwatch-why.1")).unwrap();
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
        if let Some(verdict) = parse(shell, &script) {
            assert!(verdict, "{shell} does not read its completions");
        }
    }
    assert_eq!(parse("bash", "if"), Some(false));
}

/// What the shell says of a script, without running it; `None` where it is not installed.
fn parse(shell: &str, script: &str) -> Option<bool> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path).map(|directory| directory.join(shell));
    let program = program.into_iter().find(|program| program.exists())?;
    let mut command = away_from_terminals(program);
    command
        .arg("-n")
        .stdin(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    Some(child.wait().unwrap().success())
}
