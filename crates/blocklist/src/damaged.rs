//! Why a file is refused.

use std::error::Error;
use std::fmt;

/// Why bytes are not a filter, or not the one that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damaged {
    /// The file does not begin with the magic number.
    NotAFilter,
    /// The format has this version, not 1.
    Version(u32),
    /// The file is longer or shorter than its header and its directory say.
    Length,
    /// The header or the directory has numbers that no filter has.
    Parameters,
    /// The bytes are not those that were written.
    Checksum,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFilter => f.write_str("not a file of password_verify_blocklist"),
            Self::Version(version) => {
                write!(f, "of format version {version}, not 1: build it anew")
            }
            Self::Length => f.write_str("damaged: its length is not what it says"),
            Self::Parameters => f.write_str("damaged: impossible parameters"),
            Self::Checksum => f.write_str("damaged: its checksum is wrong"),
        }
    }
}

impl Error for Damaged {}
