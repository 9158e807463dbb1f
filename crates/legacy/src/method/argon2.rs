//! Argon2 (RFC 9106) in its three variants and two versions.

use argon2::{Algorithm, Argon2 as Hasher, Block, Params, Version};
use zeroize::Zeroize;

use super::{Method, Remainder, by_name};
use crate::fields::Fields;
use crate::limits::{ceiling, floor, output_length};
use crate::output::filled;
use crate::{Argon2id, Limits, OutOfMemory, Output, Refusal};

/// Which blocks a block may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Half a pass without password-dependent references, then with them.
    Id,
    /// References never depend on the password.
    I,
    /// References always depend on the password.
    D,
}

impl Variant {
    const ALL: [Self; 3] = [Self::Id, Self::I, Self::D];

    fn name(self) -> &'static str {
        match self {
            Self::Id => "argon2id",
            Self::I => "argon2i",
            Self::D => "argon2d",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Id => Algorithm::Argon2id,
            Self::I => Algorithm::Argon2i,
            Self::D => Algorithm::Argon2d,
        }
    }
}

/// Argon2 without key and associated data.
pub struct Argon2 {
    pub variant: Variant,
    /// 19 for version 1.3 (RFC 9106), or 16 for version 1.0.
    pub version: u32,
    /// m, in KiB.
    pub memory_kib: u32,
    /// t, passes over the memory.
    pub iterations: u32,
    /// p, lanes.
    pub parallelism: u32,
    /// Length of the tag in bytes, which is part of the hash.
    pub length: u32,
    /// At least 8 bytes.
    pub salt: Vec<u8>,
}

impl Argon2 {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(variant) = by_name(&Variant::ALL, name, Variant::name) else { return Ok(None) };
        let [version, memory_kib, iterations, parallelism, length] =
            fields.numbers(["v", "m", "t", "p", "l"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self {
            variant,
            version,
            memory_kib,
            iterations,
            parallelism,
            length,
            salt,
        })))
    }
}

impl Method for Argon2 {
    fn name(&self) -> &'static str {
        self.variant.name()
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new()
            .number("v", self.version)
            .number("m", self.memory_kib)
            .number("t", self.iterations)
            .number("p", self.parallelism)
            .number("l", self.length)
            .blob(&self.salt)
    }

    /// RFC 9106 section 3.1: t ≥ 1, p ≥ 1, m ≥ 8p. The crate requires 8 bytes of salt.
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        let (m, t) = (u64::from(self.memory_kib), u64::from(self.iterations));
        limits.memory(m.saturating_mul(1024))?;
        ceiling(m * t, limits.argon2_kib_passes)?;
        ceiling(self.parallelism, limits.argon2_lanes)?;
        floor(self.iterations, 1u32)?;
        floor(self.parallelism, 1u32)?;
        floor(self.memory_kib, 8 * self.parallelism)?;
        floor(self.salt.len() as u64, 8u32)?;
        output_length(self.length)?;
        if matches!(self.version, 16 | 19) { Ok(()) } else { Err(Refusal::UnsupportedFormat) }
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let length = self.length as usize;
        // Invariant: `check` enforces everything that the crate requires.
        #[allow(clippy::expect_used)]
        let params = Params::new(self.memory_kib, self.iterations, self.parallelism, Some(length))
            .expect("parameters within the ceilings");
        let version = if self.version == 16 { Version::V0x10 } else { Version::V0x13 };
        let mut memory: Vec<Block> = Vec::new();
        memory.try_reserve_exact(params.block_count()).map_err(|_| OutOfMemory)?;
        memory.resize(params.block_count(), Block::new());
        let hasher = Hasher::new(self.variant.algorithm(), version, params);
        let output = filled(length, |tag| {
            let done =
                hasher.hash_password_into_with_memory(password, &self.salt, tag, &mut memory);
            // Invariant: `check` enforces everything that the crate requires.
            #[allow(clippy::expect_used)]
            done.expect("lengths within Argon2's");
        });
        memory.iter_mut().for_each(Zeroize::zeroize);
        Ok(output)
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }

    fn is_fast(&self) -> bool {
        false
    }

    fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    fn as_argon2id(&self) -> Option<Argon2id<'_>> {
        (self.variant == Variant::Id && self.version == 19).then_some(Argon2id {
            memory_kib: self.memory_kib,
            iterations: self.iterations,
            parallelism: self.parallelism,
            salt: &self.salt,
        })
    }
}
