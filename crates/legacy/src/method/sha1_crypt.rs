//! sha1-crypt of NetBSD (crypt-sha1.c, 2004): iterated HMAC-SHA-1.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::{Method, Remainder, c_string};
use crate::fields::Fields;
use crate::limits::{ceiling, floor};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// Length of the output in bytes: the first byte of the digest is written twice.
pub const OUTPUT_BYTES: usize = 21;
/// The longest salt, in bytes.
const MAX_SALT_BYTES: usize = 64;

pub struct Sha1Crypt {
    /// At least 1.
    pub rounds: u32,
    /// The characters of the salt, not decoded.
    pub salt: Vec<u8>,
}

impl Sha1Crypt {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "sha1-crypt" {
            return Ok(None);
        }
        let [rounds] = fields.numbers(["rounds"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { rounds, salt })))
    }
}

impl Method for Sha1Crypt {
    fn name(&self) -> &'static str {
        "sha1-crypt"
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().number("rounds", self.rounds).blob(&self.salt)
    }

    /// A round costs as much as an iteration of PBKDF2.
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        ceiling(self.rounds, limits.pbkdf2_iterations)?;
        floor(self.rounds, 1u32)?;
        if self.salt.len() > MAX_SALT_BYTES { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// The digest, in the order in which its bytes are written: each group of three reversed.
    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        // Invariant: HMAC accepts keys of any length.
        #[allow(clippy::expect_used)]
        let keyed = Hmac::<Sha1>::new_from_slice(c_string(password)).expect("a key of any length");
        let first = [&self.salt, format!("$sha1${}", self.rounds).as_bytes()].concat();
        let mut digest = Zeroizing::new(<[u8; 20]>::default());
        for round in 0..self.rounds {
            let mut mac = keyed.clone();
            mac.update(if round == 0 { first.as_slice() } else { digest.as_slice() });
            *digest = mac.finalize().into_bytes().into();
        }
        Ok(filled(OUTPUT_BYTES, |out| {
            let (triples, _) = out.as_chunks_mut::<3>();
            for (i, triple) in triples.iter_mut().enumerate() {
                let at = |back: usize| digest[(3 * i + 2 - back) % 21 % 20];
                *triple = [at(0), at(1), at(2)];
            }
        }))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}
