//! The kernel's type information, cut down to the functions that programs are attached to.
//!
//! aya wants to know a function's place among the kernel's types, and would parse all of them
//! (some 150,000, each into an allocation of its own) to find it. Our own reader has found the
//! places already; what aya gets is type information in which only those are filled.

use aya::{Btf, Endianness};

use crate::source::btf::{self, KIND_FWD, MAGIC};

const VERSION: u8 = 1;
const HEADER: u32 = 24;
/// Bytes of every type here: those of a function, a typedef and a forward declaration are alike.
const TYPE: usize = 12;

/// Type information for `aya`, in which the functions have the places that the kernel gives them.
pub(super) fn places(kernel: &btf::Btf<'_>) -> anyhow::Result<Btf> {
    let last = kernel
        .functions()
        .iter()
        .map(|function| function.id)
        .max()
        .unwrap_or(0);
    let mut types = Vec::with_capacity(last as usize * TYPE);
    let mut strings = vec![0];
    let mut functions = kernel.functions().to_vec();
    functions.sort_by_key(|function| function.id);
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
    Ok(Btf::parse(&blob(&types, &strings)?, Endianness::default())?)
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
    use aya_obj::btf::BtfKind;

    use super::*;

    #[test]
    fn functions_keep_their_places() {
        let Ok(data) = std::fs::read(btf::VMLINUX) else {
            eprintln!("this kernel shows no BTF");
            return;
        };
        let kernel =
            btf::Btf::parse(&data, &[], &["inet_bind", "btf_trace_inet_sock_set_state"]).unwrap();
        assert_eq!(kernel.functions().len(), 2);
        let cut = places(&kernel).unwrap();
        for function in kernel.functions() {
            let kind = if function.kind == btf::KIND_FUNC {
                BtfKind::Func
            } else {
                BtfKind::Typedef
            };
            assert_eq!(
                cut.id_by_type_name_kind(function.name, kind).unwrap(),
                function.id
            );
        }
    }
}
