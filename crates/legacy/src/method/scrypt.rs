//! scrypt (RFC 7914).

use scrypt::Params;

use super::memory::ask_for;
use super::{Method, Remainder};
use crate::fields::Fields;
use crate::limits::{ceiling, floor, kib, output_length};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// The binary logarithm of N.
    pub log_n: u32,
    /// r, in units of 128 bytes.
    pub r: u32,
    /// p, computed one after the other.
    pub p: u32,
}

impl Cost {
    /// Requires N ≥ 2, r ≥ 1, p ≥ 1 (RFC 7914 section 2). Values that overflow are far above every
    /// ceiling, and are refused before the crate multiplies them.
    pub fn check(self, limits: &Limits) -> Result<(), Refusal> {
        ceiling(self.log_n, 40u32)?;
        limits.memory(self.bytes())?;
        let blocks = (u64::from(self.r) * u64::from(self.p)).saturating_mul(1 << self.log_n);
        ceiling(blocks, limits.scrypt_blocks)?;
        floor(self.log_n, 1u32)?;
        floor(self.r, 1u32)?;
        floor(self.p, 1u32)
    }

    /// The memory in bytes: N + p + 1 blocks of 128r bytes each.
    pub fn bytes(self) -> u64 {
        let blocks = 1u64.checked_shl(self.log_n).unwrap_or(u64::MAX);
        blocks.saturating_add(u64::from(self.p) + 1).saturating_mul(128 * u64::from(self.r))
    }

    /// Computes scrypt with parameters that have been checked.
    pub fn fill(self, password: &[u8], salt: &[u8], output: &mut [u8]) -> Result<(), OutOfMemory> {
        ask_for(self.bytes())?;
        // Invariant: `check` enforces everything that the crate requires, and no output is empty.
        #[allow(clippy::expect_used)]
        let params = u8::try_from(self.log_n)
            .ok()
            .and_then(|log_n| Params::new(log_n, self.r, self.p).ok())
            .expect("parameters within the ceilings");
        // Invariant: an output has 16 to 512 bytes, which scrypt allows.
        #[allow(clippy::expect_used)]
        scrypt::scrypt(password, salt, &params, output).expect("an output of a common length");
        Ok(())
    }
}

/// scrypt, in whatever format it was written.
pub struct Scrypt {
    pub cost: Cost,
    /// Length of the output in bytes.
    pub length: u32,
    /// Any bytes.
    pub salt: Vec<u8>,
}

impl Scrypt {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "scrypt" {
            return Ok(None);
        }
        let [log_n, r, p, length] = fields.numbers(["ln", "r", "p", "l"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { cost: Cost { log_n, r, p }, length, salt })))
    }
}

impl Method for Scrypt {
    fn name(&self) -> &'static str {
        "scrypt"
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new()
            .number("ln", self.cost.log_n)
            .number("r", self.cost.r)
            .number("p", self.cost.p)
            .number("l", self.length)
            .blob(&self.salt)
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        self.cost.check(limits)?;
        output_length(self.length)
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let mut done = Ok(());
        let output = filled(self.length as usize, |out| {
            done = self.cost.fill(password, &self.salt, out);
        });
        done.map(|()| output)
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
