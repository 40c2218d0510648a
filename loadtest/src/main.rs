//! `tidegate-load`: see `lib.rs`.

fn main() {}
