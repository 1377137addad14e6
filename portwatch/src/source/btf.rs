//! The running kernel's type information: where a field of a kernel struct lies.
//!
//! A reader of our own, since all that is wanted is a few dozen member offsets: one pass over
//! the type section notes where each type begins and which structs are of interest, and
//! nothing is copied out. Format: Documentation/bpf/btf.rst, include/uapi/linux/btf.h.

use std::collections::HashMap;

/// Where the kernel shows its own BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

pub(super) const MAGIC: u16 = 0xeb9f;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
pub(super) const KIND_FWD: u32 = 7;
pub(super) const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
pub(super) const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Bytes of a type's fixed part: name offset, info, size or type.
const TYPE_HEADER: usize = 12;
/// Bytes of one member: name offset, type, offset.
const MEMBER: usize = 12;
/// How long chains of typedefs and qualifiers may be; the kernel's have less than ten.
const MAX_CHAIN: u32 = 32;
/// Structs that are looked through for one member, anonymous ones included; the kernel's largest
/// have some dozens. It bounds the depth too, and what types that contain themselves would cost.
const MAX_STRUCTS: u32 = 256;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    #[error("the type information does not begin with the BTF header of this machine's byte order")]
    Header,
    #[error("the type information ends in the middle of a type")]
    Truncated,
    #[error("the type information has a type of the unknown kind {0}")]
    Kind(u32),
}

/// A parsed BTF blob.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins in `types`; ids begin at 1
    starts: Vec<u32>,
    structs: HashMap<&'static str, u32>,
    functions: Vec<Function>,
}

/// A kernel function, or the type of a tracepoint's function, that a program can be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    /// Its place among the types
    pub id: u32,
    /// `BTF_KIND_FUNC`, or `BTF_KIND_TYPEDEF` for a tracepoint
    pub kind: u32,
    /// How many a function takes; 0 for a tracepoint
    pub parameters: u32,
}

/// A member's place in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// From the beginning of the struct
    pub bit_offset: u32,
    /// Width; 0 where the type has none that is known
    pub bits: u32,
}

impl Field {
    /// Byte offset of a field that is no bit field.
    pub const fn byte(self) -> Option<u32> {
        if self.bit_offset.is_multiple_of(8) {
            Some(self.bit_offset / 8)
        } else {
            None
        }
    }
}

#[derive(Clone, Copy)]
struct Type<'a> {
    name: u32,
    info: u32,
    size_or_id: u32,
    rest: &'a [u8],
}

impl Type<'_> {
    const fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    const fn count(self) -> u32 {
        self.info & 0xffff
    }

    /// Offsets of members carry the width of bit fields.
    const fn has_bit_fields(self) -> bool {
        self.info >> 31 == 1
    }

    /// Bytes of the variable part.
    fn rest_len(self) -> Result<usize, BtfError> {
        Ok(match self.kind() {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * self.count() as usize,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * self.count() as usize,
            // Forward declarations, typedefs, qualifiers, functions and floats have none.
            KIND_PTR | KIND_FWD..=KIND_FUNC | 16 | KIND_TYPE_TAG => 0,
            kind => return Err(BtfError::Kind(kind)),
        })
    }
}

