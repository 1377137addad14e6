//! The kernel's type information, cut down to the functions that programs are attached to.
//!
//! aya wants to know a function's place among the kernel's types, and would parse all of them
//! (some 150,000, each into an allocation of its own) to find it. Our own reader has found the
//! places already; what aya gets is type information in which only those are filled.

use aya::{Btf, Endianness};

use crate::source::btf::{Function, KIND_FWD, MAGIC};

const VERSION: u8 = 1;
const HEADER: u32 = 24;
/// Bytes of every type here: those of a function, a typedef and a forward declaration are alike.
const TYPE: usize = 12;

/// Type information for `aya`, in which the functions have the places that the kernel gives them.
pub(super) fn places(functions: Vec<Function>) -> anyhow::Result<Btf> {
    Ok(Btf::parse(&cut_down(functions)?, Endianness::default())?)
}

fn cut_down(mut functions: Vec<Function>) -> anyhow::Result<Vec<u8>> {
    functions.sort_by_key(|function| function.id);
    let last = functions.last().map_or(0, |function| function.id);
    let mut types = Vec::with_capacity(last as usize * TYPE);
    let mut strings = vec![0];
    let mut next = 1;
    for function in functions {
        for _ in next..function.id {
            add(&mut types, 0, KIND_FWD);
        }
        next = function.id + 1;
        add(&mut types, u32::try_from(strings.len())?, function.kind);
        strings.extend_from_slice(function.name.as_bytes());
        strings.push(0);
    }
    blob(&types, &strings)
}

fn add(types: &mut Vec<u8>, name: u32, kind: u32) {
    for word in [name, kind << 24, 0] {
        types.extend_from_slice(&word.to_ne_bytes());
    }
}

fn blob(types: &[u8], strings: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (types_len, strings_len) = (u32::try_from(types.len())?, u32::try_from(strings.len())?);
    let mut blob = Vec::with_capacity(HEADER as usize + types.len() + strings.len());
    blob.extend_from_slice(&MAGIC.to_ne_bytes());
    blob.extend_from_slice(&[VERSION, 0]);
    for word in [HEADER, 0, types_len, types_len, strings_len] {
        blob.extend_from_slice(&word.to_ne_bytes());
    }
    blob.extend_from_slice(types);
    blob.extend_from_slice(strings);
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::btf;

    #[test]
    fn functions_keep_their_places() {
        const NAMES: &[&str] = &["inet_bind", "btf_trace_inet_sock_set_state"];
        let Ok(data) = std::fs::read(btf::VMLINUX) else {
            eprintln!("this kernel shows no BTF");
            return;
        };
        let kernel = btf::Btf::parse(&data, &[], NAMES).unwrap();
        assert_eq!(kernel.functions().len(), NAMES.len());
        let cut = cut_down(kernel.functions().to_vec()).unwrap();
        let cut = btf::Btf::parse(&cut, &[], NAMES).unwrap();
        let place = |function: &Function| (function.name, function.id, function.kind);
        let places_in = |btf: &btf::Btf<'_>| btf.functions().iter().map(place).collect::<Vec<_>>();
        assert_eq!(places_in(&cut), places_in(&kernel));
        assert!(places(kernel.functions().to_vec()).is_ok());
    }
}
