//! What the eBPF programs and the loader share, and nothing else: the records that
//! cross the ring buffer, the rows of the iterator, what the programs remember, and the globals that are set before the programs load.
//!
//! Only integers and byte arrays cross this boundary, in the byte order of the
//! machine unless a field says otherwise. Both sides are built from this one crate,
//! in one build, so the layout needs no version.
#![cfg_attr(not(feature = "user"), no_std)]

pub mod bound;
pub mod event;
pub mod filter;
pub mod iterator;
pub mod kfunc;
pub mod settings;
