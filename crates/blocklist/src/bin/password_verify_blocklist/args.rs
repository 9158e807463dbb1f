//! Parses the arguments of the command.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::failure::Failure;

const HELP: &str = "\
password_verify_blocklist build --output FILE [--min-count N] [--lenient] LIST...
    makes the filter FILE from lists of breached passwords, of which each is one of
    --sha1 FILE     lines of SHA1:COUNT, as Have I Been Pwned has them, or of SHA1
    --words FILE    lines of passwords, in UTF-8
    and FILE may be - for standard input.
    --min-count N   leaves out what was seen less than N times (1); lines without COUNT stay
    --lenient       skips malformed lines

password_verify_blocklist check FILE [--stdin]
    verifies a filter and tells what is in it.
    --stdin         says for each line of standard input whether this password is listed

exit codes: 0 done, 1 reading or writing failed, 2 arguments, 3 malformed lines, 4 damaged filter";

const VERSION: &str = concat!("password_verify_blocklist ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Build(Build),
    Check {
        file: PathBuf,
        stdin: bool,
    },
    /// Print help or the version.
    Tell(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Build {
    pub output: PathBuf,
    /// The lists to read, at least one.
    pub lists: Vec<List>,
    pub min_count: u64,
    pub lenient: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct List {
    pub kind: Kind,
    /// `None`: standard input.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sha1,
    Words,
}

impl Command {
    /// # Errors
    /// [`Failure::Usage`] for arguments that are wrong or missing.
    pub fn parse(mut parser: Parser) -> Result<Self, Failure> {
        let first = parser.next().map_err(usage)?;
        match first {
            Some(Value(name)) if name == "build" => build(&mut parser),
            Some(Value(name)) if name == "check" => check(&mut parser),
            Some(Value(name)) => {
                Err(Failure::Usage(format!("no such command: {}", name.display())))
            }
            Some(Long("help") | Short('h')) => Ok(Self::Tell(HELP)),
            Some(Long("version") | Short('V')) => Ok(Self::Tell(VERSION)),
            Some(other) => Err(usage(other.unexpected())),
            None => Err(Failure::Usage("a command is missing: build or check".into())),
        }
    }
}

fn build(parser: &mut Parser) -> Result<Command, Failure> {
    let (mut output, mut lists, mut min_count, mut lenient) = (None, Vec::new(), 1, false);
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("output") | Short('o') => output = Some(file(parser)?),
            Long("sha1") => lists.push(list(Kind::Sha1, parser)?),
            Long("words") => lists.push(list(Kind::Words, parser)?),
            Long("min-count") => {
                min_count = parser.value().and_then(|n| n.parse()).map_err(usage)?
            }
            Long("lenient") => lenient = true,
            Long("help") | Short('h') => return Ok(Command::Tell(HELP)),
            other => return Err(usage(other.unexpected())),
        }
    }
    let output = output.ok_or_else(|| Failure::Usage("--output is missing".into()))?;
    match lists.iter().filter(|list| list.file.is_none()).count() {
        _ if lists.is_empty() => Err(Failure::Usage("a list is missing: --sha1 or --words".into())),
        0 | 1 => Ok(Command::Build(Build { output, lists, min_count, lenient })),
        _ => Err(Failure::Usage("standard input can be read only once".into())),
    }
}

fn check(parser: &mut Parser) -> Result<Command, Failure> {
    let (mut file, mut stdin) = (None, false);
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("stdin") => stdin = true,
            Long("help") | Short('h') => return Ok(Command::Tell(HELP)),
            Value(path) if file.is_none() => file = Some(PathBuf::from(path)),
            other => return Err(usage(other.unexpected())),
        }
    }
    let file = file.ok_or_else(|| Failure::Usage("the file to check is missing".into()))?;
    Ok(Command::Check { file, stdin })
}

fn file(parser: &mut Parser) -> Result<PathBuf, Failure> {
    parser.value().map(PathBuf::from).map_err(usage)
}

fn list(kind: Kind, parser: &mut Parser) -> Result<List, Failure> {
    let file = file(parser)?;
    Ok(List { kind, file: (file.as_os_str() != "-").then_some(file) })
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
    fn a_build() {
        let line = "build --output o --sha1 a --words=- --sha1 b --min-count 5 --lenient";
        let list = |kind, file: Option<&str>| List { kind, file: file.map(PathBuf::from) };
        let lists =
            vec![list(Kind::Sha1, Some("a")), list(Kind::Words, None), list(Kind::Sha1, Some("b"))];
        let expected = Build { output: "o".into(), lists, min_count: 5, lenient: true };
        assert_eq!(parse(line), Ok(Command::Build(expected)));
        let Ok(Command::Build(plain)) = parse("build --output o --words w") else { panic!() };
        assert_eq!((plain.min_count, plain.lenient), (1, false));
    }

    #[test]
    fn a_check() {
        let expected = |stdin| Ok(Command::Check { file: "f".into(), stdin });
        assert_eq!(parse("check f"), expected(false));
        assert_eq!(parse("check --stdin f"), expected(true));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("", "a command is missing: build or check"),
            ("make", "no such command: make"),
            ("--quick", "invalid option '--quick'"),
            ("build --words w", "--output is missing"),
            ("build --output o", "a list is missing: --sha1 or --words"),
            ("build --output o --words - --sha1 -", "standard input can be read only once"),
            ("build --output", "missing argument for option '--output'"),
            ("build w", "unexpected argument \"w\""),
            ("check", "the file to check is missing"),
            ("check f g", "unexpected argument \"g\""),
        ] {
            assert_eq!(parse(line), Err(Failure::Usage(said.into())), "{line}");
        }
        assert!(parse("build --output o --words w --min-count few").is_err());
    }
}
