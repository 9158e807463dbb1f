//! This crate without the feature `formats`: its types have no values, and nothing can be read.

use crate::{Limits, OutOfMemory, Output, Refusal, Site};

/// See the feature `formats`.
#[derive(Clone)]
pub struct Scheme(Never);

#[derive(Clone, Copy)]
enum Never {}

/// See the feature `formats`.
pub struct Imported {
    pub scheme: Scheme,
    pub output: Output,
}

/// See the feature `formats`.
pub struct Argon2id<'a> {
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
    pub salt: &'a [u8],
}

/// Refuses every text.
///
/// # Errors
/// [`Refusal::NotBuilt`].
pub fn parse(_: &str, _: &Limits, _: &Site) -> Result<Imported, Refusal> {
    Err(Refusal::NotBuilt)
}

impl Scheme {
    /// Refuses every text.
    ///
    /// # Errors
    /// [`Refusal::NotBuilt`].
    pub fn from_text(_: &str, _: &Limits) -> Result<Self, Refusal> {
        Err(Refusal::NotBuilt)
    }

    pub fn name(&self) -> &'static str {
        match self.0 {}
    }

    pub fn is_fast(&self) -> bool {
        match self.0 {}
    }

    pub fn memory_kib(&self) -> u32 {
        match self.0 {}
    }

    pub fn as_argon2id(&self) -> Option<Argon2id<'_>> {
        match self.0 {}
    }

    pub fn to_text(&self) -> String {
        match self.0 {}
    }

    /// # Errors
    /// Never, because there is no scheme to compute.
    pub fn compute(&self, _: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        match self.0 {}
    }

    #[must_use]
    pub fn keeping_name(&self, _: &str) -> Self {
        match self.0 {}
    }

    pub fn remainder(&self, _: &[u8]) -> Option<Self> {
        match self.0 {}
    }
}
