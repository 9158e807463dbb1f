//! What a system did to passwords before it hashed them, without its hash: all that has to be kept of such a
//! scheme once somebody has given the right password. Nothing is imported in it.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{Method, Remainder, by_name, saslprep, trim};
use crate::fields::Fields;
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// NFC makes UTF-8 at most three times longer (Unicode Standard Annex 15).
const MAX_NFC_GROWTH: usize = 3;

/// What is done to a password. Passwords of ours are in NFC, and so is what these make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// WordPress: white space at its ends is cut off.
    Trimmed,
    /// SCRAM, PostgreSQL's and passlib's: SASLprep.
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

/// NFC; `None` where it is no text.
fn composed(password: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(password).ok()?;
    let mut composed = Zeroizing::new(String::with_capacity(text.len() * MAX_NFC_GROWTH));
    composed.extend(text.nfc());
    Some(composed)
}
