//! `password_verify_export` writes the passwords in a dump as plain PHC strings, and the secrets in it in the clear.
#![forbid(unsafe_code)]

mod account;
mod args;
mod copy_text;
mod dump;
mod export;
mod failure;
mod field;
mod hashes;
mod input;
mod kept;
mod keyring;
mod not_exported;
mod output;
mod progress;
mod row;
mod secrets;
mod sql;
mod statement;
mod timestamp;
mod vault;

use std::io::{self, Write};
use std::process::ExitCode;

use args::Command;
use failure::Failure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.to_string());
            ExitCode::from(failure.code())
        }
    }
}

fn run() -> Result<(), Failure> {
    match Command::parse(lexopt::Parser::from_env())? {
        Command::Export(options) => export::run(&options),
        Command::Tell(text) => writeln!(io::stdout(), "{text}")
            .map_err(|error| Failure::write("standard output", &error)),
    }
}

/// Writes a line to standard error. If even that fails, nothing can be done.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "password_verify_export: {text}");
}
