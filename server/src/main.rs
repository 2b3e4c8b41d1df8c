//! The binary `firn`: a command line over the server library.

use std::process::ExitCode;

/// A request makes many small allocations on many threads, which the allocator of libc serves slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match firn_server::command::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("firn: {error}");
            ExitCode::FAILURE
        }
    }
}
