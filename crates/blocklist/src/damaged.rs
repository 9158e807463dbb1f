//! Why a file is refused.

use std::error::Error;
use std::fmt;

/// Why bytes are no filter, or no longer the one that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damaged {
    /// It does not begin as such a file does.
    NotAFilter,
    /// A version of the format other than 1.
    Version(u32),
    /// Longer or shorter than its header and its directory say.
    Length,
    /// Numbers in header or directory that no filter has.
    Parameters,
    /// Not the bytes that were written.
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
