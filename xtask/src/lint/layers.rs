//! The layers of portwatch's modules: each imports only downwards.
//!
//! docs/ARCHITECTURE.md shows the same picture; the table here is what holds.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::command::root;

/// Each module of portwatch/src, and the modules that it may use. Highest layer first.
const LAYERS: [(&str, &[&str]); 30] = [
    (
        "main",
        &[
            "doctor", "why", "replay", "pipeline", "command", "manual", "options", "output",
            "support", "source", "top", "config", "cli", "users",
        ],
    ),
    (
        "doctor",
        &[
            "support", "source", "process", "sockets", "config", "event", "errno",
        ],
    ),
    (
        "why",
        &[
            "output", "source", "facts", "netns", "nsfs", "cgroup", "process", "sockets", "config",
            "cli", "explain", "event", "errno", "users", "alike",
        ],
    ),
    (
        "replay",
        &[
            "output", "source", "ancestry", "config", "cli", "filter", "outcomes", "explain",
            "event", "errno", "users",
        ],
    ),
    (
        "pipeline",
        &[
            "command",
            "confine",
            "top",
            "sink",
            "output",
            "support",
            "source",
            "surroundings",
            "clock",
            "manager",
            "memory",
            "config",
            "cli",
            "filter",
            "outcomes",
            "explain",
            "event",
            "errno",
            "addr",
            "users",
            "ready",
        ],
    ),
    (
        "top",
        &[
            "output", "config", "cli", "filter", "ready", "event", "users",
        ],
    ),
    (
        "sink",
        &[
            "output", "cli", "users", "config", "explain", "event", "errno", "addr", "ready",
        ],
    ),
    // Never source: what is printed is what an event says, wherever it came from.
    (
        "output",
        &[
            "config", "cli", "fields", "explain", "event", "errno", "addr", "users",
        ],
    ),
    // It reports what the sources can do here; they do not ask it.
    (
        "support",
        &[
            "source", "sockets", "confine", "cgroup", "event", "errno", "addr",
        ],
    ),
    (
        "source",
        &[
            "clock", "sockets", "filter", "event", "errno", "addr", "ready",
        ],
    ),
    (
        "surroundings",
        &[
            "ancestry",
            "facts",
            "cgroup",
            "process",
            "interface",
            "sockets",
            "netns",
            "config",
            "filter",
            "explain",
            "event",
        ],
    ),
    // What explain wants to know beside the attempt: looked up in the attempt's namespace.
    (
        "facts",
        &[
            "sockets",
            "netns",
            "netlink",
            "cgroup",
            "clock",
            "process",
            "interface",
            "explain",
            "event",
            "errno",
            "addr",
        ],
    ),
    (
        "sockets",
        &[
            "netns", "netlink", "nsfs", "process", "event", "errno", "addr",
        ],
    ),
    // Whose cgroup it is, is the question whether the process is still the same.
    ("cgroup", &["process", "event", "errno", "addr"]),
    ("ancestry", &["process", "event"]),
    ("process", &["event", "errno", "addr"]),
    ("interface", &["event", "errno", "addr"]),
    ("netns", &["nsfs", "event", "errno"]),
    ("manual", &["cli", "fields", "filter"]),
    ("options", &["config", "cli", "alike", "users"]),
    (
        "config",
        &[
            "cli", "fields", "filter", "command", "event", "errno", "addr", "users",
        ],
    ),
    (
        "cli",
        &["fields", "filter", "event", "errno", "addr", "alike"],
    ),
    ("fields", &["event", "errno", "alike"]),
    ("outcomes", &["filter", "event", "errno"]),
    ("filter", &["event", "errno", "addr", "alike"]),
    ("explain", &["event", "errno", "addr"]),
    ("clock", &["event"]),
    // Who it is then, beside what it gives up.
    ("confine", &["command"]),
    // Why there is no answer.
    ("netlink", &["event"]),
    ("event", &["errno", "addr"]),
];

