//! Parses the arguments of the command.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::failure::Failure;

const HELP: &str = "\
password_verify_export [--keyring FILE] [--output FILE [--format tsv|jsonl]]
                       [--secrets FILE [--vault-passwords FILE]] DUMP
    writes the user ids and the password hashes, as PHC strings, of a plain-text dump of pg_dump,
    and if asked, the secrets that are kept for users.
    DUMP may be - for standard input; a dump of another format is read with
        pg_restore -f - FILE | password_verify_export --output FILE -
    --output FILE   a new file, readable by its owner only; - is standard output
    --keyring FILE  the keys that all is sealed with, as in password_verify.keyring_file
    --format        tsv: the user id, with the escapes of COPY, a tab, the PHC string (default)
                    jsonl: an object a line, with the state of the account too
    --secrets FILE  a new file, too: a JSON object a line, with the secret itself, in the clear
    --vault-passwords FILE
                    opens vaults: a line for each user, the user id, a tab and the vault password,
                    with the escapes of COPY. A file of the owner's alone; - is standard input

exit codes: 0 done, 1 reading or writing failed, 2 arguments, 3 some rows could not be exported";

const VERSION: &str = concat!("password_verify_export ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Export(Options),
    Tell(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub dump: Stream,
    /// Where the hashes go.
    pub output: Option<Stream>,
    /// Where the secrets go; one of the two is there.
    pub secrets: Option<Stream>,
    pub vault_passwords: Option<Stream>,
    pub keyring: Option<PathBuf>,
    pub format: Format,
}

/// A file, or what a hyphen stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Stream {
    File(PathBuf),
    /// Standard input or standard output.
    Standard,
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
        let (mut secrets, mut vault_passwords) = (None, None);
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                Long("output") | Short('o') => output = Some(stream(parser.value())?),
                Long("secrets") => secrets = Some(stream(parser.value())?),
                Long("vault-passwords") => vault_passwords = Some(stream(parser.value())?),
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
                Value(path) if dump.is_none() => dump = Some(stream(Ok(path))?),
                other => return Err(usage(other.unexpected())),
            }
        }
        let wrong = |what: &str| Err(Failure::Usage(what.into()));
        let Some(dump) = dump else { return wrong("the dump is missing") };
        match (&output, &secrets) {
            (None, None) => return wrong("--output or --secrets is missing"),
            (Some(Stream::Standard), Some(Stream::Standard)) => {
                return wrong("standard output is for one of --output and --secrets");
            }
            _ => {}
        }
        match &vault_passwords {
            Some(_) if secrets.is_none() => return wrong("--vault-passwords is for --secrets"),
            Some(Stream::Standard) if dump == Stream::Standard => {
                return wrong("standard input is for one of the dump and --vault-passwords");
            }
            _ => {}
        }
        Ok(Self::Export(Options { dump, output, secrets, vault_passwords, keyring, format }))
    }
}

fn stream(argument: Result<OsString, lexopt::Error>) -> Result<Stream, Failure> {
    let argument = argument.map_err(usage)?;
    Ok(if argument == "-" { Stream::Standard } else { Stream::File(argument.into()) })
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

    fn file(name: &str) -> Stream {
        Stream::File(name.into())
    }

    #[test]
    fn an_export() {
        let options = Options {
            dump: file("dump"),
            output: Some(file("out")),
            secrets: None,
            vault_passwords: None,
            keyring: None,
            format: Format::Tsv,
        };
        assert_eq!(parse("-o out dump"), Ok(Command::Export(options)));
        let options = Options {
            dump: Stream::Standard,
            output: Some(Stream::Standard),
            secrets: None,
            vault_passwords: None,
            keyring: Some("keys".into()),
            format: Format::JsonLines,
        };
        let line = "--keyring=keys --format jsonl - --output -";
        assert_eq!(parse(line), Ok(Command::Export(options)));
    }

    #[test]
    fn an_export_of_secrets() {
        for (line, output, secrets, passwords) in [
            ("--secrets s dump", None, "s", None),
            ("--secrets - --output o dump", Some("o"), "-", None),
            ("--secrets s --vault-passwords p dump", None, "s", Some("p")),
            ("--vault-passwords - --secrets s dump", None, "s", Some("-")),
        ] {
            let stream = |name| if name == "-" { Stream::Standard } else { file(name) };
            let options = Options {
                dump: file("dump"),
                output: output.map(stream),
                secrets: Some(stream(secrets)),
                vault_passwords: passwords.map(stream),
                keyring: None,
                format: Format::Tsv,
            };
            assert_eq!(parse(line), Ok(Command::Export(options)), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("", "the dump is missing"),
            ("dump", "--output or --secrets is missing"),
            ("--output o", "the dump is missing"),
            ("--output o --format csv d", "a format is tsv or jsonl"),
            ("--output o d e", "unexpected argument \"e\""),
            ("--output o --quick d", "invalid option '--quick'"),
            ("-o - --secrets - d", "standard output is for one of --output and --secrets"),
            ("-o o --vault-passwords p d", "--vault-passwords is for --secrets"),
            (
                "--secrets s --vault-passwords - -",
                "standard input is for one of the dump and --vault-passwords",
            ),
            ("--output", "missing argument for option '--output'"),
        ] {
            assert_eq!(parse(line), Err(Failure::Usage(said.into())), "{line}");
        }
    }
}
