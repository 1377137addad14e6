//! The kernel modules that the tests load in the guest, with what those need.
//!
//! Debian writes modules.dep when a kernel is installed, not into the package; each module says
//! itself what it depends on, though.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::command::shown;

/// What the tests can modprobe: add a name here for more. Those a kernel lacks are left out.
const WANTED: [&str; 21] = [
    "dummy",
    "fuse",
    "ip6_udp_tunnel",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_redir",
    "nft_reject_inet",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "raw_diag",
    "sctp",
    "tcp_diag",
    "udp_diag",
    "udp_tunnel",
    "veth",
    "vrf",
    "vsock_loopback",
    "vxlan",
    "wireguard",
    "xfrm_user",
];

/// Modules by name, ready to be written below the guest's /lib/modules.
#[derive(Default)]
pub(super) struct Modules(BTreeMap<String, Module>);

struct Module {
    binary: Vec<u8>,
    depends: Vec<String>,
    aliases: Vec<String>,
}

impl Modules {
    /// Reads the wanted modules, and what they depend on, from a kernel's module directory.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let files = files_below(directory)?;
        let mut modules = Self::default();
        let mut queue: Vec<String> = WANTED.map(str::to_owned).into();
        while let Some(name) = queue.pop() {
            // What has no file is built in, or not part of this kernel.
            let Some(file) = files.get(&name) else {
                continue;
            };
            if modules.0.contains_key(&name) {
                continue;
            }
            let module = Module::parse(unpacked(file)?);
            queue.extend(module.depends.iter().cloned());
            modules.0.insert(name, module);
        }
        Ok(modules)
    }

    /// Writes the modules, modules.dep and modules.alias into a directory.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let context = || format!("cannot write modules to {}", directory.display());
        fs::create_dir_all(directory).with_context(context)?;
        for (name, module) in &self.0 {
            let file = directory.join(format!("{name}.ko"));
            fs::write(file, &module.binary).with_context(context)?;
        }
        fs::write(directory.join("modules.dep"), self.dependencies()).with_context(context)?;
        fs::write(directory.join("modules.alias"), self.aliases()).with_context(context)
    }

    /// The text of modules.dep: each module's file, and all the files to load before it.
    fn dependencies(&self) -> String {
        let line = |name: &String| {
            let mut needed = Vec::new();
            self.collect(name, &mut needed);
            // modprobe loads the list from its end.
            let files = needed.iter().rev().map(|name| format!(" {name}.ko"));
            format!("{name}.ko:{}\n", files.collect::<String>())
        };
        self.0.keys().map(line).collect()
    }

    /// Collects what a module needs, each after everything that it needs itself.
    fn collect<'a>(&'a self, name: &str, needed: &mut Vec<&'a str>) {
        let depends = self.0.get(name).map_or(&[][..], |module| &module.depends);
        for dependency in depends {
            if self.0.contains_key(dependency) && !needed.contains(&dependency.as_str()) {
                self.collect(dependency, needed);
                needed.push(dependency);
            }
        }
    }

    fn aliases(&self) -> String {
        let lines = self.0.iter().flat_map(|(name, module)| {
            let alias = move |alias: &String| format!("alias {alias} {name}\n");
            module.aliases.iter().map(alias)
        });
        lines.collect()
    }
}

impl Module {
    /// Reads the NUL-separated `key=value` strings of the module's .modinfo section.
    fn parse(binary: Vec<u8>) -> Self {
        let values = |key: &str| -> Vec<String> {
            binary
                .split(|&byte| byte == 0)
                .filter_map(|string| string.strip_prefix(key.as_bytes()))
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .collect()
        };
        let depends = values("depends=")
            .iter()
            .flat_map(|list| list.split(','))
            .filter(|name| !name.is_empty())
            .map(canonical)
            .collect();
        let aliases = values("alias=");
        Self {
            binary,
            depends,
            aliases,
        }
    }
}

/// Module names may be spelled with either mark.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// All module files, by the module's name.
fn files_below(directory: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut queue = vec![directory.to_owned()];
    while let Some(directory) = queue.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                queue.push(path);
            } else if let Some((module, "" | ".xz")) = name.split_once(".ko") {
                files.insert(canonical(module), path);
            }
        }
    }
    Ok(files)
}

fn unpacked(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "ko") {
        return fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let mut unxz = Command::new("busybox");
    unxz.args(["unxz", "-c"]).arg(file);
    let output = unxz
        .output()
        .with_context(|| format!("`{}` cannot be started", shown(&unxz)))?;
    ensure!(output.status.success(), "`{}` failed", shown(&unxz));
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(list: &[(&str, &str)]) -> Modules {
        let parse = |&(name, info): &(&str, &str)| {
            (name.to_owned(), Module::parse(info.as_bytes().to_vec()))
        };
        Modules(list.iter().map(parse).collect())
    }

    #[test]
    fn each_dependency_is_listed_once_after_what_needs_it() {
        let modules = modules(&[
            ("a", "x\0depends=b,c-d\0"),
            ("b", "depends=e\0"),
            ("c_d", "depends=e,built_in\0"),
            ("e", "depends=\0"),
        ]);
        assert_eq!(
            modules.dependencies(),
            "a.ko: c_d.ko b.ko e.ko\nb.ko: e.ko\nc_d.ko: e.ko\ne.ko:\n"
        );
    }

    #[test]
    fn aliases_come_from_the_module() {
        let modules = modules(&[("sctp", "alias=net-pf-2-proto-132\0depends=\0")]);
        assert_eq!(modules.aliases(), "alias net-pf-2-proto-132 sctp\n");
    }
}
