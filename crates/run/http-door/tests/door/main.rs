//! The door without its binary: real sockets, and what its rooms say of themselves.

mod harness;
mod trial;
mod waiting;
