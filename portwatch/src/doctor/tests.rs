use std::time::Duration;

use super::*;
use crate::source::{
    Kind,
    cost::{Cost, Program},
};

fn check(id: &'static str, status: Status, detail: &str) -> Check {
    Check {
        id,
        title: id,
        status,
        detail: detail.to_owned(),
        means: None,
        remedy: None,
    }
}

fn made_up() -> Support {
    let sudo = "sudo /usr/bin/portwatch\nsudo setcap cap_bpf,cap_perfmon+ep /usr/bin/portwatch";
    let capabilities = Check {
        means: Some("no source starts without CAP_BPF and CAP_PERFMON".to_owned()),
        remedy: Some(sudo.to_owned()),
        ..check("capabilities", Status::Missing, "none")
    };
    let tracefs = Check {
        means: Some("neither kprobe nor tracepoint learns its number".to_owned()),
        remedy: Some(sudo.to_owned()),
        ..check(
            "tracefs",
            Status::Missing,
            "/sys/kernel/tracing is not for this process",
        )
    };
    let fentry = Check {
        means: Some("run `portwatch doctor` with them to find out".to_owned()),
        ..check(
            "fentry",
            Status::Limited,
            "not known: trying takes capabilities",
        )
    };
    let btf = check("btf", Status::Ok, "/sys/kernel/btf/vmlinux, 5.2 MiB");
    Support {
        kernel: "6.1.0-50".to_owned(),
        checks: vec![capabilities, btf, fentry, tracefs],
    }
}

fn all_well() -> Support {
    let checks = ["btf", "kprobes"]
        .map(|id| check(id, Status::Ok, "there"))
        .to_vec();
    Support {
        kernel: "6.1.0-50".to_owned(),
        checks,
    }
}

