//! A slow hash of a prepared password: passlib's SCRAM (SASLprep) and better-auth (NFKC).

use super::{Method, Pbkdf2, Prepared, Remainder, Scrypt};
use crate::fields::Fields;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// A preparation with the method that follows it, and the name of both together.
pub struct AfterPreparation {
    how: Prepared,
    name: &'static str,
    method: Box<dyn Method>,
}

/// The name of the combination, the preparation, and the name of the method.
const NAMES: [(&str, Prepared, &str); 4] = [
    ("better-auth-scrypt", Prepared::Nfkc, "scrypt"),
    ("sasl-pbkdf2-sha1", Prepared::Sasl, "pbkdf2-sha1"),
    ("sasl-pbkdf2-sha256", Prepared::Sasl, "pbkdf2-sha256"),
    ("sasl-pbkdf2-sha512", Prepared::Sasl, "pbkdf2-sha512"),
];

impl AfterPreparation {
    /// `None` if no system combines these two.
    pub fn new(how: Prepared, method: Box<dyn Method>) -> Option<Self> {
        let entry = NAMES.iter().find(|entry| (entry.1, entry.2) == (how, method.name()))?;
        Some(Self { how, name: entry.0, method })
    }

    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(entry) = NAMES.iter().find(|entry| entry.0 == name) else { return Ok(None) };
        let read = if entry.2 == "scrypt" { Scrypt::read } else { Pbkdf2::read };
        let method = read(entry.2, fields)?;
        let whole = method.and_then(|method| Self::new(entry.1, method));
        Ok(whole.map(|whole| Box::new(whole) as Box<dyn Method>))
    }
}

impl Method for AfterPreparation {
    fn name(&self) -> &'static str {
        self.name
    }

    fn fields(&self) -> Fields<'static> {
        self.method.fields()
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        self.method.check(limits)
    }

    fn compute(&self, password: &[u8], user_id: &str) -> Result<Output, OutOfMemory> {
        self.method.compute(&self.how.prepare(password), user_id)
    }

    /// Only the preparation maps several passwords to one; the method tells all others apart.
    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Part(Box::new(self.how))
    }

    fn is_fast(&self) -> bool {
        self.method.is_fast()
    }

    fn memory_kib(&self) -> u32 {
        self.method.memory_kib()
    }
}
