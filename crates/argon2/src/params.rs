//! The inputs of a hash: parameters and bytes, within bounds that can be computed.

/// The most memory of one hash, in KiB (1 GiB).
pub const MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// The most lanes. One thread computes them in turns, and all must fit the first-level cache.
pub const MAX_LANES: u32 = 16;
/// The shortest salt in bytes: the reference implementation requires 8, RFC 9106 recommends 16.
pub const MIN_SALT_BYTES: usize = 8;
/// The shortest tag in bytes (RFC 9106 section 3.1).
pub const MIN_TAG_BYTES: usize = 4;
/// The most associated data in bytes, a limit of RustCrypto `argon2`, which is one of the paths.
pub const MAX_ASSOCIATED_DATA_BYTES: usize = 32;

/// The number of slices of each lane. Lanes synchronise at their ends (RFC 9106 section 3.4).
pub(crate) const SLICES: u32 = 4;

/// m, t and p of RFC 9106, within the ceilings above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    m_kib: u32,
    t: u32,
    p: u32,
}

/// The bytes that are hashed. Without `Debug`, because they include a password.
#[derive(Clone, Copy, Default)]
pub struct Inputs<'a> {
    /// At most 2³² − 1 bytes.
    pub password: &'a [u8],
    /// At least [`MIN_SALT_BYTES`].
    pub salt: &'a [u8],
    /// The key that RFC 9106 calls K; empty for none.
    pub secret: &'a [u8],
    /// At most [`MAX_ASSOCIATED_DATA_BYTES`]; empty for none.
    pub associated_data: &'a [u8],
}

/// Why no tag was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A parameter is above its ceiling.
    AboveCeiling,
    /// A parameter is below the minimum of Argon2 (RFC 9106 section 3.1: t ≥ 1, p ≥ 1, m ≥ 8p).
    BelowMinimum,
    /// There are fewer blocks than [`Params::blocks`].
    MemoryTooSmall,
    /// The salt is shorter than [`MIN_SALT_BYTES`].
    SaltTooShort,
    /// The tag is shorter than [`MIN_TAG_BYTES`].
    TagTooShort,
    /// An input or the tag is longer than its bound.
    TooLong,
    /// The path needs instructions that this CPU does not have.
    NotOnThisCpu,
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::AboveCeiling => "Argon2 parameters above the ceiling",
            Self::BelowMinimum => "Argon2 parameters below the minimum",
            Self::MemoryTooSmall => "less memory than the Argon2 parameters need",
            Self::SaltTooShort => "salt too short for Argon2",
            Self::TagTooShort => "tag too short for Argon2",
            Self::TooLong => "input too long for Argon2",
            Self::NotOnThisCpu => "this CPU lacks the instructions of that Argon2 path",
        })
    }
}

impl std::error::Error for Error {}

impl Params {
    /// Takes `m_kib` of memory in KiB, `t` passes over it, and `p` lanes.
    ///
    /// # Errors
    /// [`Error::AboveCeiling`], [`Error::BelowMinimum`].
    pub const fn new(m_kib: u32, t: u32, p: u32) -> Result<Self, Error> {
        if m_kib > MAX_MEMORY_KIB || p > MAX_LANES {
            Err(Error::AboveCeiling)
        } else if t < 1 || p < 1 || m_kib < 8 * p {
            Err(Error::BelowMinimum)
        } else {
            Ok(Self { m_kib, t, p })
        }
    }

    /// m, in KiB.
    pub const fn m_kib(self) -> u32 {
        self.m_kib
    }

    /// t, passes over the memory.
    pub const fn t(self) -> u32 {
        self.t
    }

    /// p, lanes.
    pub const fn p(self) -> u32 {
        self.p
    }

    /// Blocks of 1 KiB that a hash needs: m rounded down to a multiple of 4p.
    pub const fn blocks(self) -> usize {
        // The cast from u32 to usize is lossless on 32 bits and more.
        (self.m_kib / (SLICES * self.p) * SLICES * self.p) as usize
    }
}

impl Inputs<'_> {
    /// Checks the lengths of the inputs and of the tag.
    pub(crate) fn check(&self, tag: &[u8]) -> Result<(), Error> {
        if self.salt.len() < MIN_SALT_BYTES {
            return Err(Error::SaltTooShort);
        }
        if tag.len() < MIN_TAG_BYTES {
            return Err(Error::TagTooShort);
        }
        let lengths = [self.password.len(), self.salt.len(), self.secret.len(), tag.len()];
        if self.associated_data.len() > MAX_ASSOCIATED_DATA_BYTES
            || lengths.iter().any(|&length| u32::try_from(length).is_err())
        {
            return Err(Error::TooLong);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_hold_to_the_unit() {
        assert!(Params::new(MAX_MEMORY_KIB, u32::MAX, MAX_LANES).is_ok());
        assert_eq!(Params::new(MAX_MEMORY_KIB + 1, 1, 1), Err(Error::AboveCeiling));
        assert_eq!(Params::new(u32::MAX, 1, u32::MAX), Err(Error::AboveCeiling));
        assert_eq!(Params::new(4096, 1, MAX_LANES + 1), Err(Error::AboveCeiling));
    }

    #[test]
    fn what_argon2_cannot_compute_is_refused() {
        assert_eq!(Params::new(8, 0, 1), Err(Error::BelowMinimum));
        assert_eq!(Params::new(8, 1, 0), Err(Error::BelowMinimum));
        assert_eq!(Params::new(31, 1, 4), Err(Error::BelowMinimum));
        assert!(Params::new(32, 1, 4).is_ok());
    }

    #[test]
    fn memory_is_rounded_down_to_whole_slices() {
        let blocks = |m, p| Params::new(m, 1, p).unwrap().blocks();
        assert_eq!(blocks(8, 1), 8);
        assert_eq!(blocks(11, 1), 8);
        assert_eq!(blocks(12, 1), 12);
        assert_eq!(blocks(47, 4), 32);
        assert_eq!(blocks(1024 * 1024, 16), 1024 * 1024);
    }
}
