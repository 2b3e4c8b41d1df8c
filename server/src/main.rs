//! The binary `firn`: a command line over the server library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match firn_server::command::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firn: {error}");
            ExitCode::FAILURE
        }
    }
}
