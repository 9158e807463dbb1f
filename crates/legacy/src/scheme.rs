//! A scheme: an algorithm with its parameters and salt, within the limits.

use std::sync::Arc;

use crate::fields::Fields;
use crate::method::{self, Method, Remainder};
use crate::{Limits, MAX_SALT_BYTES, MAX_TEXT_BYTES, OutOfMemory, Output, Refusal};

/// The parts of another system's hash.
pub struct Imported {
    pub scheme: Scheme,
    pub output: Output,
}

/// An algorithm with its parameters and salt, within the [`Limits`] that it was admitted with, so
/// it is safe to compute. Schemes name computations, not systems: Django and Werkzeug share some.
#[derive(Clone)]
pub struct Scheme(Arc<dyn Method>);

/// The parameters of an Argon2id v1.3 hash without key and associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2id<'a> {
    /// m, in KiB.
    pub memory_kib: u32,
    /// t, passes over the memory.
    pub iterations: u32,
    /// p, lanes.
    pub parallelism: u32,
    /// 8 to [`MAX_SALT_BYTES`] bytes.
    pub salt: &'a [u8],
}

impl Scheme {
    /// Checks the limits. This is the only way to make a scheme.
    pub(crate) fn admit(method: Box<dyn Method>, limits: &Limits) -> Result<Self, Refusal> {
        method.check(limits)?;
        if method.fields().longest_blob() > MAX_SALT_BYTES {
            return Err(Refusal::OverLimit);
        }
        Ok(Self(method.into()))
    }

    /// The name of the algorithm, as in docs/import-formats.md. Names never change.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Whether the hash is so fast that its output must not be stored as it is. This is every
    /// scheme but Argon2, scrypt, yescrypt and bcrypt: without much memory, hardware computes
    /// billions per second.
    pub fn is_fast(&self) -> bool {
        self.0.is_fast()
    }

    /// The memory of one computation, in KiB rounded up; 0 if it is negligible.
    pub fn memory_kib(&self) -> u32 {
        self.0.memory_kib()
    }

    /// The parameters, if this is the scheme of new passwords: Argon2id, version 19.
    pub fn as_argon2id(&self) -> Option<Argon2id<'_>> {
        self.0.as_argon2id()
    }

    /// Algorithm, parameters and salt as text, without the output: `name$key=value,...$salt`, at
    /// most [`MAX_TEXT_BYTES`] long. It is stored, so it must never change for a scheme.
    ///
    /// Firebase's text contains the project's signer key, without which nothing can be computed.
    pub fn to_text(&self) -> String {
        self.0.fields().render(self.name())
    }

    /// Reads what [`Scheme::to_text`] wrote.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedFormat`] for an unknown name, [`Refusal::OverLimit`] above the current
    /// ceilings, [`Refusal::Malformed`] for a text that differs in one byte from the canonical one.
    pub fn from_text(text: &str, limits: &Limits) -> Result<Self, Refusal> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Refusal::OverLimit);
        }
        let (name, fields) = Fields::read(text)?;
        let scheme = Self::admit(method::read(name, &fields)?, limits)?;
        if scheme.to_text() == text { Ok(scheme) } else { Err(Refusal::Malformed) }
    }

    /// Computes what the other system would have stored for this password, byte for byte. Only
    /// SCRAM normalises passwords. Only `postgresql-md5` uses `user_id`, unless it keeps a name.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn compute(&self, password: &[u8], user_id: &str) -> Result<Output, OutOfMemory> {
        self.0.compute(password, user_id)
    }

    /// The scheme after its user has been renamed from `user_id`. If the user id is part of the
    /// computation, the scheme keeps the one that it was made with.
    #[must_use]
    pub fn keeping_name(&self, user_id: &str) -> Self {
        self.0.keeping_name(user_id).map_or_else(|| self.clone(), |method| Self(method.into()))
    }

    /// The part of the scheme that must stay in the record after `password` was right, so that
    /// every password that the other system accepted stays right. `None`: no other password gives
    /// the same output, so the password itself can be hashed. Otherwise, hash the output of the
    /// returned scheme: this scheme, or only the preparation that it applies to passwords.
    pub fn remainder(&self, password: &[u8]) -> Option<Self> {
        match self.0.remainder(password) {
            Remainder::Nothing => None,
            Remainder::All => Some(self.clone()),
            Remainder::Part(method) => Some(Self(method.into())),
        }
    }
}
