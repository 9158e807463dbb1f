//! Firebase's scrypt (github.com/firebase/scrypt), which encrypts the signer key with its output.

use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use super::scrypt::Cost;
use super::{Method, Remainder};
use crate::fields::Fields;
use crate::limits::{kib, output_length};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// scrypt, then AES-256 in counter mode from zero. The output is as long as the signer key.
pub struct Firebase {
    /// `mem_cost` is the binary logarithm of N, `rounds` is r, and p is 1.
    pub cost: Cost,
    /// The salt of the user.
    pub salt: Vec<u8>,
    /// The salt separator of the project, hashed after the salt.
    pub separator: Vec<u8>,
    /// The signer key of the project.
    pub signer_key: Zeroizing<Vec<u8>>,
}

impl Firebase {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "firebase-scrypt" {
            return Ok(None);
        }
        let [log_n, r, p] = fields.numbers(["ln", "r", "p"])?;
        let [salt, separator, signer_key] = fields.blobs()?;
        let signer_key = Zeroizing::new(signer_key);
        Ok(Some(Box::new(Self { cost: Cost { log_n, r, p }, salt, separator, signer_key })))
    }
}

impl Method for Firebase {
    fn name(&self) -> &'static str {
        "firebase-scrypt"
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new()
            .number("ln", self.cost.log_n)
            .number("r", self.cost.r)
            .number("p", self.cost.p)
            .blob(&self.salt)
            .blob(&self.separator)
            .blob(&self.signer_key)
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        self.cost.check(limits)?;
        output_length(u32::try_from(self.signer_key.len()).unwrap_or(u32::MAX))
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let mut key = Zeroizing::new([0; 32]);
        let salt = [self.salt.as_slice(), &self.separator].concat();
        self.cost.fill(password, &salt, &mut *key)?;
        let mut cipher = ctr::Ctr128BE::<Aes256>::new(&(*key).into(), &[0; 16].into());
        Ok(filled(self.signer_key.len(), |out| {
            out.copy_from_slice(&self.signer_key);
            cipher.apply_keystream(out);
        }))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }

    fn is_fast(&self) -> bool {
        false
    }

    fn memory_kib(&self) -> u32 {
        kib(self.cost.bytes())
    }
}
