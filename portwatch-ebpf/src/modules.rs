//! Kernel modules that are loaded while all watch: userspace then attaches what is for them.

use portwatch_common::{
    event::{KIND_MODULE, Notice},
    settings::loss,
};

use crate::{
    maps::{EVENTS, count_loss, present, setting},
    memory::{Memory as _, Probed},
};

/// The only one that is waited for, NUL and all.
const SCTP: [u8; 5] = *b"sctp\0";

/// A module was loaded, and has not begun yet.
#[inline(always)]
pub(crate) fn loaded(module: u64) {
    let name = present(setting!(offsets.module_name))
        .and_then(|name| Probed::read::<[u8; SCTP.len()]>(module, name));
    if name != Some(SCTP) {
        return;
    }
    let Some(mut notice) = EVENTS.reserve::<Notice>(0) else {
        count_loss(loss::RING_FULL);
        return;
    };
    notice.write(Notice {
        kind: KIND_MODULE,
        counter: 0,
    });
    notice.submit(0);
}
