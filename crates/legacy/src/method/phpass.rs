//! phpass (openwall.com/phpass), its "portable hashes", and Drupal 7's variant.

use md5::{Digest, Md5};
use sha2::Sha512;
use zeroize::Zeroizing;

use super::{Method, Remainder, by_name};
use crate::fields::Fields;
use crate::limits::{ceiling, floor};
use crate::output::{Output, filled};
use crate::{Limits, OutOfMemory, Refusal};

/// Length of the salt in bytes.
pub const SALT_BYTES: usize = 8;

/// The hash function that is iterated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// `$P$`, `$H$`: MD5.
    Md5,
    /// `$S$`: SHA-512, truncated to 258 bits.
    Sha512,
    /// `U$S$`: the same, over the hexadecimal MD5 that Drupal 6 had stored.
    Sha512OfMd5,
}

impl Rounds {
    const ALL: [Self; 3] = [Self::Md5, Self::Sha512, Self::Sha512OfMd5];

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "phpass",
            Self::Sha512 => "drupal-sha512",
            Self::Sha512OfMd5 => "drupal-sha512-md5",
        }
    }
}

/// phpass. Passwords are bytes, which may include NUL.
pub struct Phpass {
    pub rounds: Rounds,
    /// The binary logarithm of the number of rounds, 7 to 30.
    pub log2: u32,
    /// Eight characters, not decoded.
    pub salt: [u8; SALT_BYTES],
}

impl Phpass {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(rounds) = by_name(&Rounds::ALL, name, Rounds::name) else { return Ok(None) };
        let [log2] = fields.numbers(["ln"])?;
        let [salt] = fields.blobs()?;
        let salt = salt.try_into().map_err(|_| Refusal::Malformed)?;
        Ok(Some(Box::new(Self { rounds, log2, salt })))
    }

    fn hash<D: Digest>(&self, password: &[u8]) -> Zeroizing<Vec<u8>> {
        let first = D::new().chain_update(self.salt).chain_update(password).finalize();
        let mut digest = Zeroizing::new(first.to_vec());
        for _ in 0..1u32 << self.log2 {
            let next = D::new().chain_update(&*digest).chain_update(password).finalize();
            digest.copy_from_slice(&next);
        }
        digest
    }
}

impl Method for Phpass {
    fn name(&self) -> &'static str {
        self.rounds.name()
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().number("ln", self.log2).blob(&self.salt)
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        ceiling(self.log2, limits.phpass_log2.min(30))?;
        floor(self.log2, 7u32)
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        Ok(match self.rounds {
            Rounds::Md5 => {
                let digest = self.hash::<Md5>(password);
                filled(16, |out| out.copy_from_slice(&digest))
            }
            Rounds::Sha512 => drupal(&self.hash::<Sha512>(password)),
            Rounds::Sha512OfMd5 => {
                let md5 = Zeroizing::new(<[u8; 16]>::from(Md5::digest(password)));
                drupal(&self.hash::<Sha512>(super::hex(&*md5).as_slice()))
            }
        })
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}

/// Drupal truncates its text to 55 characters: 32 bytes and two bits (the lowest) of the next.
fn drupal(digest: &[u8]) -> Output {
    filled(33, |out| {
        out.copy_from_slice(&digest[..33]);
        out[32] &= 3;
    })
}
