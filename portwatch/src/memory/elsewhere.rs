//! Elsewhere nothing is known that would be gained.

pub const fn settle() {}
