//! portwatch: every bind() and connect() attempt on this machine, live.
//!
//! docs/ARCHITECTURE.md shows how the modules lie on one another; each imports only downwards.
#![deny(unsafe_code)]

pub mod ancestry;
#[cfg(target_os = "linux")]
pub mod cgroup;
pub mod cli;
pub mod clock;
#[cfg(target_os = "linux")]
pub mod command;
pub mod config;
pub mod doctor;
pub mod errno;
pub mod event;
pub mod explain;
#[cfg(target_os = "linux")]
pub mod facts;
pub mod fields;
pub mod filter;
#[cfg(target_os = "linux")]
pub mod interface;
#[cfg(target_os = "linux")]
pub mod manager;
pub mod manual;
#[cfg(target_os = "linux")]
pub mod memory;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
pub mod netns;
#[cfg(target_os = "linux")]
pub mod nsfs;
pub mod options;
pub mod outcomes;
pub mod output;
pub mod pipeline;
#[cfg(target_os = "linux")]
pub mod process;
pub mod ready;
pub mod replay;
pub mod sink;
#[cfg(target_os = "linux")]
pub mod sockets;
pub mod source;
pub mod support;
pub mod surroundings;
#[cfg(target_os = "linux")]
pub mod top;
pub mod users;
#[cfg(target_os = "linux")]
pub mod why;
