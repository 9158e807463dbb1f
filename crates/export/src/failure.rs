//! What went wrong, as one line of text and an exit code.

use std::fmt;
use std::io;

/// Why the command fails.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Exit code 1: reading or writing failed, or the dump is not valid.
    Failed(String),
    /// Exit code 2: the arguments are wrong.
    Usage(String),
    /// Exit code 3: this many rows could not be exported; all others were.
    Rows(u64),
}

impl Failure {
    pub fn read(name: &str, error: &io::Error) -> Self {
        Self::Failed(format!("cannot read {name}: {error}"))
    }

    pub fn write(name: &str, error: &io::Error) -> Self {
        Self::Failed(format!("cannot write {name}: {error}"))
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Rows(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => write!(f, "{text}; --help shows how it is used"),
            Self::Failed(text) => f.write_str(text),
            Self::Rows(rows) => write!(f, "rows that were not exported: {rows}"),
        }
    }
}
