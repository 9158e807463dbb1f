//! The computations. Each file has one, its parameters and its ceilings.

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

/// An algorithm with parameters that may still be impossible or above the ceilings: only what
/// [`Method::check`] has accepted is computed.
pub trait Method: Send + Sync {
    /// A name that no other computation has.
    fn name(&self) -> &'static str;

    /// Everything else that the computation depends on.
    fn fields(&self) -> Fields<'static>;

    /// Can it be computed, and within these limits?
    fn check(&self, limits: &Limits) -> Result<(), Refusal>;

    /// What the other system would have stored.
    fn compute(&self, password: &[u8], user_id: &str) -> Result<Output, OutOfMemory>;

    /// What has to be kept of it once this has been the right password. Bytes of zero need no thought: there
    /// are none in a password that is typed.
    fn remainder(&self, password: &[u8]) -> Remainder;

    /// The same with the name that it is computed with in it; `None` where no name is part of it.
    fn keeping_name(&self, _: &str) -> Option<Box<dyn Method>> {
        None
    }

    /// Must its output be wrapped?
    fn is_fast(&self) -> bool {
        true
    }

    /// Memory of one computation, in KiB.
    fn memory_kib(&self) -> u32 {
        0
    }

    /// Its parameters if it is Argon2id v1.3.
    fn as_argon2id(&self) -> Option<Argon2id<'_>> {
        None
    }
}

/// What has to be kept of a method, so that whoever it let in is let in for as long as the password stays: what
/// was typed once need not be what its owner believes the password to be.
pub enum Remainder {
    /// Nothing: no other password that anybody could find gives the same output.
    Nothing,
    /// All of it.
    All,
    /// This is enough.
    Part(Box<dyn Method>),
}

/// What reads the fields of a file's methods; `None` where the name is not one of them.
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

/// The method of this name with these fields.
pub fn read(name: &str, fields: &Fields<'_>) -> Result<Box<dyn Method>, Refusal> {
    for read in READERS {
        if let Some(method) = read(name, fields)? {
            return Ok(method);
        }
    }
    Err(Refusal::UnsupportedFormat)
}

/// What a C program sees of a password: it ends before the first NUL.
fn c_string(password: &[u8]) -> &[u8] {
    password.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// One of `all` by its name.
fn by_name<T: Copy>(all: &[T], name: &str, of: impl Fn(T) -> &'static str) -> Option<T> {
    all.iter().copied().find(|&one| of(one) == name)
}

/// Small hexadecimal letters.
fn hex(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    Zeroizing::new(bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// What PHP's `trim` leaves.
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
