//! What a watch of a Mac has written, replayed on this system.

use std::io::Write as _;

use serde_json::Value;

use super::{
    player::Player,
    run::{Ended, ended, events, of_kind, portwatch},
};

/// The exit code, standard output and standard error of a replay.
fn replayed(recorded: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(recorded.as_bytes()).unwrap();
    let mut command = portwatch();
    command.arg("replay").arg(file.path()).args(arguments);
    let Ended {
        code,
        stdout,
        stderr,
    } = ended(&mut command).unwrap();
    (code, stdout, stderr)
}

#[test]
fn the_stream_of_a_mac_is_replayed_anywhere() {
    let recorded = Player::origin()
        .run("macOS 14", &["--json", "-c", "2"])
        .stdout;
    assert_eq!(replayed(&recorded, &["--json"]).1, recorded);
    let fields = "comm,addr,port,errno,cause.code";
    let arguments = ["-x", "--color", "never", "--fields", fields];
    let (_, text, _) = replayed(&recorded, &arguments);
    let row: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(
        row,
        [
            "httpd",
            "127.0.0.1",
            "80",
            "EACCES",
            "macos_low_port_address"
        ]
    );
}

/// The recording has no causes: they come of the version that it names, on whatever system.
#[test]
fn a_recorded_stream_is_explained_by_the_rules_of_its_mac() {
    let recorded = Player::origin()
        .run("macOS 14", &["--json", "--no-explain", "-c", "2"])
        .stdout;
    assert!(!recorded.contains("macos_"), "{recorded}");
    let causes = |recorded: &str| -> Vec<_> {
        let (code, stdout, stderr) = replayed(recorded, &["--json"]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        of_kind(&events(&stdout), "attempt")
            .iter()
            .map(|attempt| attempt["cause"].clone())
            .collect()
    };
    let [refused, allowed] = &causes(&recorded)[..] else {
        panic!("not two attempts");
    };
    assert_eq!(refused["code"], "macos_low_port_address");
    let text = refused["text"].as_str().unwrap();
    assert!(
        text.contains("any address but the wildcard only root"),
        "{text}"
    );
    assert_eq!(allowed["code"], "macos_wildcard_exempt");
    let text = allowed["text"].as_str().unwrap();
    assert!(text.contains("since macOS 10.14 everybody may"), "{text}");
    // The exemption is younger: that success must have been a privilege.
    let [refused, allowed] = &causes(&recorded.replace("macOS 14", "macOS 10.13"))[..] else {
        panic!("not two attempts");
    };
    let text = refused["text"].as_str().unwrap();
    assert!(text.contains("before macOS 10.14 only root"), "{text}");
    assert_eq!(*allowed, Value::Null);
}

#[test]
fn a_recording_of_a_mac_is_not_asked_for_what_only_linux_has() {
    let recorded = Player::origin()
        .run("macOS 14", &["--json", "-c", "2"])
        .stdout;
    let (code, stdout, stderr) = replayed(&recorded, &["--json", "--unit", "nginx"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    let words = "error: unit has no meaning in a recording of macOS 14: macOS has no systemd";
    assert!(stderr.starts_with(words), "{stderr}");
    let (code, _, stderr) = replayed(&recorded, &["--op", "listen"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("error: op=listen has no meaning in a recording of macOS 14: "),
        "{stderr}"
    );
    // Parents are in the recording.
    let tree = replayed(&recorded, &["--json", "--ppid-tree", "4711"]);
    assert_eq!(tree.0, Some(0));
    assert_eq!(of_kind(&events(&tree.1), "attempt").len(), 2);
}
