//! What went wrong, as one line of text and an exit code.

use std::fmt;
use std::io;
use std::path::Path;

use password_verify_blocklist::Damaged;

/// Why the command fails.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Exit code 1: reading, building or writing failed.
    Failed(String),
    /// Exit code 2: the arguments are wrong.
    Usage(String),
    /// Exit code 3: a list has malformed lines.
    Malformed(String),
    /// Exit code 4: the file is not a filter, or a damaged one.
    Damaged(String),
}

impl Failure {
    pub fn read(name: &str, error: &io::Error) -> Self {
        Self::Failed(format!("cannot read {name}: {error}"))
    }

    pub fn write(name: &str, error: &io::Error) -> Self {
        Self::Failed(format!("cannot write {name}: {error}"))
    }

    pub fn damaged(file: &Path, damaged: Damaged) -> Self {
        Self::Damaged(format!("{}: {damaged}", file.display()))
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Malformed(_) => 3,
            Self::Damaged(_) => 4,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => write!(f, "{text}; --help shows how it is used"),
            Self::Failed(text) | Self::Malformed(text) | Self::Damaged(text) => f.write_str(text),
        }
    }
}
