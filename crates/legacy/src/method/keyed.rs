//! HMAC of a password, keyed with the salt: Werkzeug before 2.3.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};

use super::{Method, Remainder, by_name};
use crate::fields::Fields;
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// HMAC with SHA-256 or SHA-512.
pub struct Keyed {
    /// Whether it is SHA-512.
    pub long: bool,
    /// The key, which is text.
    pub salt: Vec<u8>,
}

fn name(long: bool) -> &'static str {
    if long { "werkzeug-sha512" } else { "werkzeug-sha256" }
}

impl Keyed {
    pub fn read(text: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(long) = by_name(&[false, true], text, name) else { return Ok(None) };
        let [] = fields.numbers([])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { long, salt })))
    }
}

impl Method for Keyed {
    fn name(&self) -> &'static str {
        name(self.long)
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().blob(&self.salt)
    }

    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        Ok(())
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        Ok(if self.long {
            hmac::<Hmac<Sha512>>(&self.salt, password, 64)
        } else {
            hmac::<Hmac<Sha256>>(&self.salt, password, 32)
        })
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}

fn hmac<M: Mac + KeyInit>(key: &[u8], message: &[u8], length: usize) -> Output {
    // Invariant: HMAC accepts keys of any length.
    #[allow(clippy::expect_used)]
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    filled(length, |out| out.copy_from_slice(&mac.finalize().into_bytes()))
}
