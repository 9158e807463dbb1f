//! Password hashes of PostgreSQL's roles: SCRAM-SHA-256 (RFC 5802 and 7677) and the older MD5.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Method, Prepared, Remainder, saslprep};
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
        // Invariant: HMAC accepts keys of any length.
        #[allow(clippy::expect_used)]
        let mut mac = Hmac::<Sha256>::new_from_slice(&*salted).expect("a key of any length");
        mac.update(b"Client Key");
        let client_key = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        Ok(filled(32, |out| out.copy_from_slice(&Sha256::digest(*client_key))))
    }

    /// Only SASLprep maps several passwords to one.
    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Part(Box::new(Prepared::Sasl))
    }
}

/// `md5` and the MD5 of password and role name.
pub struct PgMd5 {
    /// The role name in the hash, if it is no longer the user id.
    pub role: Option<String>,
}

impl PgMd5 {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "postgresql-md5" {
            return Ok(None);
        }
        let [] = fields.numbers([])?;
        let role = match fields.blobs() {
            Ok([role]) => Some(String::from_utf8(role).map_err(|_| Refusal::Malformed)?),
            Err(_) => fields.blobs().map(|[]| None)?,
        };
        Ok(Some(Box::new(Self { role })))
    }
}

impl Method for PgMd5 {
    fn name(&self) -> &'static str {
        "postgresql-md5"
    }

    fn fields(&self) -> Fields<'static> {
        self.role.iter().fold(Fields::new(), |fields, role| fields.blob(role.as_bytes()))
    }

    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        Ok(())
    }

    /// The role name is the salt.
    fn compute(&self, password: &[u8], user_id: &str) -> Result<Output, OutOfMemory> {
        let role = self.role.as_deref().unwrap_or(user_id);
        let hash = Md5::new().chain_update(password).chain_update(role);
        Ok(filled(16, |out| out.copy_from_slice(&hash.finalize())))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }

    fn keeping_name(&self, user_id: &str) -> Option<Box<dyn Method>> {
        let role = self.role.as_deref().unwrap_or(user_id).to_owned();
        Some(Box::new(Self { role: Some(role) }))
    }
}
