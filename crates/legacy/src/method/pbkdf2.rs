//! PBKDF2 (RFC 8018 section 5.2) with HMAC.

use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{Method, Remainder, by_name};
use crate::fields::Fields;
use crate::limits::{ceiling, floor, output_length};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// The hash function inside HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prf {
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 64 bytes.
    Sha512,
}

impl Prf {
    const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "pbkdf2-sha1",
            Self::Sha256 => "pbkdf2-sha256",
            Self::Sha512 => "pbkdf2-sha512",
        }
    }

    fn bytes(self) -> u32 {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// PBKDF2, in whatever format it was written.
pub struct Pbkdf2 {
    pub prf: Prf,
    /// At least 1.
    pub iterations: u32,
    /// Length of the output in bytes.
    pub length: u32,
    /// Any bytes.
    pub salt: Vec<u8>,
}

impl Pbkdf2 {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(prf) = by_name(&Prf::ALL, name, Prf::name) else { return Ok(None) };
        let [iterations, length] = fields.numbers(["i", "l"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { prf, iterations, length, salt })))
    }
}

impl Method for Pbkdf2 {
    fn name(&self) -> &'static str {
        self.prf.name()
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().number("i", self.iterations).number("l", self.length).blob(&self.salt)
    }

    /// Every block of output takes all iterations; with SHA-512 it takes twice the time or more.
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        output_length(self.length)?;
        floor(self.iterations, 1u32)?;
        let weight = if self.prf == Prf::Sha512 { 2 } else { 1 };
        let blocks = u64::from(self.length.div_ceil(self.prf.bytes()));
        ceiling(weight * blocks * u64::from(self.iterations), limits.pbkdf2_iterations)
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        Ok(filled(self.length as usize, |out| match self.prf {
            Prf::Sha1 => pbkdf2_hmac::<Sha1>(password, &self.salt, self.iterations, out),
            Prf::Sha256 => pbkdf2_hmac::<Sha256>(password, &self.salt, self.iterations, out),
            Prf::Sha512 => pbkdf2_hmac::<Sha512>(password, &self.salt, self.iterations, out),
        }))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}
