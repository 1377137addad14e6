//! The filter that the options make: all of them together, each as the expression of its name.

use super::ConfigError;
use crate::{
    cli::Filters,
    event::{Family, Outcome},
    filter::{Expr, Field, Filter, Names, Pinned, Role, Span, Test, Value},
};

pub(super) fn compile(filters: &Filters, names: &dyn Names) -> Result<Filter, ConfigError> {
    let mut filter = Filter::default();
    for (field, typed) in lists(filters) {
        let option = field.name();
        let wrong = |error| ConfigError::Filter { option, error };
        let mut tests = Vec::new();
        for list in typed {
            tests.push(Test::parse(field, list, names).map_err(wrong)?);
        }
        // An option that was given twice is one list.
        let whole = tests.into_iter().reduce(|mut whole, more| {
            whole.add(more);
            whole
        });
        if let Some(test) = whole {
            filter.and(Expr::Is(test));
        }
    }
    for expr in switches(filters) {
        filter.and(expr);
    }
    for expression in &filters.filter {
        let option = "filter";
        let expr = Expr::parse(expression, names)
            .map_err(|error| ConfigError::Filter { option, error })?;
        filter.and(expr);
    }
    Ok(filter)
}

/// The options that take lists.
fn lists(filters: &Filters) -> [(Field, &[String]); 15] {
    [
        (Field::Pid, &filters.pid),
        (Field::PpidTree, &filters.ppid_tree),
        (Field::User, &filters.user),
        (Field::Comm, &filters.comm),
        (Field::Port, &filters.port),
        (Field::Lport, &filters.lport),
        (Field::Dport, &filters.dport),
        (Field::Addr, &filters.addr),
        (Field::Proto, &filters.proto),
        (Field::Op, &filters.op),
        (Field::Errno, &filters.errno),
        (Field::Netns, &filters.netns),
        (Field::Cgroup, &filters.cgroup),
        (Field::Container, &filters.container),
        (Field::Unit, &filters.unit),
    ]
}

/// What the options that take no value ask for.
fn switches(filters: &Filters) -> impl Iterator<Item = Expr> {
    all_switches(filters)
        .into_iter()
        .filter_map(|(_, expr)| expr)
}

/// Each with what is typed for it.
fn all_switches(filters: &Filters) -> [(&'static str, Option<Expr>); 4] {
    let families = [
        filters.ipv4.then_some(Value::Family(Family::Ipv4)),
        filters.ipv6.then_some(Value::Family(Family::Ipv6)),
    ];
    let families: Vec<_> = families.into_iter().flatten().collect();
    let is = |field, value| Expr::Is(Test::new(field, vec![value]));
    let family = match (filters.ipv4, filters.ipv6) {
        (true, true) => "-4 -6",
        (true, false) => "-4",
        (false, _) => "-6",
    };
    let family_is = (!families.is_empty()).then(|| Expr::Is(Test::new(Field::Family, families)));
    let failed = || is(Field::Outcome, Value::Outcome(Outcome::Failed));
    let serves = || is(Field::Role, Value::Role(Role::Server));
    [
        (family, family_is),
        ("--failed", filters.failed.then(failed)),
        ("--listeners", filters.listeners.then(serves)),
        (
            "--no-loopback",
            filters
                .no_loopback
                .then(|| Expr::Not(Box::new(Expr::loopback()))),
        ),
    ]
}

/// As somebody types it who gave these options.
pub(super) fn option_of(test: &Test, filters: &Filters) -> String {
    let is = |expr: Option<Expr>| expr.as_ref().and_then(Expr::as_test).as_deref() == Some(test);
    let switches = all_switches(filters).into_iter();
    if let Some((name, _)) = switches.into_iter().find(|(_, expr)| is(expr.clone())) {
        return name.to_owned();
    }
    let (field, shown) = (test.field(), test.to_string());
    let has_option = lists(filters)
        .into_iter()
        .any(|(own, typed)| own == field && !typed.is_empty());
    match shown.split_once('=') {
        Some((name, list)) if has_option => format!("--{name} {list}"),
        _ => format!("--filter '{shown}'"),
    }
}

pub(super) fn pinned(filters: &Filters) -> Pinned {
    Pinned {
        cgroups: filters.cgroupmap.clone(),
        mntns: filters.mntnsmap.clone(),
    }
}

/// Adds that it must come of a process, but not be of its own making.
pub(super) fn follow(root: u32, filter: &mut Filter) {
    let own = Span {
        first: root,
        last: root,
    };
    let is = |field, value| Expr::Is(Test::new(field, vec![value]));
    filter.and(is(Field::PpidTree, Value::PpidTree(root)));
    filter.and(Expr::Not(Box::new(is(Field::Pid, Value::Pid(own)))));
}

/// What it means that no attempt has passed.
pub(super) fn nothing_seen(filters: &Filters) -> &'static str {
    match &typed(filters)[..] {
        [] => "no attempt was made",
        [only] if only == "--failed" => "no attempt failed",
        _ => "no attempt passed the filters",
    }
}

