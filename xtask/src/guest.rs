//! What the programs that measure have in common (bin/bench.rs, bin/load.rs): calls to make, a tracer
//! that runs meanwhile, and what the kernel says of its process.

mod calls;
mod holders;
mod process;
mod tracer;

pub use calls::Calls;
pub use holders::{HELD, HOLD, Holders, hold};
pub use process::{Process, schedstat};
pub use tracer::{Legacy, Reader, Tracer};
