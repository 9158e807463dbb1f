//! Parses the arguments of the command.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::failure::Failure;

const HELP: &str = "\
password_verify_export --output FILE [--keyring FILE] [--format tsv|jsonl] DUMP
    writes the user ids and the password hashes, as PHC strings, of a plain-text dump of pg_dump.
    DUMP may be - for standard input; a dump of another format is read with
        pg_restore -f - FILE | password_verify_export --output FILE -
    --output FILE   a new file, readable by its owner only; - is standard output
    --keyring FILE  the keys that hashes are sealed with, as in password_verify.keyring_file
    --format        tsv: the user id, with the escapes of COPY, a tab, the PHC string (default)
                    jsonl: an object a line, with the state of the account too

exit codes: 0 done, 1 reading or writing failed, 2 arguments, 3 some rows could not be exported";

const VERSION: &str = concat!("password_verify_export ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Export(Options),
    Tell(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `None`: standard input.
    pub dump: Option<PathBuf>,
    /// `None`: standard output.
    pub output: Option<PathBuf>,
    pub keyring: Option<PathBuf>,
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Tsv,
    JsonLines,
}

impl Command {
    /// # Errors
    /// [`Failure::Usage`] for arguments that are wrong or missing.
    pub fn parse(mut parser: Parser) -> Result<Self, Failure> {
        let (mut dump, mut output, mut keyring, mut format) = (None, None, None, Format::Tsv);
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                Long("output") | Short('o') => output = Some(parser.value().map_err(usage)?),
                Long("keyring") => keyring = Some(parser.value().map_err(usage)?.into()),
                Long("format") => {
                    format = match parser.value().and_then(|name| name.string()).map_err(usage)? {
                        name if name == "tsv" => Format::Tsv,
                        name if name == "jsonl" => Format::JsonLines,
                        _ => return Err(Failure::Usage("a format is tsv or jsonl".into())),
                    }
                }
                Long("help") | Short('h') => return Ok(Self::Tell(HELP)),
                Long("version") | Short('V') => return Ok(Self::Tell(VERSION)),
                Value(path) if dump.is_none() => dump = Some(path),
                other => return Err(usage(other.unexpected())),
            }
        }
        let missing = |what: &str| Failure::Usage(format!("{what} is missing"));
        let dump = file(dump.ok_or_else(|| missing("the dump"))?);
        let output = file(output.ok_or_else(|| missing("--output"))?);
        Ok(Self::Export(Options { dump, output, keyring, format }))
    }
}

/// `None` if the argument is a hyphen.
fn file(argument: OsString) -> Option<PathBuf> {
    (argument != "-").then(|| argument.into())
}

fn usage(error: lexopt::Error) -> Failure {
    Failure::Usage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Failure> {
        Command::parse(Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn an_export() {
        let options = |dump: &str, output: &str, keyring: Option<&str>, format| {
            let (dump, output) = (file(dump.into()), file(output.into()));
            Ok(Command::Export(Options { dump, output, keyring: keyring.map(Into::into), format }))
        };
        assert_eq!(parse("-o out dump"), options("dump", "out", None, Format::Tsv));
        let line = "--keyring=keys --format jsonl - --output -";
        assert_eq!(parse(line), options("-", "-", Some("keys"), Format::JsonLines));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("", "the dump is missing"),
            ("dump", "--output is missing"),
            ("--output o", "the dump is missing"),
            ("--output o --format csv d", "a format is tsv or jsonl"),
            ("--output o d e", "unexpected argument \"e\""),
            ("--output o --quick d", "invalid option '--quick'"),
            ("--output", "missing argument for option '--output'"),
        ] {
            assert_eq!(parse(line), Err(Failure::Usage(said.into())), "{line}");
        }
    }
}
