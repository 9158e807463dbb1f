//! SHA-256-crypt and SHA-512-crypt (akkadia.org/drepper/SHA-crypt.txt).

use sha_crypt::{Params, sha256_crypt, sha512_crypt};
use zeroize::Zeroizing;

use super::{Method, Remainder, by_name, c_string};
use crate::fields::Fields;
use crate::limits::{ceiling, floor};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// The longest salt, in bytes.
pub const MAX_SALT_BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// `$5$`
    Sha256,
    /// `$6$`
    Sha512,
}

impl Size {
    const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256-crypt",
            Self::Sha512 => "sha512-crypt",
        }
    }

    /// Length of the output in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

pub struct ShaCrypt {
    pub size: Size,
    /// At least 1000; 5000 if the text names none.
    pub rounds: u32,
    /// The characters of the salt, not decoded.
    pub salt: Vec<u8>,
}

impl ShaCrypt {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(size) = by_name(&Size::ALL, name, Size::name) else { return Ok(None) };
        let [rounds] = fields.numbers(["rounds"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { size, rounds, salt })))
    }
}

impl Method for ShaCrypt {
    fn name(&self) -> &'static str {
        self.size.name()
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().number("rounds", self.rounds).blob(&self.salt)
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        ceiling(self.rounds, limits.sha_crypt_rounds.min(Params::ROUNDS_MAX))?;
        // If asked for fewer than 1000, glibc computed and wrote 1000.
        floor(self.rounds, Params::ROUNDS_MIN)?;
        if self.salt.len() > MAX_SALT_BYTES { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// The digest, in the order in which its bytes are written.
    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        // Invariant: `check` enforces the crate's bounds.
        #[allow(clippy::expect_used)]
        let params = Params::new(self.rounds).expect("rounds within the crate's bounds");
        let password = c_string(password);
        Ok(filled(self.size.bytes(), |out| match self.size {
            Size::Sha256 => {
                let digest = Zeroizing::new(sha256_crypt(password, &self.salt, params));
                permute(&*digest, 10, out);
            }
            Size::Sha512 => {
                let digest = Zeroizing::new(sha512_crypt(password, &self.salt, params));
                permute(&*digest, 21, out);
            }
        }))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}

/// Steps 21 and 22 of the specification: triples of bytes a `third` apart, each beginning in
/// another third, and the bytes left over. The last byte of a triple is written first.
fn permute(digest: &[u8], third: usize, out: &mut [u8]) {
    // With 32 bytes the triples rotate one way, with 64 the other.
    let turn = if third == 10 { 2 } else { 1 };
    let (triples, rest) = out.as_chunks_mut::<3>();
    for (i, triple) in triples.iter_mut().enumerate() {
        for (j, byte) in triple.iter_mut().enumerate() {
            *byte = digest[i + third * ((turn * i + 2 - j) % 3)];
        }
    }
    rest.copy_from_slice(&digest[3 * third..]);
}
