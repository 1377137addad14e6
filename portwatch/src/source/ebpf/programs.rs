//! Loading programs to see what each takes.

use std::time::Instant;

use aya::{Btf, Ebpf};

use super::{
    hooks::{self, Hook},
    load::{self, Loader},
};
use crate::source::{
    Kind, Request,
    cost::{Cost, Program},
};

/// Loads every program of a source, whatever is asked for, and attaches none.
pub fn measure(loader: &mut Loader, kind: Kind) -> Vec<Program> {
    let hooks: Vec<&Hook> = hooks::every(kind).collect();
    let mut opened = loader.open(kind != Kind::Tracepoint, kind, &Request::default(), &hooks);
    let mut measured: Vec<Program> = Vec::new();
    for hook in hooks {
        let place = hook.attach.to_string();
        if let Some(same) = measured.iter_mut().find(|it| it.name == hook.program) {
            same.hooks.push(place);
            continue;
        }
        let cost = match &mut opened {
            Ok((object, kernel)) => cost(object, hook, kernel.functions.as_ref().ok())
                .map_err(|error| format!("{error:#}")),
            Err(error) => Err(format!("{error:#}")),
        };
        measured.push(Program {
            source: kind,
            name: hook.program,
            hooks: vec![place],
            cost,
        });
    }
    measured
}

fn cost(object: &mut Ebpf, hook: &Hook, functions: Option<&Btf>) -> anyhow::Result<Cost> {
    let program = load::program_of(object, hook)?;
    let start = Instant::now();
    load::load_program(program, hook.attach, functions)?;
    let load_time = start.elapsed();
    let info = program.info()?;
    Ok(Cost {
        verified: info.verified_instruction_count(),
        translated: info.size_translated(),
        jitted: Some(info.size_jitted()).filter(|&size| size > 0),
        load_time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is made by `cargo xtask tables`.
    #[test]
    fn every_program_has_its_row_in_the_documents() {
        let document = include_str!("../../../../docs/KERNELS.md");
        for kind in Kind::ALL {
            for hook in hooks::every(kind) {
                let row = format!("| `{}` | `{}` |", kind.name(), hook.program);
                assert!(document.contains(&row), "{row}");
            }
        }
    }
}
