//! What PostgreSQL keeps of its own roles: SCRAM-SHA-256 (RFC 5802 and 7677) and the older MD5.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Method, saslprep};
use crate::fields::Fields;
use crate::limits::{ceiling, floor};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// SCRAM-SHA-256. Its output is the StoredKey.
pub struct Scram {
    /// At least 1.
    pub iterations: u32,
    /// Any bytes.
    pub salt: Vec<u8>,
}

impl Scram {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "postgresql-scram-sha-256" {
            return Ok(None);
        }
        let [iterations] = fields.numbers(["i"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { iterations, salt })))
    }
}

impl Method for Scram {
    fn name(&self) -> &'static str {
        "postgresql-scram-sha-256"
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().number("i", self.iterations).blob(&self.salt)
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        floor(self.iterations, 1u32)?;
        ceiling(self.iterations, limits.pbkdf2_iterations)
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let mut salted = Zeroizing::new([0; 32]);
        let password = saslprep::prepared(password);
        pbkdf2_hmac::<Sha256>(&password, &self.salt, self.iterations, &mut *salted);
        // Invariant: HMAC takes keys of every length.
        #[allow(clippy::expect_used)]
        let mut mac = Hmac::<Sha256>::new_from_slice(&*salted).expect("a key of any length");
        mac.update(b"Client Key");
        let client_key = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        Ok(filled(32, |out| out.copy_from_slice(&Sha256::digest(*client_key))))
    }
}

/// `md5` and the MD5 of password and role name.
pub struct PgMd5;

impl PgMd5 {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "postgresql-md5" {
            return Ok(None);
        }
        let ([], []) = (fields.numbers([])?, fields.blobs()?);
        Ok(Some(Box::new(Self)))
    }
}

impl Method for PgMd5 {
    fn name(&self) -> &'static str {
        "postgresql-md5"
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new()
    }

    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        Ok(())
    }

    /// The user id is the salt.
    fn compute(&self, password: &[u8], user_id: &str) -> Result<Output, OutOfMemory> {
        let hash = Md5::new().chain_update(password).chain_update(user_id);
        Ok(filled(16, |out| out.copy_from_slice(&hash.finalize())))
    }
}