/// Modules below every other: they use none.
const LOWEST: [&str; 9] = [
    "addr", "alike", "command", "errno", "manager", "memory", "nsfs", "ready", "users",
];

/// Crates that only some modules may name: the kernel's side must not leak into the rest.
const CONFINED: [(&str, &[&str]); 3] = [
    ("aya", &["source::ebpf"]),
    ("aya_log", &["source::ebpf"]),
    (
        "portwatch_common",
        &["source::ebpf", "source::decode", "source::offsets"],
    ),
];

/// Checks all of portwatch/src.
pub(super) fn check() -> Result<()> {
    let source = root().join("portwatch/src");
    let mut found = Vec::new();
    for file in rust_files(&source)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let relative = file.strip_prefix(&source).unwrap_or(&file);
        let violations = violations(&module(relative), &text);
        found.extend(
            violations
                .into_iter()
                .map(|text| format!("{}: {text}", file.display())),
        );
    }
    if !found.is_empty() {
        bail!("modules import upwards:\n{}", found.join("\n"));
    }
    Ok(())
}

fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut queue = vec![directory.to_owned()];
    while let Some(directory) = queue.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The module that a file below src holds: `source/ebpf.rs` holds source, ebpf.
fn module(relative: &Path) -> Vec<String> {
    relative
        .with_extension("")
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect()
}

/// What a module may use; none for a module that the table does not know.
fn allowed(module: &str) -> Option<&'static [&'static str]> {
    if LOWEST.contains(&module) {
        return Some(&[]);
    }
    LAYERS
        .iter()
        .find_map(|&(name, allowed)| (name == module).then_some(allowed))
}

/// What is wrong with one module's imports.
fn violations(module: &[String], text: &str) -> Vec<String> {
    let path = module.join("::");
    // lib.rs lists the modules.
    let Some(top) = module.first().filter(|_| path != "lib") else {
        return Vec::new();
    };
    let Some(allowed) = allowed(top) else {
        return vec![format!(
            "`{top}` is in no layer; add it to the table in xtask/src/lint/layers.rs"
        )];
    };
    let tokens = tokens(text);
    let mut found = Vec::new();
    for used in used(&tokens, module) {
        if used != *top && !allowed.contains(&used.as_str()) {
            found.push(format!(
                "`{path}` must not use `{used}`; it may use {allowed:?}"
            ));
        }
    }
    for (name, users) in CONFINED {
        let may = users
            .iter()
            .any(|user| path == *user || path.starts_with(&format!("{user}::")));
        if !may && tokens.windows(2).any(|pair| names_crate(pair, name)) {
            found.push(format!(
                "`{path}` must not name `{name}`; only {users:?} may"
            ));
        }
    }
    found
}

/// Whether `name::` or `use name` stands there.
fn names_crate(pair: &[String], name: &str) -> bool {
    (pair[0] == name && pair[1] == "::") || (pair[0] == "use" && pair[1] == name)
}

/// The modules at the crate's root that the tokens name: after `crate::`, after as many `super::`
/// as lead there, and in main.rs, which is a crate of its own, after `portwatch::`.
fn used(tokens: &[String], module: &[String]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut inline = Inline::default();
    let mut at = 0;
    while at < tokens.len() {
        inline.pass(tokens, at);
        let supers = tokens[at..]
            .chunks(2)
            .take_while(|pair| *pair == ["super", "::"])
            .count();
        let is_path = tokens.get(at + 1).is_some_and(|next| next == "::");
        let root = match tokens[at].as_str() {
            "crate" => is_path,
            "portwatch" => is_path && module == ["main"],
            _ => supers == module.len() + inline.ends.len(),
        };
        if root {
            used.extend(first_names(&tokens[at + 2 * supers.max(1)..]));
        }
        at += (2 * supers).max(1);
    }
    used.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    used
}

/// The modules that are open at a place in a file: `mod tests {` is one level more for `super`.
#[derive(Default)]
struct Inline {
    depth: u32,
    /// The depths at which the open modules end.
    ends: Vec<u32>,
}

