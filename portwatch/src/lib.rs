//! portwatch: every bind() and connect() attempt on this machine, live.
//!
//! docs/ARCHITECTURE.md shows how the modules lie on one another; each imports only downwards.
//!
//! What Linux alone has is left out on macOS as whole modules, or has a small stand-in there
//! (`elsewhere.rs`): see docs/MACOS.md.
#![deny(unsafe_code)]

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("portwatch is for Linux and macOS");

pub mod alike;
pub mod ancestry;
#[cfg(target_os = "linux")]
pub mod cgroup;
pub mod cli;
pub mod clock;
#[cfg_attr(not(target_os = "linux"), path = "command/elsewhere.rs")]
pub mod command;
pub mod config;
#[cfg_attr(not(target_os = "linux"), path = "confine/elsewhere.rs")]
pub mod confine;
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
pub mod manager;
pub mod manual;
#[cfg_attr(not(target_os = "linux"), path = "memory/elsewhere.rs")]
pub mod memory;
#[cfg(target_os = "linux")]
pub mod netlink;
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
#[cfg_attr(not(target_os = "linux"), path = "sockets/elsewhere.rs")]
pub mod sockets;
pub mod source;
pub mod support;
pub mod surroundings;
pub mod top;
pub mod users;
pub mod why;
