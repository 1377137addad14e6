//! Task storage in the programs, and what takes its place where the kernel has none for them.

/// Where the object says that a map is task storage: build.rs has looked.
#[expect(clippy::unreadable_literal, reason = "a program wrote it")]
const PLACES: &[usize] = include!(concat!(env!("OUT_DIR"), "/task_storage_places.rs"));

/// `BPF_MAP_TYPE_TASK_STORAGE`
#[cfg(test)]
const TASK_STORAGE: u32 = 29;
/// `BPF_MAP_TYPE_SK_STORAGE`, of Linux 5.2, is described as task storage is: a map that no program uses.
const SK_STORAGE: u32 = 24;

/// Describes those maps as some that older kernels take, too.
pub(super) fn replace(object: &mut [u8]) {
    for &place in PLACES {
        object[place..place + size_of::<u32>()].copy_from_slice(&SK_STORAGE.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ebpf::load::PROGRAMS;

    #[test]
    fn each_place_in_the_object_has_the_type_of_a_map() {
        let mut object = PROGRAMS.to_vec();
        let at = |object: &[u8], place: usize| {
            u32::from_ne_bytes(*object[place..].first_chunk().unwrap())
        };
        assert!(
            PLACES
                .iter()
                .all(|&place| at(&object, place) == TASK_STORAGE)
        );
        replace(&mut object);
        assert!(PLACES.iter().all(|&place| at(&object, place) == SK_STORAGE));
        let changed = object
            .iter()
            .zip(PROGRAMS)
            .filter(|(now, then)| now != then);
        assert_eq!(changed.count(), PLACES.len());
    }
}
