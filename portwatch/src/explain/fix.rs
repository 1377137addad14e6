//! What to do, as commands for the case at hand.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path},
};

use super::{case::Case, conflict::Transport, quote};
use crate::event::{Fix, Runtime};

/// Something to change in the program or its configuration.
pub(super) fn advice(what: impl Into<String>) -> Fix {
    Fix {
        what: what.into(),
        command: None,
        opens: None,
    }
}

/// A command that only looks, or that allows nothing more than it says.
pub(super) fn command(what: impl Into<String>, command: impl Into<String>) -> Fix {
    Fix {
        command: Some(command.into()),
        ..advice(what)
    }
}

pub(super) fn opening(fix: Fix, opens: impl Into<String>) -> Fix {
    Fix {
        opens: Some(opens.into()),
        ..fix
    }
}

/// Lines for a drop-in of a unit, and the restart that makes them count.
pub(super) fn drop_in(unit: &str, name: &str, lines: &[&str]) -> String {
    let unit = unit.as_bytes();
    let word = |path: &[&[u8]]| quote::word(&path.concat());
    let folder = word(&[b"/etc/systemd/system/", unit, b".d"]);
    let file = word(&[
        b"/etc/systemd/system/",
        unit,
        b".d/",
        name.as_bytes(),
        b".conf",
    ]);
    format!(
        "sudo mkdir -p {folder} && printf '[Service]\\n{}\\n' | sudo tee {file} && \
         sudo systemctl daemon-reload && sudo systemctl restart {}",
        lines.join("\\n"),
        word(&[unit])
    )
}

/// Who has a port.
pub(super) fn look_for_holder(case: &Case<'_>, port: u16) -> Fix {
    let table = match case.transport() {
        Some(Transport::Udp | Transport::UdpLite) => "-uanp",
        _ => "-tanp",
    };
    let look = case.in_namespace(&format!("ss {table} 'sport = :{port}'"));
    command(format!("see who has port {port}"), look)
}

/// Where a destination is routed.
pub(super) fn look_at_route(case: &Case<'_>) -> Option<Fix> {
    let asked = case.asked()?;
    let from = case
        .attempt
        .local
        .map(|local| local.ip)
        .filter(|ip| !ip.is_unspecified() && ip.is_ipv6() == asked.ip.is_ipv6())
        .map_or_else(String::new, |ip| format!(" from {ip}"));
    let look = case.in_namespace(&format!("ip route get {}{from}", asked.ip));
    Some(command("see where the address is routed", look))
}

/// Programs that run whatever they are told to: a capability on them is one for everything.
const INTERPRETERS: [&str; 27] = [
    "ash", "awk", "bash", "beam.smp", "bun", "busybox", "dash", "deno", "dotnet", "erl", "fish",
    "gawk", "guile", "java", "julia", "ksh", "lua", "luajit", "mono", "node", "nodejs", "perl",
    "php", "pypy", "python", "ruby", "sh",
];

/// Whether a capability on this file would be one for every program.
pub(super) fn is_interpreter(exe: &Path) -> bool {
    let Some(Component::Normal(name)) = exe.components().next_back() else {
        return false;
    };
    let name = name.to_string_lossy();
    let version = |character: char| character.is_ascii_digit() || ".-".contains(character);
    let bare = name.trim_end_matches(version);
    INTERPRETERS.contains(&bare) || ["zsh", "tclsh", "php-fpm"].contains(&bare)
}

/// `sudo setcap cap_net_bind_service=+ep FILE`, where that is a good idea.
pub(super) fn file_capability(case: &Case<'_>) -> Option<Fix> {
    let exe = case.executable().filter(|exe| !is_interpreter(exe))?;
    let path = exe.as_os_str().as_bytes();
    let fix = command(
        format!("let {} open low ports", quote::shown(path)),
        format!("sudo setcap cap_net_bind_service=+ep {}", quote::word(path)),
    );
    Some(opening(
        fix,
        "everyone who may run this file can open any low port with it",
    ))
}

/// Ports from `port` on for everybody, in the attempt's network namespace.
pub(super) fn lower_threshold(case: &Case<'_>, port: u16) -> Vec<Fix> {
    let setting = format!("net.ipv4.ip_unprivileged_port_start={port}");
    let why_not_file = case
        .executable()
        .filter(|exe| is_interpreter(exe))
        .map(|exe| quote::shown(exe.as_os_str().as_bytes()))
        .map_or_else(String::new, |exe| {
            format!(" (a capability on {exe} would be one for every program it runs)")
        });
    let now = opening(
        command(
            format!("let everybody open ports from {port} on{why_not_file}"),
            case.in_namespace(&format!("sysctl -w {setting}")),
        ),
        format!("every user of this network namespace can open ports from {port} on"),
    );
    let container = case.container().and_then(|container| {
        let command = match container.runtime {
            Some(Runtime::Docker | Runtime::Podman) => format!("--sysctl {setting}"),
            Some(Runtime::Containerd | Runtime::CriO) | None => format!(
                "securityContext: {{sysctls: [{{name: net.ipv4.ip_unprivileged_port_start, value: \"{port}\"}}]}}"
            ),
            Some(Runtime::Lxc) => format!("lxc.sysctl.net.ipv4.ip_unprivileged_port_start = {port}"),
            Some(Runtime::SystemdNspawn) => return None,
        };
        Some(opening(
            Fix {
                command: Some(command),
                ..advice(format!("start the container with ports from {port} on open to all its users"))
            },
            "every user in the container can open these ports, which are the container's own",
        ))
    });
    container.into_iter().chain([now]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_with_and_without_a_version() {
        for path in [
            "/usr/bin/python3.11",
            "/usr/bin/node",
            "/opt/jdk-21/bin/java",
            "/bin/bash",
        ] {
            assert!(is_interpreter(Path::new(path)), "{path}");
        }
        for path in [
            "/usr/sbin/nginx",
            "/usr/bin/pythonic",
            "/",
            "/usr/bin/caddy",
        ] {
            assert!(!is_interpreter(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_drop_in_quotes_the_unit() {
        insta::assert_snapshot!(
            drop_in("a'b.service", "low-ports", &["AmbientCapabilities=CAP_NET_BIND_SERVICE"]),
            @r"sudo mkdir -p '/etc/systemd/system/a'\''b.service.d' && printf '[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n' | sudo tee '/etc/systemd/system/a'\''b.service.d/low-ports.conf' && sudo systemctl daemon-reload && sudo systemctl restart 'a'\''b.service'"
        );
    }
}
