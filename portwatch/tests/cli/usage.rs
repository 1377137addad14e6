//! Command lines that are wrong: each ends with code 2, a message, and nothing on standard output.

use super::run::run;

/// The message, once the rest has proved right.
fn refusal(arguments: &[&str]) -> String {
    let ended = run(arguments);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    ended.stderr
}

#[test]
fn count_of_zero() {
    insta::assert_snapshot!(refusal(&["-c", "0"]), @r"
    error: invalid value '0' for '--count <N>': 0 is not in 1..18446744073709551615

    For more information, try '--help'.
    ");
}

#[test]
fn duration_of_zero() {
    insta::assert_snapshot!(refusal(&["-d", "0"]), @r"
    error: invalid value '0' for '--duration <SECONDS>': it must be more than 0

    For more information, try '--help'.
    ");
}

#[test]
fn negative_duration() {
    insta::assert_snapshot!(refusal(&["-d", "-1"]), @r"
    error: unexpected argument '-1' found

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refusal(&["-d=-1"]), @r"
    error: invalid value '-1' for '--duration <SECONDS>': it must be more than 0

    For more information, try '--help'.
    ");
}

#[test]
fn duration_that_is_no_number() {
    insta::assert_snapshot!(refusal(&["-d", "nan"]), @r"
    error: invalid value 'nan' for '--duration <SECONDS>': `nan` seconds cannot be counted

    For more information, try '--help'.
    ");
}

#[test]
fn port_zero() {
    insta::assert_snapshot!(refusal(&["-P", "0"]), @r"
    error: invalid value for '--port': expected a port from 1 to 65535, or a range of them (8000-8100)
      0
      ^

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn port_that_is_too_large() {
    insta::assert_snapshot!(refusal(&["-P", "70000"]), @r"
    error: invalid value for '--port': expected a port from 1 to 65535, or a range of them (8000-8100)
      70000
      ^^^^^

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn port_by_name() {
    insta::assert_snapshot!(refusal(&["-P", "http"]), @r"
    error: invalid value for '--port': expected a port from 1 to 65535, or a range of them (8000-8100)
      http
      ^^^^

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn unknown_user() {
    insta::assert_snapshot!(refusal(&["-u", "nosuchuser"]), @r"
    error: invalid value for '--user': there is no user `nosuchuser` on this host; a number works without a name
      nosuchuser
      ^^^^^^^^^^

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn pid_that_is_no_number() {
    insta::assert_snapshot!(refusal(&["-p", "abc"]), @r"
    error: invalid value for '--pid': expected a process id from 1, or a range of them (100-200)
      abc
      ^^^

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn expression_that_cannot_be_read() {
    insta::assert_snapshot!(refusal(&["--filter", "port=80 and (user=0 or errno=EACCESS)"]), @r"
    error: invalid value for '--filter': expected the name of an error (EACCES) or its number; did you mean `EACCES`?
      port=80 and (user=0 or errno=EACCESS)
                                   ^^^^^^^

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn network_namespace_that_is_not_there() {
    insta::assert_snapshot!(refusal(&["-N", "no-such-namespace"]), @r"
    error: invalid value for '--netns': /run/netns/no-such-namespace: No such file or directory (os error 2)
      no-such-namespace
      ^^^^^^^^^^^^^^^^^

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn option_before_a_command() {
    insta::assert_snapshot!(refusal(&["-x", "replay", "-"]), @r"
    error: the subcommand 'replay' comes first, and its options after it

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn replay_of_nothing() {
    insta::assert_snapshot!(refusal(&["replay"]), @r"
    error: the following required arguments were not provided:
      <FILE>...

    Usage: portwatch replay <FILE>...

    For more information, try '--help'.
    ");
}

#[test]
fn replay_with_a_source() {
    insta::assert_snapshot!(refusal(&["replay", "-", "--source", "fexit"]), @r"
    error: --source has no meaning in a replay

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn unknown_source() {
    insta::assert_snapshot!(refusal(&["--source", "nope"]), @r"
    error: invalid value 'nope' for '--source <SOURCE>'
      [possible values: auto, fexit, kprobe, tracepoint, dtrace]

    For more information, try '--help'.
    ");
}

#[test]
fn two_formats_at_once() {
    insta::assert_snapshot!(refusal(&["--json", "-o", "text"]), @r"
    error: the argument '--json' cannot be used with '--output <FORMAT>'

    Usage: portwatch --json [-- <COMMAND>...]

    For more information, try '--help'.
    ");
}

#[test]
fn quiet_and_verbose_at_once() {
    insta::assert_snapshot!(refusal(&["-q", "-v"]), @r"
    error: the argument '--quiet' cannot be used with '--verbose...'

    Usage: portwatch --quiet [-- <COMMAND>...]

    For more information, try '--help'.
    ");
}

#[test]
fn misspelt_option() {
    insta::assert_snapshot!(refusal(&["--jsn"]), @r"
    error: unexpected argument '--jsn' found

      tip: a similar argument exists: '--json'

    Usage: portwatch --json [-- <COMMAND>...]

    For more information, try '--help'.
    ");
}

#[test]
fn unknown_subcommand() {
    insta::assert_snapshot!(refusal(&["nosuch"]), @r"
    error: unrecognized subcommand 'nosuch'

      tip: to run a command and watch it, use '-- nosuch'

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn unknown_field() {
    insta::assert_snapshot!(refusal(&["-o", "csv", "--fields", "time,prot"]), @r"
    error: invalid value 'time,prot' for '--fields <FIELD,…>': there is no field `prot`; did you mean `proto`?
      time,prot
           ^^^^

    For more information, try '--help'.
    ");
}

#[test]
fn unknown_field_in_a_template() {
    insta::assert_snapshot!(refusal(&["--format", "{time} {com}"]), @r"
    error: invalid value '{time} {com}' for '--format <TEMPLATE>': there is no field `com`; did you mean `comm`?
      {time} {com}
              ^^^

    For more information, try '--help'.
    ");
}

#[test]
fn fields_of_a_format_that_has_fixed_ones() {
    insta::assert_snapshot!(refusal(&["-o", "ecs", "--fields", "time"]), @r"
    error: --fields goes with --output text, wide, logfmt or csv; the others have fixed fields

    Usage: portwatch [OPTIONS] [-- <COMMAND>...]
           portwatch <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn template_and_format_at_once() {
    insta::assert_snapshot!(refusal(&["--format", "{pid}", "-o", "csv"]), @r"
    error: the argument '--format <TEMPLATE>' cannot be used with '--output <FORMAT>'

    Usage: portwatch --format <TEMPLATE> [-- <COMMAND>...]

    For more information, try '--help'.
    ");
}

#[test]
fn a_user_who_is_not_there() {
    let said = refusal(&["--user-after", "nobody-has-this-name"]);
    let expected =
        "error: invalid value for '--user-after': there is no user `nobody-has-this-name`";
    assert!(said.starts_with(expected), "{said}");
}

/// The first lines of the message.
fn contradiction(arguments: &[&str]) -> String {
    let said = refusal(arguments);
    let end = said.find("\n\nUsage").unwrap_or(said.len());
    said[..end].to_owned()
}

#[test]
fn a_watch_that_can_never_match() {
    let lines: Vec<_> = [
        &["-P", "80,!80"][..],
        &["--op", "bind", "-D", "80"],
        &["--listeners", "-D", "80"],
        &["--listeners", "--op", "connect"],
        &["-4", "--addr", "::1"],
        &["-6", "--filter", "addr=::1 and family=ipv4"],
        &["-x", "--filter", "outcome=ok"],
        &["--errno", "EACCES", "--filter", "outcome=ok"],
        &["--comm", "victoria-metrics*"],
        &["--comm", "a-very-long-command-name"],
        &["-p", "4194304"],
        &["--ppid-tree", "99999999"],
        &["-p", "7", "--ppid-tree", "!7"],
        &["-N", "0"],
        &["--addr", "127.0.0.1", "--no-loopback"],
        &["--op", "listen", "--addr", "::1"],
        &["-P", "80", "-D", "443"],
        &["-u", "0,!0-5"],
    ]
    .into_iter()
    .map(|arguments| format!("{}\n{}", arguments.join(" "), contradiction(arguments)))
    .collect();
    insta::assert_snapshot!(lines.join("\n\n"));
}

#[test]
fn a_replay_that_can_never_match() {
    let said = contradiction(&["replay", "-", "-P", "80,!80"]);
    assert!(
        said.starts_with("error: no attempt can pass --port 80,!80: "),
        "{said}"
    );
}

#[test]
fn a_command_that_is_empty() {
    insta::assert_snapshot!(refusal(&["-x", "--"]));
}
