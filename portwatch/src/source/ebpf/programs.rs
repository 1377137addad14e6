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
    use std::collections::HashMap;

    use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, SymbolKind};

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

    /// Before Linux 6.8 the kernel refuses a loop that goes on without a jump (kernel/bpf/verifier.c,
    /// `push_insn`), as the compiler makes it at times, by placing the end of a loop before its head. It
    /// does so in large functions: those that portwatch-ebpf's filter has by themselves are left alone.
    #[test]
    fn no_loop_goes_on_without_a_jump() {
        let file = object::File::parse(load::PROGRAMS).unwrap();
        let mut functions = 0;
        for section in file.sections().filter(|it| it.kind() == SectionKind::Text) {
            let code = Code(section.data().unwrap());
            let begun = file.symbols().filter(|it| {
                it.section_index() == Some(section.index()) && it.kind() == SymbolKind::Text
            });
            for function in begun {
                let at = usize::try_from(function.address()).unwrap() / Code::INSTRUCTION;
                assert_eq!(
                    code.loops_without_jump(at),
                    Vec::<usize>::new(),
                    "{:?}",
                    function.name()
                );
                functions += 1;
            }
        }
        assert!(functions > 50, "{functions} functions");
    }

    #[test]
    fn such_a_loop_is_found() {
        const JUMP: u8 = 0x05;
        const JUMP_IF: u8 = 0x15;
        const ADD: u8 = 0x07;
        let instruction = |opcode: u8, offset: i16| {
            let [low, high] = offset.to_le_bytes();
            [opcode, 0, low, high, 0, 0, 0, 0]
        };
        // It is entered at 2, and comes there again from 1, which lies before.
        let placed_before = [(JUMP, 1), (ADD, 0), (JUMP_IF, -2), (Code::EXIT, 0)];
        let plain = [(ADD, 0), (JUMP_IF, -2), (Code::EXIT, 0)];
        let code = |instructions: &[(u8, i16)]| {
            let bytes = instructions.iter().map(|&(code, to)| instruction(code, to));
            bytes.collect::<Vec<_>>().concat()
        };
        assert_eq!(Code(&code(&placed_before)).loops_without_jump(0), [1]);
        assert!(Code(&code(&plain)).loops_without_jump(0).is_empty());
    }

    /// Instructions (Documentation/bpf/standardization/instruction-set.rst).
    struct Code<'a>(&'a [u8]);

    #[derive(PartialEq, Eq)]
    enum Visit {
        UnderWay,
        Over,
    }

    impl Code<'_> {
        const INSTRUCTION: usize = 8;
        const EXIT: u8 = 0x95;
        const CALL: u8 = 0x85;
        const JUMP_ALWAYS: u8 = 0x05;
        const LOAD_64: u8 = 0x18;
        const CLASS: u8 = 0x07;
        const CLASSES_OF_JUMPS: [u8; 2] = [0x05, 0x06];

        /// Where an instruction that is no jump is followed by one that has led there.
        fn loops_without_jump(&self, begin: usize) -> Vec<usize> {
            let mut visits = HashMap::from([(begin, Visit::UnderWay)]);
            let mut path = vec![(begin, self.next(begin).into_iter())];
            let mut found = Vec::new();
            while let Some((at, next)) = path.last_mut() {
                let at = *at;
                let Some(to) = next.next() else {
                    visits.insert(at, Visit::Over);
                    path.pop();
                    continue;
                };
                match visits.get(&to) {
                    None => {
                        visits.insert(to, Visit::UnderWay);
                        path.push((to, self.next(to).into_iter()));
                    }
                    Some(Visit::UnderWay) if !self.jumps(at) => found.push(at),
                    Some(_) => {}
                }
            }
            found
        }

        fn opcode(&self, at: usize) -> u8 {
            self.0[at * Self::INSTRUCTION]
        }

        fn jumps(&self, at: usize) -> bool {
            let opcode = self.opcode(at);
            Self::CLASSES_OF_JUMPS.contains(&(opcode & Self::CLASS))
                && ![Self::CALL, Self::EXIT].contains(&opcode)
        }

        /// What may follow, as the kernel looks at it: what stands behind comes first.
        fn next(&self, at: usize) -> Vec<usize> {
            match self.opcode(at) {
                Self::EXIT => vec![],
                Self::LOAD_64 => vec![at + 2],
                Self::JUMP_ALWAYS => vec![self.target(at)],
                _ if self.jumps(at) => vec![at + 1, self.target(at)],
                _ => vec![at + 1],
            }
        }

        fn target(&self, at: usize) -> usize {
            let offset = &self.0[at * Self::INSTRUCTION + 2..];
            let offset = i16::from_le_bytes(*offset.first_chunk().unwrap());
            (at + 1).checked_add_signed(offset.into()).unwrap()
        }
    }
}
