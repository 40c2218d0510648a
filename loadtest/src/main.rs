//! `tidegate-load`: see `lib.rs`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Thousands of players ask for memory of many sizes by turns, for moments. The platform's allocator keeps half as much
/// again of it as holes.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    tidegate_load::command::main()
}
