//! md5-crypt (Poul-Henning Kamp, FreeBSD 2.0, 1994) and Apache's variant of it.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::{Method, Remainder, by_name, c_string};
use crate::fields::Fields;
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// Length of the output in bytes.
pub const OUTPUT_BYTES: usize = 16;
/// The longest salt, in bytes.
pub const MAX_SALT_BYTES: usize = 8;
/// The number of rounds, which is fixed.
const ROUNDS: u32 = 1000;
/// The order in which the bytes of a digest are written.
const ORDER: [usize; OUTPUT_BYTES] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];

pub struct Md5Crypt {
    /// Apache's variant, which hashes `$apr1$` instead of `$1$`.
    pub apache: bool,
    /// The characters of the salt, not decoded.
    pub salt: Vec<u8>,
}

fn name(apache: bool) -> &'static str {
    if apache { "apr1" } else { "md5-crypt" }
}

impl Md5Crypt {
    pub fn read(text: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(apache) = by_name(&[false, true], text, name) else { return Ok(None) };
        let [] = fields.numbers([])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { apache, salt })))
    }
}

impl Method for Md5Crypt {
    fn name(&self) -> &'static str {
        name(self.apache)
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().blob(&self.salt)
    }

    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        if self.salt.len() > MAX_SALT_BYTES { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// The digest, in the order in which its bytes are written.
    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let (password, salt) = (c_string(password), self.salt.as_slice());
        let digest = Zeroizing::new(self.rounds(password, &self.first(password, salt), salt));
        Ok(filled(OUTPUT_BYTES, |out| out.copy_from_slice(&*written(&digest))))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}

impl Md5Crypt {
    fn first(&self, password: &[u8], salt: &[u8]) -> Zeroizing<[u8; 16]> {
        let magic: &[u8] = if self.apache { b"$apr1$" } else { b"$1$" };
        let mut inner = Md5::new().chain_update(password).chain_update(salt);
        inner.update(password);
        let inner = Zeroizing::new(<[u8; 16]>::from(inner.finalize()));
        let mut outer = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
        for part in password.chunks(inner.len()) {
            outer.update(&inner[..part.len()]);
        }
        // For each bit of the length a zero byte or the first byte of the password: a slip of 1994
        // that became the format.
        let mut length = password.len();
        while length > 0 {
            outer.update(if length & 1 == 1 { b"\0" } else { &password[..1] });
            length >>= 1;
        }
        Zeroizing::new(outer.finalize().into())
    }

    fn rounds(&self, password: &[u8], first: &[u8; 16], salt: &[u8]) -> [u8; 16] {
        let mut digest = Zeroizing::new(*first);
        for round in 0..ROUNDS {
            let odd = round % 2 == 1;
            let mut hash = Md5::new();
            hash.update(if odd { password } else { digest.as_slice() });
            if round % 3 != 0 {
                hash.update(salt);
            }
            if round % 7 != 0 {
                hash.update(password);
            }
            hash.update(if odd { digest.as_slice() } else { password });
            *digest = hash.finalize().into();
        }
        *digest
    }
}

/// An MD5 digest in the order in which crypt(3) writes its bytes.
pub fn written(digest: &[u8; OUTPUT_BYTES]) -> Zeroizing<[u8; OUTPUT_BYTES]> {
    Zeroizing::new(ORDER.map(|from| digest[from]))
}