/// The filters as a reader of the stream would type them.
pub(super) fn typed(filters: &Filters) -> Vec<String> {
    let switches = [
        (filters.ipv4, "--ipv4"),
        (filters.ipv6, "--ipv6"),
        (filters.failed, "--failed"),
        (filters.listeners, "--listeners"),
        (filters.no_loopback, "--no-loopback"),
    ];
    let switches = switches.into_iter().filter(|(given, _)| *given);
    let lists = lists(filters).map(|(field, lists)| (field.name(), lists));
    let pinned = pinned(filters);
    let maps = pinned.given();
    let maps = maps.map(|(option, path)| format!("{option} {}", path.display()));
    lists
        .into_iter()
        .flat_map(|(name, lists)| lists.iter().map(move |list| format!("--{name} {list}")))
        .chain(maps)
        .chain(switches.map(|(_, name)| name.to_owned()))
        .chain(filters.filter.iter().map(|expr| format!("--filter {expr}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cli::Cli,
        filter::sample::{Somewhere, test_of},
    };

    const WITH_LISTS: [Field; 15] = [
        Field::Pid,
        Field::PpidTree,
        Field::User,
        Field::Comm,
        Field::Port,
        Field::Lport,
        Field::Dport,
        Field::Addr,
        Field::Proto,
        Field::Op,
        Field::Errno,
        Field::Netns,
        Field::Cgroup,
        Field::Container,
        Field::Unit,
    ];

    fn filters(args: &[&str]) -> Filters {
        let args = std::iter::once("portwatch").chain(args.iter().copied());
        Cli::try_parse_from(args).unwrap().watch.filters
    }

    fn compiled(args: &[&str]) -> Filter {
        compile(&filters(args), &Somewhere).unwrap()
    }

    fn expression(text: &str) -> Filter {
        let mut filter = Filter::default();
        filter.and(Expr::parse(text, &Somewhere).unwrap());
        filter
    }

    #[test]
    fn every_option_is_the_expression_of_its_name() {
        for (args, text) in [
            (&["-p", "7,8"][..], "pid=7,8"),
            (&["--ppid-tree", "7"], "ppid-tree=7"),
            (&["-u", "alice", "--uid", "0"], "user=1000,0"),
            (
                &["--comm", "nginx*,Web Content"],
                r#"comm=nginx*,"Web Content""#,
            ),
            (
                &["-P", "80,443", "-P", "8000-8100,!8010"],
                "port=80,443,8000-8100,!8010",
            ),
            (&["-L", "80"], "lport=80"),
            (&["--dport", "!22"], "dport=!22"),
            (&["--addr", "10.0.0.0/8, ::1"], "addr=10.0.0.0/8,::1"),
            (&["-4"], "family=ipv4"),
            (&["-6", "-4"], "family=ipv4,ipv6"),
            (&["--proto", "tcp,raw,200"], "proto=tcp,raw,200"),
            (&["--op", "bind,connect"], "op=bind,connect"),
            (&["--errno", "EACCES,-1"], "errno=EACCES,EPERM"),
            (&["-x"], "outcome=failed"),
            (&["-E"], "outcome=failed"),
            (&["-N", "blue,1"], "netns=7,1"),
            (&["--cgroup", "/system.slice/"], "cgroup=/system.slice"),
            (&["--container", "3f25"], "container=3f25"),
            (&["--unit", "nginx"], "unit=nginx.service"),
            (&["--no-loopback"], "not addr=127.0.0.0/8,::1"),
            (&["--listeners"], "role=server"),
            (&["--filter", "pid=1 or port=80"], "pid=1 or port=80"),
        ] {
            assert_eq!(compiled(args), expression(text), "{args:?}");
            assert_eq!(compiled(args).to_string(), text, "{args:?}");
        }
    }

    #[test]
    fn all_that_is_given_must_hold() {
        let args = [
            "-x",
            "-P",
            "80",
            "--filter",
            "pid=1 or pid=2",
            "--filter",
            "op=bind",
            "-p",
            "3",
        ];
        let text = "pid=3 and port=80 and outcome=failed and (pid=1 or pid=2) and op=bind";
        assert_eq!(compiled(&args), expression(text));
        assert_eq!(compiled(&args).to_string(), text);
        assert_eq!(compiled(&[]), Filter::default());
    }

    #[test]
    fn filters_are_kept_as_they_were_typed() {
        let args = [
            "-x",
            "-P",
            "80,443",
            "-P",
            "!22",
            "-u",
            "alice",
            "--filter",
            "pid=1",
            "--cgroupmap=/sys/fs/bpf/x",
        ];
        assert_eq!(
            typed(&filters(&args)),
            [
                "--user alice",
                "--port 80,443",
                "--port !22",
                "--cgroupmap /sys/fs/bpf/x",
                "--failed",
                "--filter pid=1"
            ]
        );
    }

    #[test]
    fn every_field_has_an_option() {
        let fields = lists(&filters(&[])).map(|(field, _)| field);
        assert_eq!(fields, WITH_LISTS);
        let switches = [Field::Family, Field::Outcome, Field::Role];
        assert_eq!(fields.len() + switches.len(), Field::ALL.len());
    }

    proptest! {
        #[test]
        fn options_and_expressions_agree(
            tests in prop::sample::subsequence(WITH_LISTS.to_vec(), 0..4)
                .prop_flat_map(|fields| fields.into_iter().map(test_of).collect::<Vec<_>>()),
        ) {
            let mut args = Vec::new();
            let mut whole = Filter::default();
            for test in tests {
                let text = test.to_string();
                let (field, list) = text.split_once('=').unwrap();
                args.push(format!("--{field}={list}"));
                whole.and(Expr::Is(test));
            }
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            prop_assert_eq!(compiled(&args), whole);
        }
    }
}