impl<'a> Btf<'a> {
    /// Walks over `data` once and remembers the structs and functions that are named.
    pub fn parse(
        data: &'a [u8],
        structs: &[&'static str],
        functions: &[&'static str],
    ) -> Result<Self, BtfError> {
        let magic = data.get(..2).ok_or(BtfError::Header)?;
        if magic != MAGIC.to_ne_bytes() {
            return Err(BtfError::Header);
        }
        let header_len = u32_at(data, 4)? as usize;
        let section = |at: usize| -> Result<&'a [u8], BtfError> {
            let from = header_len.saturating_add(u32_at(data, at)? as usize);
            let to = from.saturating_add(u32_at(data, at + 4)? as usize);
            data.get(from..to).ok_or(BtfError::Truncated)
        };
        let mut btf = Self {
            types: section(8)?,
            strings: section(16)?,
            starts: Vec::new(),
            structs: HashMap::new(),
            functions: Vec::new(),
        };
        btf.index(structs, functions)?;
        btf.count_parameters();
        Ok(btf)
    }

    fn index(
        &mut self,
        structs: &[&'static str],
        functions: &[&'static str],
    ) -> Result<(), BtfError> {
        // The kernel's types take 22 bytes on average.
        self.starts.reserve(self.types.len() / 20);
        let mut at = 0;
        while at < self.types.len() {
            let start = u32::try_from(at).map_err(|_| BtfError::Truncated)?;
            self.starts.push(start);
            let found = self.type_at(at)?;
            let id = u32::try_from(self.starts.len()).map_err(|_| BtfError::Truncated)?;
            match found.kind() {
                KIND_STRUCT => {
                    if let Some(name) = self.among(found.name, structs) {
                        self.structs.entry(name).or_insert(id);
                    }
                }
                kind @ (KIND_FUNC | KIND_TYPEDEF) => {
                    if let Some(name) = self.among(found.name, functions) {
                        self.functions.push(Function {
                            name,
                            id,
                            kind,
                            parameters: 0,
                        });
                    }
                }
                _ => {}
            }
            at += TYPE_HEADER + found.rest.len();
        }
        Ok(())
    }

    /// A function's prototype may come after it.
    fn count_parameters(&mut self) {
        let mut functions = std::mem::take(&mut self.functions);
        for function in &mut functions {
            let prototype = self
                .by_id(function.id)
                .and_then(|found| self.by_id(found.size_or_id))
                .filter(|found| found.kind() == KIND_FUNC_PROTO);
            function.parameters = prototype.map_or(0, Type::count);
        }
        self.functions = functions;
    }

    fn type_at(&self, at: usize) -> Result<Type<'a>, BtfError> {
        let mut found = Type {
            name: u32_at(self.types, at)?,
            info: u32_at(self.types, at + 4)?,
            size_or_id: u32_at(self.types, at + 8)?,
            rest: &[],
        };
        let from = at + TYPE_HEADER;
        let to = from.saturating_add(found.rest_len()?);
        found.rest = self.types.get(from..to).ok_or(BtfError::Truncated)?;
        Ok(found)
    }

    fn by_id(&self, id: u32) -> Option<Type<'a>> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        self.type_at(*self.starts.get(index)? as usize).ok()
    }

    /// How many types there are, the nameless first not counted.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The functions that were asked for, as far as the kernel has them.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    fn among(&self, offset: u32, wanted: &[&'static str]) -> Option<&'static str> {
        wanted
            .iter()
            .find(|name| self.is_named(offset, name))
            .copied()
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        self.strings
            .get(offset as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The place of `sock.__sk_common.skc_num`, through anonymous members; `None` where the
    /// kernel has no such struct or field, or the struct was not among the wanted.
    pub fn field(&self, path: &str) -> Option<Field> {
        let mut names = path.split('.');
        let mut id = *self.structs.get(names.next()?)?;
        let mut field = Field {
            bit_offset: 0,
            bits: 0,
        };
        for name in names {
            let mut structs = MAX_STRUCTS;
            let (member, member_type) = self.member(id, name, &mut structs)?;
            field = Field {
                bit_offset: field.bit_offset.checked_add(member.bit_offset)?,
                bits: member.bits,
            };
            id = member_type;
        }
        Some(field)
    }

    /// A member of a struct or union by name, and its type.
    fn member(&self, id: u32, name: &str, structs: &mut u32) -> Option<(Field, u32)> {
        *structs = structs.checked_sub(1)?;
        let parent = self.by_id(self.resolve(id)?)?;
        if !matches!(parent.kind(), KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for member in parent.rest.chunks_exact(MEMBER) {
            let (name_offset, member_type) = (u32_at(member, 0).ok()?, u32_at(member, 4).ok()?);
            let field = self.member_field(parent, u32_at(member, 8).ok()?, member_type);
            if self.is_named(name_offset, name) {
                return Some((field, member_type));
            }
            if self.is_named(name_offset, "")
                && let Some((inner, inner_type)) = self.member(member_type, name, structs)
            {
                let bit_offset = field.bit_offset.checked_add(inner.bit_offset)?;
                return Some((
                    Field {
                        bit_offset,
                        bits: inner.bits,
                    },
                    inner_type,
                ));
            }
        }
        None
    }

    fn member_field(&self, parent: Type<'_>, offset: u32, member_type: u32) -> Field {
        let (bit_offset, width) = if parent.has_bit_fields() {
            (offset & 0x00ff_ffff, offset >> 24)
        } else {
            (offset, 0)
        };
        let bits = if width == 0 {
            self.size(member_type).unwrap_or(0).saturating_mul(8)
        } else {
            width
        };
        Field { bit_offset, bits }
    }

    /// Follows typedefs and qualifiers to the type behind them.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_CHAIN {
            let found = self.by_id(id)?;
            match found.kind() {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = found.size_or_id;
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Bytes of a type that has a size of its own.
    fn size(&self, id: u32) -> Option<u32> {
        let found = self.by_id(self.resolve(id)?)?;
        match found.kind() {
            KIND_PTR => u32::try_from(size_of::<usize>()).ok(),
            KIND_INT | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64 => Some(found.size_or_id),
            _ => None,
        }
    }
}

fn u32_at(data: &[u8], at: usize) -> Result<u32, BtfError> {
    data.get(at..)
        .and_then(|rest| rest.first_chunk())
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .ok_or(BtfError::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A BTF blob in the making.
    #[derive(Default)]
    struct Blob {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Blob {
        fn name(&mut self, name: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if name.is_empty() {
                return 0;
            }
            let at = u32::try_from(self.strings.len()).unwrap();
            self.strings.extend_from_slice(name.as_bytes());
            self.strings.push(0);
            at
        }

        fn words(&mut self, words: &[u32]) {
            for word in words {
                self.types.extend_from_slice(&word.to_ne_bytes());
            }
        }

        fn int(&mut self, bytes: u32) {
            let name = self.name("int");
            self.words(&[name, KIND_INT << 24, bytes, bytes * 8]);
        }

        /// Members as name, type, offset word.
        fn composite(
            &mut self,
            kind: u32,
            bit_fields: bool,
            name: &str,
            members: &[(&str, u32, u32)],
        ) {
            let name = self.name(name);
            let flag = u32::from(bit_fields) << 31;
            self.words(&[
                name,
                flag | kind << 24 | u32::try_from(members.len()).unwrap(),
                64,
            ]);
            for &(member, member_type, offset) in members {
                let member = self.name(member);
                self.words(&[member, member_type, offset]);
            }
        }

        fn bytes(&self) -> Vec<u8> {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&MAGIC.to_ne_bytes());
            bytes.extend_from_slice(&[1, 0]);
            let (types, strings) = (
                u32::try_from(self.types.len()).unwrap(),
                u32::try_from(self.strings.len()).unwrap(),
            );
            for word in [24, 0, types, types, strings] {
                bytes.extend_from_slice(&word.to_ne_bytes());
            }
            bytes.extend_from_slice(&self.types);
            bytes.extend_from_slice(&self.strings);
            bytes
        }
    }

    fn sample() -> Vec<u8> {
        let mut blob = Blob::default();
        blob.int(4); // 1
        blob.composite(KIND_UNION, false, "", &[("a", 1, 0), ("b", 1, 0)]); // 2
        blob.composite(
            KIND_STRUCT,
            true,
            "inner",
            &[
                ("whole", 1, 0),
                ("low", 1, 4 << 24 | 32),
                ("high", 1, 1 << 24 | 0x24),
            ],
        ); // 3
        blob.words(&[0, KIND_CONST << 24, 3]); // 4
        blob.composite(
            KIND_STRUCT,
            false,
            "outer",
            &[("first", 1, 0), ("", 2, 64), ("inner", 4, 128)],
        ); // 5
        blob.bytes()
    }

    #[test]
    fn members_are_found_through_anonymous_unions_and_qualifiers() {
        let data = sample();
        let btf = Btf::parse(&data, &["outer"], &[]).unwrap();
        assert_eq!(
            btf.field("outer.first"),
            Some(Field {
                bit_offset: 0,
                bits: 32
            })
        );
        assert_eq!(
            btf.field("outer.b"),
            Some(Field {
                bit_offset: 64,
                bits: 32
            })
        );
        assert_eq!(
            btf.field("outer.inner.whole"),
            Some(Field {
                bit_offset: 128,
                bits: 32
            })
        );
    }

    #[test]
    fn bit_fields_carry_their_width() {
        let data = sample();
        let btf = Btf::parse(&data, &["outer"], &[]).unwrap();
        assert_eq!(
            btf.field("outer.inner.low"),
            Some(Field {
                bit_offset: 160,
                bits: 4
            })
        );
        let high = btf.field("outer.inner.high").unwrap();
        assert_eq!(
            (high, high.byte()),
            (
                Field {
                    bit_offset: 164,
                    bits: 1
                },
                None
            )
        );
    }

    #[test]
    fn what_is_not_there_is_none() {
        let data = sample();
        let btf = Btf::parse(&data, &["outer"], &[]).unwrap();
        assert_eq!(btf.field("outer.nothing"), None);
        assert_eq!(btf.field("outer.first.deeper"), None);
        assert_eq!(btf.field("inner.whole"), None, "not among the wanted");
    }

    #[test]
    fn a_function_tells_its_parameters() {
        let mut blob = Blob::default();
        blob.int(4); // 1
        let name = blob.name("io_connect");
        blob.words(&[name, KIND_FUNC << 24, 3]); // 2, of a prototype that follows
        blob.words(&[0, KIND_FUNC_PROTO << 24 | 2, 1, 0, 1, 0, 1]); // 3
        let name = blob.name("btf_trace_x");
        blob.words(&[name, KIND_TYPEDEF << 24, 1]); // 4
        let data = blob.bytes();
        let btf = Btf::parse(&data, &[], &["io_connect", "btf_trace_x"]).unwrap();
        let parameters = btf.functions().iter().map(|function| function.parameters);
        assert_eq!(parameters.collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn a_blob_cut_short_anywhere_is_an_error_or_smaller() {
        let data = sample();
        for end in 0..data.len() {
            assert!(
                Btf::parse(&data[..end], &["outer"], &[]).is_err(),
                "cut at {end}"
            );
        }
    }

    #[test]
    fn types_that_refer_to_themselves_end() {
        let mut blob = Blob::default();
        blob.words(&[0, KIND_CONST << 24, 1]); // 1: const of itself
        blob.composite(KIND_STRUCT, false, "s", &[("", 2, 0), ("m", 1, 0)]); // 2: contains itself
        let data = blob.bytes();
        let btf = Btf::parse(&data, &["s"], &[]).unwrap();
        assert_eq!(
            btf.field("s.m"),
            Some(Field {
                bit_offset: 0,
                bits: 0
            })
        );
        assert_eq!(btf.field("s.x"), None);
    }

    /// Each level would double the work.
    #[test]
    fn types_that_contain_themselves_twice_end_too() {
        let mut blob = Blob::default();
        blob.composite(KIND_STRUCT, false, "s", &[("", 1, 0), ("", 1, 0)]);
        let data = blob.bytes();
        let btf = Btf::parse(&data, &["s"], &[]).unwrap();
        assert_eq!(btf.field("s.x"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_blob_makes_it_panic(mut data in proptest::collection::vec(proptest::num::u8::ANY, 24..400)) {
            data[..2].copy_from_slice(&MAGIC.to_ne_bytes());
            data[4..8].copy_from_slice(&24u32.to_ne_bytes());
            if let Ok(btf) = Btf::parse(&data, &["a"], &["b"]) {
                let _ = btf.field("a.b.c");
            }
        }
    }
}
