//! An algorithm with its parameters and salt.

use std::sync::Arc;

use crate::fields::Fields;
use crate::method::{self, Method, Remainder};
use crate::{Limits, MAX_SALT_BYTES, MAX_TEXT_BYTES, OutOfMemory, Output, Refusal};

/// What a text of another system was taken apart into.
pub struct Imported {
    /// How the output was made.
    pub scheme: Scheme,
    /// What was stored.
    pub output: Output,
}

/// An algorithm with its parameters and salt, within the [`Limits`] it was admitted with: safe to
/// compute. It names the computation, not the system: what Django and Werkzeug write with the same
/// algorithm is one scheme.
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
    /// The one way to a scheme.
    pub(crate) fn admit(method: Box<dyn Method>, limits: &Limits) -> Result<Self, Refusal> {
        method.check(limits)?;
        if method.fields().longest_blob() > MAX_SALT_BYTES {
            return Err(Refusal::OverLimit);
        }
        Ok(Self(method.into()))
    }

    /// The algorithm, one of the names in docs/import-formats.md. They never change.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Is it so fast that its output must not be stored as it is? Anything but Argon2, scrypt, yescrypt
    /// and bcrypt: it takes no memory, and hardware computes billions per second.
    pub fn is_fast(&self) -> bool {
        self.0.is_fast()
    }

    /// What one computation takes, in KiB rounded up; 0 where it is of no account.
    pub fn memory_kib(&self) -> u32 {
        self.0.memory_kib()
    }

    /// The parameters if it is what is made of new passwords: Argon2id, version 19.
    pub fn as_argon2id(&self) -> Option<Argon2id<'_>> {
        self.0.as_argon2id()
    }

    /// Algorithm, parameters and salt as text without the output, at most [`MAX_TEXT_BYTES`] long:
    /// `name$key=value,...$salt`. It is stored, and never changes for a scheme.
    ///
    /// Firebase's contains the signer key of the project: nothing can be computed without.
    pub fn to_text(&self) -> String {
        self.0.fields().render(self.name())
    }

    /// Reads what [`Scheme::to_text`] wrote.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedFormat`] for a name that is none, [`Refusal::OverLimit`] for what is
    /// beyond today's ceilings, [`Refusal::Malformed`] for anything that differs in one byte from the
    /// canonical text.
    pub fn from_text(text: &str, limits: &Limits) -> Result<Self, Refusal> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Refusal::OverLimit);
        }
        let (name, fields) = Fields::read(text)?;
        let scheme = Self::admit(method::read(name, &fields)?, limits)?;
        if scheme.to_text() == text { Ok(scheme) } else { Err(Refusal::Malformed) }
    }

    /// What the other system would have stored for this password, byte for byte. Passwords are taken as
    /// they are: no Unicode normalisation, but for SCRAM's. `user_id` is used by `postgresql-md5` alone, where it keeps no name.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn compute(&self, password: &[u8], user_id: &str) -> Result<Output, OutOfMemory> {
        self.0.compute(password, user_id)
    }

    /// The same for a user who is called something else from now on: where the user id is part of what is computed,
    /// this one is kept in the scheme, unless one is kept already.
    #[must_use]
    pub fn keeping_name(&self, user_id: &str) -> Self {
        self.0.keeping_name(user_id).map_or_else(|| self.clone(), |method| Self(method.into()))
    }

    /// What has to be kept of it now that this has been the right password, so that nobody is turned away whom
    /// it would have let in: `None` where no other password gives the same output, and the password can be
    /// hashed instead; else a scheme whose output is to be hashed: this one, or what it did to passwords before
    /// it hashed them.
    pub fn remainder(&self, password: &[u8]) -> Option<Self> {
        match self.0.remainder(password) {
            Remainder::Nothing => None,
            Remainder::All => Some(self.clone()),
            Remainder::Part(method) => Some(Self(method.into())),
        }
    }
}
