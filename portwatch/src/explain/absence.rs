//! The sentences and codes that tell an absence, each with what must have been looked up to tell it.
//!
//! They are listed once, and every cause can be held against the list: only a complete and permitted
//! look-up tells that something is not there.

use crate::event::{Cause, Code, Confidence};

/// Something that is told not to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// A socket that has the port
    Holder,
    /// A process that has the port's socket open
    Process,
    /// An address, in the network namespace
    Address,
}

pub(super) const NO_HOLDER: &str = "no process has a socket on it now";
pub(super) const NO_PROCESS: &str = "that no process has open";
pub(super) const KERNEL: &str = "the kernel itself";
pub(super) const IN_FLIGHT: &str = "a socket in flight between two processes";
pub(super) const NOBODY: &str = "nobody has it";
pub(super) const NO_LISTENER: &str = "nobody listens at";
pub(super) const NO_ADDRESS: &str = "not an address of this network namespace";
pub(super) const NO_SOURCE: &str = "which is no address of its network namespace any more";

/// Parts of sentences that tell an absence.
const SENTENCES: [(&str, Absence); 8] = [
    (NO_HOLDER, Absence::Holder),
    (NOBODY, Absence::Holder),
    (NO_LISTENER, Absence::Holder),
    (NO_PROCESS, Absence::Process),
    (KERNEL, Absence::Process),
    (IN_FLIGHT, Absence::Process),
    (NO_ADDRESS, Absence::Address),
    (NO_SOURCE, Absence::Address),
];

/// Codes that tell one. What the kernel alone has told, by its error, is derived and not checked.
const CODES: [(Code, Absence); 5] = [
    (Code::PortInUseHolderGone, Absence::Holder),
    (Code::PortInUseKernel, Absence::Process),
    (Code::AddressInOtherNamespace, Absence::Address),
    (Code::Ipv6Disabled, Absence::Address),
    (Code::SourceAddressGone, Absence::Address),
];

impl Absence {
    /// All that a cause tells.
    pub fn told(cause: &Cause) -> Vec<Self> {
        let words = cause
            .evidence
            .iter()
            .chain(&cause.next)
            .chain([&cause.text]);
        let checked = cause.confidence == Confidence::Checked;
        let by_code = CODES
            .into_iter()
            .filter(|(code, _)| checked && *code == cause.code)
            .map(|(_, absence)| absence);
        words
            .flat_map(|text| Self::in_words(text))
            .chain(by_code)
            .collect()
    }

    /// All that a text tells.
    pub fn in_words(text: &str) -> impl Iterator<Item = Self> {
        let told = SENTENCES
            .into_iter()
            .filter(|(words, _)| text.contains(words));
        told.map(|(_, absence)| absence)
    }
}
