//! The FirnDB server.
fn main() {}
