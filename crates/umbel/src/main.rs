//! The umbel binary.
fn main() {}
