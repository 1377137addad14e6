//! The kernel's functions in the programs: the calls that the object has by number become calls of the
//! running kernel's functions.

use portwatch_common::kfunc;

use crate::source::btf::Function;

/// Bytes of an instruction (Documentation/bpf/standardization/instruction-set.rst).
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
/// `BPF_ALU64 | BPF_MOV | BPF_K`: `r0 = 0`, which is what such a call is without its function.
const CLEAR: [u8; INSTRUCTION] = [0xb7, 0, 0, 0, 0, 0, 0, 0];
/// `BPF_PSEUDO_KFUNC_CALL` in the place of the source register: the number is a type's of the kernel.
const PSEUDO_KFUNC: u8 = 2 << 4;

/// The object with its calls pointing to those functions; without all of them, to none.
pub(super) fn resolved(object: &[u8], functions: &[Function]) -> Box<[u64]> {
    let ids = ids(functions);
    // aya reads it as a struct with an alignment of eight.
    let mut words = vec![0; object.len().div_ceil(INSTRUCTION)].into_boxed_slice();
    for (word, bytes) in words.iter_mut().zip(object.chunks(INSTRUCTION)) {
        let mut instruction = [0; INSTRUCTION];
        instruction[..bytes.len()].copy_from_slice(bytes);
        if let Some(index) = called(instruction) {
            instruction = ids.map_or(CLEAR, |ids| call(ids[index]));
        }
        *word = u64::from_ne_bytes(instruction);
    }
    words
}

/// The places of all of them among the kernel's types.
fn ids(functions: &[Function]) -> Option<[u32; kfunc::NAMES.len()]> {
    let mut ids = [0; kfunc::NAMES.len()];
    for (id, name) in ids.iter_mut().zip(kfunc::NAMES) {
        *id = functions.iter().find(|function| function.name == name)?.id;
    }
    Some(ids)
}

/// The function that an instruction calls, by its place in [`kfunc::NAMES`].
fn called(instruction: [u8; INSTRUCTION]) -> Option<usize> {
    let [CALL, 0, 0, 0, number @ ..] = instruction else {
        return None;
    };
    kfunc::index(u32::from_ne_bytes(number))
}

fn call(id: u32) -> [u8; INSTRUCTION] {
    let [a, b, c, d] = id.to_ne_bytes();
    [CALL, PSEUDO_KFUNC, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes as _;

    use super::*;
    use crate::source::btf::KIND_FUNC;

    fn function(index: usize) -> Function {
        Function {
            name: kfunc::NAMES[index],
            id: 4711 + u32::try_from(index).unwrap(),
            kind: KIND_FUNC,
            parameters: 0,
        }
    }

    fn numbered(number: u32) -> [u8; INSTRUCTION] {
        let [a, b, c, d] = number.to_ne_bytes();
        [CALL, 0, 0, 0, a, b, c, d]
    }

    /// A helper's call, all of ours, and bytes at the end that are no instruction.
    fn object() -> Vec<u8> {
        let helper = numbered(14);
        let ours = [
            kfunc::PREEMPT_DISABLE,
            kfunc::IRQ_SAVE,
            kfunc::PREEMPT_ENABLE,
            kfunc::IRQ_RESTORE,
        ];
        let calls = ours.into_iter().flat_map(numbered);
        helper
            .into_iter()
            .chain(calls)
            .chain([CALL, 0, 0])
            .collect()
    }

    #[test]
    fn each_number_becomes_the_kernels_function() {
        let functions = [0, 1, 2, 3].map(function);
        let resolved = resolved(&object(), &functions);
        let expected: Vec<u8> = numbered(14)
            .into_iter()
            .chain([4711, 4713, 4712, 4714].into_iter().flat_map(call))
            .chain([CALL, 0, 0])
            .collect();
        assert_eq!(resolved.as_bytes()[..expected.len()], expected);
    }

    #[test]
    fn without_one_of_them_none_is_called() {
        let functions = [0, 1, 2].map(function);
        let resolved = resolved(&object(), &functions);
        let cleared = resolved.as_bytes().chunks(INSTRUCTION);
        assert_eq!(cleared.filter(|chunk| *chunk == CLEAR).count(), 4);
    }
}
