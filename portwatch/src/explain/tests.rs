//! One row each of the tables by which causes are told.
