//! The computations, one per file, with their parameters and ceilings.

mod after_preparation;
mod argon2;
mod bcrypt;
mod database;
mod des;
mod des_crypt;
mod digest;
mod firebase;
mod fshp;
mod keyed;
mod md5_crypt;
mod memory;
mod pbkdf2;
mod phpass;
mod postgresql;
mod prepared;
mod saslprep;
mod scrypt;
mod sha1_crypt;
mod sha_crypt;
mod sun_md5;
mod yescrypt;

pub use after_preparation::AfterPreparation;
pub use argon2::{Argon2, Variant};
pub use bcrypt::{Bcrypt, OUTPUT_BYTES as BCRYPT_OUTPUT_BYTES, Prehash};
pub use database::{Mysql41, SqlServer};
pub use des_crypt::DesCrypt;
pub use digest::{Digest, Hash, SaltAt};
pub use firebase::Firebase;
pub use fshp::Fshp;
pub use keyed::Keyed;
pub use md5_crypt::Md5Crypt;
pub use pbkdf2::{Pbkdf2, Prf};
pub use phpass::{Phpass, Rounds};
pub use postgresql::{PgMd5, Scram};
pub use prepared::Prepared;
pub use scrypt::{Cost, Scrypt};
pub use sha_crypt::{ShaCrypt, Size};
pub use sha1_crypt::{OUTPUT_BYTES as SHA1_CRYPT_OUTPUT_BYTES, Sha1Crypt};
pub use sun_md5::SunMd5;
pub use yescrypt::Yescrypt;

use zeroize::Zeroizing;

use crate::fields::Fields;
use crate::{Argon2id, Limits, OutOfMemory, Output, Refusal};

/// An algorithm with parameters that may still be impossible or above the ceilings. It must not be
/// computed before [`Method::check`] has accepted it.
pub trait Method: Send + Sync {
    /// The name, unique among all computations.
    fn name(&self) -> &'static str;

    /// The parameters and salts that the computation depends on.
    fn fields(&self) -> Fields<'static>;

    /// Checks that it can be computed within these limits.
    fn check(&self, limits: &Limits) -> Result<(), Refusal>;

    /// Computes what the other system would have stored.
    fn compute(&self, password: &[u8], user_id: &str) -> Result<Output, OutOfMemory>;

    /// What must be kept of the method after this password was right. NUL bytes need no thought,
    /// because typed passwords have none.
    fn remainder(&self, password: &[u8]) -> Remainder;

    /// A copy that keeps this user name; `None` if no name is part of the computation.
    fn keeping_name(&self, _: &str) -> Option<Box<dyn Method>> {
        None
    }

    /// Whether its output must be wrapped.
    fn is_fast(&self) -> bool {
        true
    }

    /// The memory of one computation, in KiB.
    fn memory_kib(&self) -> u32 {
        0
    }

    /// The parameters, if it is Argon2id v1.3.
    fn as_argon2id(&self) -> Option<Argon2id<'_>> {
        None
    }
}

/// What must be kept of a method, so that every password that it accepts stays right until the next
/// change: what was typed once need not be what the owner takes for the password.
pub enum Remainder {
    /// Nothing: finding another password with the same output is infeasible.
    Nothing,
    All,
    Part(Box<dyn Method>),
}

/// Reads the fields of the methods in one file; `None` if the name is not one of them.
type Read = fn(&str, &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal>;

const READERS: [Read; 21] = [
    AfterPreparation::read,
    Argon2::read,
    Bcrypt::read,
    DesCrypt::read,
    Digest::read,
    Firebase::read,
    Fshp::read,
    Keyed::read,
    Md5Crypt::read,
    Mysql41::read,
    Pbkdf2::read,
    PgMd5::read,
    Phpass::read,
    Prepared::read,
    Scram::read,
    Scrypt::read,
    Sha1Crypt::read,
    ShaCrypt::read,
    SqlServer::read,
    SunMd5::read,
    Yescrypt::read,
];

/// Reads the method with this name from its fields.
pub fn read(name: &str, fields: &Fields<'_>) -> Result<Box<dyn Method>, Refusal> {
    for read in READERS {
        if let Some(method) = read(name, fields)? {
            return Ok(method);
        }
    }
    Err(Refusal::UnsupportedFormat)
}

/// What a C program sees of a password: the bytes before the first NUL.
fn c_string(password: &[u8]) -> &[u8] {
    password.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The item of `all` with this name.
fn by_name<T: Copy>(all: &[T], name: &str, of: impl Fn(T) -> &'static str) -> Option<T> {
    all.iter().copied().find(|&one| of(one) == name)
}

/// Writes lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    Zeroizing::new(bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// Trims a text like PHP's `trim`.
fn trim(mut text: &[u8]) -> &[u8] {
    const SPACE: &[u8] = b" \t\n\r\0\x0b";
    while let [first, rest @ ..] = text
        && SPACE.contains(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && SPACE.contains(last)
    {
        text = rest;
    }
    text
}
