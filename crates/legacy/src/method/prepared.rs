//! The preparation that a system applied to passwords before hashing them. It is all that must be
//! kept of such a scheme after a right password. No format is imported into it.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{Method, Remainder, by_name, saslprep, trim};
use crate::fields::Fields;
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// NFC makes UTF-8 at most three times longer (Unicode Standard Annex #15).
const MAX_NFC_GROWTH: usize = 3;

/// A preparation. Our passwords are in NFC, and so are the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// WordPress: white space at both ends is removed.
    Trimmed,
    /// SCRAM of PostgreSQL and passlib: SASLprep.
    Sasl,
    /// better-auth: NFKC.
    Nfkc,
}

impl Prepared {
    const ALL: [Self; 3] = [Self::Trimmed, Self::Sasl, Self::Nfkc];

    fn called(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Sasl => "saslprep",
            Self::Nfkc => "nfkc",
        }
    }

    /// The password as the system hashed it.
    pub fn prepare(self, password: &[u8]) -> Zeroizing<Vec<u8>> {
        match (self, std::str::from_utf8(password)) {
            (Self::Sasl, _) => saslprep::prepared(password),
            (Self::Nfkc, Ok(text)) => saslprep::normalized(text),
            (Self::Trimmed, _) => Zeroizing::new(trim(password).to_vec()),
            (Self::Nfkc, Err(_)) => Zeroizing::new(password.to_vec()),
        }
    }

    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(it) = by_name(&Self::ALL, name, Self::called) else { return Ok(None) };
        let ([], []) = (fields.numbers([])?, fields.blobs()?);
        Ok(Some(Box::new(it)))
    }
}

impl Method for Prepared {
    fn name(&self) -> &'static str {
        self.called()
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new()
    }

    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        Ok(())
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let prepared = self.prepare(password);
        let composed = composed(&prepared);
        let bytes = composed.as_ref().map_or(prepared.as_slice(), |text| text.as_bytes());
        Ok(filled(bytes.len(), |out| out.copy_from_slice(bytes)))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::All
    }
}

/// Normalises to NFC; `None` if it is not text.
fn composed(password: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(password).ok()?;
    let mut composed = Zeroizing::new(String::with_capacity(text.len() * MAX_NFC_GROWTH));
    composed.extend(text.nfc());
    Some(composed)
}
