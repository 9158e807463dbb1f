//! `password_verify_blocklist` builds a filter of breached passwords from lists, and checks one.
#![forbid(unsafe_code)]

mod args;
mod build;
mod check;
mod failure;
mod lines;
mod list;
mod progress;

use std::io::{self, Write};
use std::process::ExitCode;

use args::Command;
use failure::Failure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If even this cannot be written, nothing can be done.
            let _ = writeln!(io::stderr(), "password_verify_blocklist: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run() -> Result<(), Failure> {
    match Command::parse(lexopt::Parser::from_env())? {
        Command::Build(options) => build::run(&options),
        Command::Check { file, stdin } => check::run(&file, stdin),
        Command::Tell(text) => say(text),
    }
}

/// Writes a line to standard output, which may be a closed pipe.
fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(|error| Failure::write("standard output", &error))
}
