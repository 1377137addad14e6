use std::collections::BTreeMap;

use super::*;

/// Files and variables, and what comes of a command line among them.
struct World {
    directory: tempfile::TempDir,
    variables: BTreeMap<String, OsString>,
    uid: u32,
}

impl World {
    fn new(system: &str, own: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::create_dir(path.join("portwatch")).unwrap();
        std::fs::write(path.join("system.toml"), system).unwrap();
        std::fs::write(path.join(OWN), own).unwrap();
        let home = [("XDG_CONFIG_HOME".to_owned(), path.into())];
        Self {
            variables: home.into(),
            directory,
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn read(&self, args: &[&str]) -> Result<Options, String> {
        let args = ["portwatch"].iter().chain(args).map(OsString::from);
        let around = Surroundings {
            variable: &|name| self.variables.get(name).cloned(),
            variables: self.variables.keys().map(OsString::from).collect(),
            system: self.directory.path().join("system.toml"),
            uid: self.uid,
        };
        read(&args.collect::<Vec<_>>(), &around).map_err(|error| {
            let path = self.directory.path().display().to_string();
            error.to_string().replace(&path, "")
        })
    }

    fn watch(&self, args: &[&str]) -> Watch {
        self.read(args).unwrap().cli.watch
    }

    fn error(&self, args: &[&str]) -> String {
        let error = self.read(args).unwrap_err();
        error.lines().next().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_variable_that_was_perhaps_meant_for_an_option_is_named() {
    let world = World::new("", "")
        .with("PORTWATCH_PROTT", "tcp")
        .with("PORTWATCH_CONFG", "x")
        .with("PORTWATCH_HOME", "/opt")
        .with("PORT", "80");
    let warnings = world.read(&[]).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "PORTWATCH_CONFG sets no option; did you mean PORTWATCH_CONFIG?",
            "PORTWATCH_PROTT sets no option; did you mean PORTWATCH_PROTO?"
        ]
    );
}

#[test]
fn the_stronger_has_its_way() {
    let world = World::new(
        "port = 1\ncount = 1\nuser = '1'\ncomm = 'a'",
        "count = 2\nuser = '2'\ncomm = 'b'",
    )
    .with("PORTWATCH_USER", "3")
    .with("PORTWATCH_COMM", "c");
    let watch = world.watch(&["--comm", "d"]);
    assert_eq!(watch.filters.port, ["1"]);
    assert_eq!(watch.count, Some(2));
    assert_eq!(watch.filters.user, ["3"]);
    assert_eq!(watch.filters.comm, ["d"]);
}

#[test]
fn lists_are_not_mixed() {
    let world = World::new("port = [80, '443,!22']", "");
    assert_eq!(world.watch(&[]).filters.port, ["80", "443,!22"]);
    assert_eq!(world.watch(&["-P", "1"]).filters.port, ["1"]);
}

#[test]
fn what_contradicts_the_stronger_is_dropped() {
    let world = World::new("json = true\nquiet = true", "");
    let watch = world.watch(&["-o", "csv", "-v"]);
    assert!(!watch.json && !watch.quiet);
    let world = World::new("fields = 'pid'\nlog-format = 'csv'", "");
    assert!(world.watch(&["-o", "ecs"]).fields.is_none());
}

#[test]
fn a_flag_can_be_turned_off() {
    let world = World::new(
        "quiet = true\nverbose = 0\njournald = true",
        "quiet = false",
    );
    assert!(!world.watch(&[]).quiet && world.watch(&[]).journald.is_some());
    let world = World::new("quiet = true", "").with("PORTWATCH_QUIET", "0");
    assert!(!world.watch(&[]).quiet);
}

#[test]
fn a_replay_takes_what_has_a_meaning_in_it() {
    let world = World::new("failed = true\nseccomp = true\nsource = 'fexit'", "");
    match world.read(&["replay", "-"]).unwrap().cli.command {
        Some(crate::cli::Command::Replay { watch, .. }) => {
            assert!(watch.filters.failed && !watch.seccomp);
        }
        other => panic!("{other:?}"),
    }
    assert!(world.read(&["why", "80"]).unwrap().cli.command.is_some());
}

#[test]
fn top_takes_what_has_a_meaning_in_it() {
    let world = World::new(
        "failed = true\nsource = 'kprobe'\noutput = 'csv'\nlog-file = '/x'\nlog-format = 'csv'",
        "quiet = true\nno-header = true\ngroup-by = 'comm'",
    )
    .with("PORTWATCH_PORT", "80");
    match world.read(&["top", "-P", "443"]).unwrap().cli.command {
        Some(crate::cli::Command::Top { watch, .. }) => {
            assert!(watch.filters.failed && watch.log_file.is_some());
            assert_eq!(watch.source, crate::cli::Source::Kprobe);
            assert_eq!(watch.filters.port, ["443"]);
            assert_eq!(moot::given(moot::IN_TOP, &watch), None);
        }
        other => panic!("{other:?}"),
    }
    let printed = world.read(&["top", "--print-config"]).unwrap().printed;
    assert!(
        printed
            .unwrap()
            .contains("port = [\"80\"]  # PORTWATCH_PORT\n")
    );
}

/// A name that no option has would be passed over in silence.
#[test]
fn what_has_no_meaning_somewhere_is_an_option() {
    let keys = keys();
    for (long, _) in moot::IN_REPLAY.iter().chain(moot::IN_TOP) {
        assert!(named(&keys, long).is_some(), "{long}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, error) in [
        (
            "prot = 1",
            "1:1: there is no option `prot`; did you mean `proto`?",
        ),
        (
            "\n  zzz = 1",
            "2:3: there is no option `zzz` that a file can set",
        ),
        (
            "dtrace = 'x'",
            "1:1: there is no option `dtrace` that a file can set",
        ),
        (
            "port = true",
            "1:8: `port` takes a text, a number, or a list of them",
        ),
        ("failed = 'x'", "1:10: `failed` takes true or false"),
        (
            "[port]",
            "1:1: `port` takes a text, a number, or a list of them, not a table",
        ),
        ("port = [80", "1:11: unclosed array"),
        (
            "source = 'kprob'",
            "1:10: invalid value 'kprob' for '--source <SOURCE>'",
        ),
        (
            "x = 1\nport = 0",
            "1:1: there is no option `x` that a file can set",
        ),
        (
            "port = 0",
            "1:8: invalid value for '--port': expected a port from 1 to 65535",
        ),
    ] {
        let found = World::new(text, "").error(&[]);
        let expected = format!("error: /system.toml:{error}");
        assert!(found.starts_with(&expected), "{found}\nnot\n{expected}");
    }
    let world = World::new("", "").with("PORTWATCH_COUNT", "none");
    assert!(
        world
            .error(&[])
            .starts_with("error: PORTWATCH_COUNT: invalid value 'none'")
    );
}

#[test]
fn files_of_others_are_not_read_unless_they_are_named() {
    let mut world = World::new("count = 1", "count = 2");
    let own = world.directory.path().join(OWN);
    let named = own.to_str().unwrap().to_owned();
    assert_eq!(world.watch(&["--config", &named]).count, Some(2));
    assert_eq!(world.watch(&["--no-config"]).count, None);
    if std::os::unix::fs::chown(&own, Some(4_000_000), None).is_err() {
        // Only root can give it away; the rest has been looked at.
        return;
    }
    world.uid = 0;
    let options = world.read(&[]).unwrap();
    assert_eq!(options.cli.watch.count, Some(1));
    assert!(options.warnings[0].contains("belongs to uid 4000000"));
    assert_eq!(world.watch(&["--config", &named]).count, Some(2));
    assert!(
        world
            .error(&["--config", "/no/such/file"])
            .contains("cannot read /no/such/file")
    );
}

#[test]
fn what_is_printed_says_where_it_comes_from_and_can_be_read_again() {
    let world = World::new("port = 80", "").with("PORTWATCH_FAILED", "yes");
    let printed = world
        .read(&["--print-config", "-o", "csv", "-u", "a\"b"])
        .unwrap()
        .printed
        .unwrap();
    let file = world.directory.path().join("system.toml");
    for line in [
        format!("port = [\"80\"]  # {}:1:8\n", file.display()),
        "failed = true  # PORTWATCH_FAILED\n".to_owned(),
        "user = [\"a\\\"b\"]  # command line\n".to_owned(),
        "output = \"csv\"  # command line\n".to_owned(),
        "source = \"auto\"  # default\n".to_owned(),
    ] {
        assert!(printed.contains(&line), "{line} is not in {printed}");
    }
    assert!(!printed.contains("json ="), "--output was given: {printed}");
    let again = printed.replace("a\\\"b", "0");
    let again = World::new(&again, "").watch(&[]);
    assert_eq!(
        (again.filters.port, again.filters.failed),
        (vec!["80".to_owned()], true)
    );
}