impl Inline {
    fn pass(&mut self, tokens: &[String], at: usize) {
        match tokens[at].as_str() {
            "{" => {
                if at >= 2 && tokens[at - 2] == "mod" {
                    self.ends.push(self.depth);
                }
                self.depth += 1;
            }
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                self.ends.pop_if(|end| *end == self.depth);
            }
            _ => {}
        }
    }
}

/// The first names of a path, or of each path in a braced group.
fn first_names(tokens: &[String]) -> Vec<String> {
    if tokens.first().is_none_or(|token| token != "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0_u32;
    for pair in tokens.windows(2) {
        match pair[0].as_str() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        let opens = pair[0] == "{" || pair[0] == ",";
        if depth == 1 && opens && pair[1] != "}" {
            names.push(pair[1].clone());
        }
    }
    names
}

/// Words, `::`, and single marks; no comments. String literals only add words, which do not
/// stand before `::` there.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for line in text.lines() {
        let mut rest = line.split("//").next().unwrap_or(line);
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, later) = rest.split_at(length);
            if !first.is_whitespace() {
                tokens.push(token.to_owned());
            }
            rest = later;
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str) -> Vec<String> {
        violations(&module(Path::new(file)), text)
    }

    #[test]
    fn the_table_leads_downwards_only() {
        for (index, (name, allowed)) in LAYERS.iter().enumerate() {
            for used in *allowed {
                let below = LAYERS[index + 1..].iter().any(|(name, _)| name == used);
                assert!(below || LOWEST.contains(used), "{name} uses {used}");
            }
        }
    }

    #[test]
    fn an_import_downwards_is_fine() {
        assert!(check("output/text.rs", "use crate::{event::Event, explain};").is_empty());
        assert!(check("output.rs", "mod text; use crate::output::text;").is_empty());
        assert!(check("main.rs", "use portwatch::{cli::Cli, pipeline};").is_empty());
    }

    #[test]
    fn an_import_upwards_is_found_however_it_is_written() {
        for text in [
            "use crate::source::Source;",
            "use crate::{\n    event::{self, Event},\n    source::{ebpf, Source},\n};",
            "let x = crate::source::open();",
            "use super::super::source::Source;",
        ] {
            assert_eq!(check("output/text.rs", text).len(), 1, "{text}");
        }
        assert_eq!(check("event.rs", "use super::filter::Filter;").len(), 1);
        assert_eq!(check("main.rs", "use portwatch::filter::Filter;").len(), 1);
    }

    #[test]
    fn comments_and_own_children_are_no_imports() {
        assert!(
            check(
                "event.rs",
                "/// See crate::source::Source.\n// crate::filter"
            )
            .is_empty()
        );
        assert!(check("output/text.rs", "use super::Style; use self::a::b;").is_empty());
        let tests = "mod tests { use super::source; mod deep { use super::super::source; } }";
        assert!(check("event.rs", tests).is_empty());
        assert_eq!(
            check("event.rs", "mod tests { } use super::source;").len(),
            1
        );
        assert_eq!(
            check("event.rs", "mod tests { use super::super::source; }").len(),
            1
        );
    }

    #[test]
    fn an_unknown_module_must_be_added_to_the_table() {
        let found = check("utils.rs", "");
        assert!(found[0].contains("add it to the table"), "{found:?}");
    }

    #[test]
    fn aya_is_named_by_source_ebpf_only() {
        assert!(check("source/ebpf.rs", "use aya::Ebpf;").is_empty());
        assert!(check("source/ebpf/maps.rs", "use aya::maps::RingBuf;").is_empty());
        assert_eq!(check("source/btf.rs", "use aya::Btf;").len(), 1);
        assert_eq!(check("support.rs", "fn f(b: &aya::Btf) {}").len(), 1);
        assert!(check("support.rs", "let playa = 1;").is_empty());
    }
}
