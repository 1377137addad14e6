//! macOS: the question is refused before anything is tried.

use anyhow::{Result, bail};

use super::{Order, Tried};

impl Order {
    pub fn carry_out(&self) -> Result<Tried> {
        self.perform()
    }

    pub fn perform(&self) -> Result<Tried> {
        bail!("only Linux can be tried")
    }
}