#[test]
fn a_host_in_order_has_no_remedies() {
    insta::assert_snapshot!(render_table(&all_well(), None, None, false), @r"
    CHECK    STATUS  FOUND
    btf      ok      there
    kprobes  ok      there

    SOURCE      USABLE  WHY
    fexit       yes     every attempt with its socket, its stages and its outcome, at the least cost
    kprobe      yes     every attempt with its socket, its stages and its outcome, at a greater cost
    tracepoint  yes     system calls and their results; not the socket, io_uring or 32-bit programs
    --source auto would take fexit
    ");
}

#[test]
fn what_is_missing_is_followed_by_its_remedy() {
    insta::assert_snapshot!(render_table(&made_up(), None, None, false), @r"
    CHECK         STATUS   FOUND
    capabilities  missing  none
    btf           ok       /sys/kernel/btf/vmlinux, 5.2 MiB
    fentry        limited  not known: trying takes capabilities
    tracefs       missing  /sys/kernel/tracing is not for this process

    REMEDIES
      capabilities: no source starts without CAP_BPF and CAP_PERFMON
      tracefs: neither kprobe nor tracepoint learns its number
        sudo /usr/bin/portwatch
        sudo setcap cap_bpf,cap_perfmon+ep /usr/bin/portwatch
      fentry: run `portwatch doctor` with them to find out

    SOURCE      USABLE  WHY
    fexit       no      capabilities: none
    kprobe      no      capabilities: none; tracefs: /sys/kernel/tracing is not for this process
    tracepoint  no      capabilities: none; tracefs: /sys/kernel/tracing is not for this process
    no source can run here
    ");
}

#[test]
fn prose_gives_way_to_the_width_and_commands_do_not() {
    insta::assert_snapshot!(render_table(&made_up(), None, Some(50), false), @r"
    CHECK         STATUS   FOUND
    capabilities  missing  none
    btf           ok       /sys/kernel/btf/vmlinux,
                           5.2 MiB
    fentry        limited  not known: trying takes
                           capabilities
    tracefs       missing  /sys/kernel/tracing is not
                           for this process

    REMEDIES
      capabilities: no source starts without CAP_BPF
        and CAP_PERFMON
      tracefs: neither kprobe nor tracepoint learns
        its number
        sudo /usr/bin/portwatch
        sudo setcap cap_bpf,cap_perfmon+ep /usr/bin/portwatch
      fentry: run `portwatch doctor` with them to find
        out

    SOURCE      USABLE  WHY
    fexit       no      capabilities: none
    kprobe      no      capabilities: none; tracefs:
                        /sys/kernel/tracing is not for
                        this process
    tracepoint  no      capabilities: none; tracefs:
                        /sys/kernel/tracing is not for
                        this process
    no source can run here
    ");
}

#[test]
fn colours_change_no_column() {
    let plain = render_table(&made_up(), None, Some(60), false);
    let coloured = render_table(&made_up(), None, Some(60), true);
    assert!(coloured.contains("\x1b[31mmissing\x1b[0m"), "{coloured:?}");
    assert!(coloured.contains("\x1b[32mok\x1b[0m"), "{coloured:?}");
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn json_is_one_line_of_a_stable_shape() {
    insta::assert_snapshot!(render_json(&all_well(), None), @r#"{"v":1,"kind":"doctor","kernel":"6.1.0-50","checks":[{"id":"btf","title":"btf","status":"ok","detail":"there","means":null,"remedy":null},{"id":"kprobes","title":"kprobes","status":"ok","detail":"there","means":null,"remedy":null}],"sources":[{"name":"fexit","usable":true,"why":"every attempt with its socket, its stages and its outcome, at the least cost"},{"name":"kprobe","usable":true,"why":"every attempt with its socket, its stages and its outcome, at a greater cost"},{"name":"tracepoint","usable":true,"why":"system calls and their results; not the socket, io_uring or 32-bit programs"}],"programs":null}"#);
    insta::assert_snapshot!(render_json(&made_up(), None).lines().count().to_string(), @"1");
}

#[test]
fn json_has_null_for_what_is_not_there() {
    let json: serde_json::Value = serde_json::from_str(&render_json(&made_up(), None)).unwrap();
    assert_eq!(json["checks"][1]["means"], serde_json::Value::Null);
    assert_eq!(json["checks"][2]["status"], "limited");
    assert_eq!(json["sources"][0]["usable"], false);
}

fn programs() -> [Program; 2] {
    [
        Program {
            source: Kind::Fexit,
            name: "fx_inet_bind",
            hooks: vec!["fexit:inet_bind".to_owned()],
            cost: Ok(Cost {
                verified: Some(1234),
                translated: Some(5678),
                jitted: None,
                load_time: Duration::from_micros(1250),
            }),
        },
        Program {
            source: Kind::Kprobe,
            name: "bind_enter",
            hooks: ["kprobe:inet_bind", "kprobe:inet6_bind"]
                .map(str::to_owned)
                .into(),
            cost: Err("this kernel has no kprobes".to_owned()),
        },
    ]
}

#[test]
fn programs_come_last_with_what_they_take() {
    let text = render_table(&all_well(), Some(&programs()), Some(40), false);
    let (_, last) = text.rsplit_once("\n\n").unwrap();
    insta::assert_snapshot!(last, @"
    SOURCE  PROGRAM       VERIFIED   BPF  NATIVE    LOAD  HOOKS
    fexit   fx_inet_bind      1234  5678       -  1.2 ms  fexit:inet_bind
    kprobe  bind_enter           -     -       -       -  not loaded: this kernel has no kprobes
    ");
}

#[test]
fn programs_that_were_not_loaded_say_why_in_json_too() {
    let json = render_json(&all_well(), Some(&programs()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["programs"][0]["load_ns"], 1_250_000);
    assert_eq!(json["programs"][0]["why"], serde_json::Value::Null);
    assert_eq!(json["programs"][1]["verified"], serde_json::Value::Null);
    assert_eq!(json["programs"][1]["why"], "this kernel has no kprobes");
}
