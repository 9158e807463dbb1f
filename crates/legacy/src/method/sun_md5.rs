//! MD5 of Solaris (crypt_sunmd5, Alec Muffett, 2002), which hashes Hamlet's soliloquy at random.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::md5_crypt::written;
use super::{Method, Remainder, c_string};
use crate::fields::Fields;
use crate::limits::ceiling;
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// Rounds in addition to those that the text names.
const BASIC_ROUNDS: u32 = 4096;
/// Act 3, scene 1, from Project Gutenberg. It is hashed as a C string, with its NUL.
const SOLILOQUY: &[u8] = include_bytes!("hamlet.txt");

pub struct SunMd5 {
    /// Rounds in addition to the first 4096.
    pub rounds: u32,
    /// The text before the output, without the `$` in front of that.
    pub salt: Vec<u8>,
}

impl SunMd5 {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        if name != "sun-md5-crypt" {
            return Ok(None);
        }
        let [rounds] = fields.numbers(["rounds"])?;
        let [salt] = fields.blobs()?;
        Ok(Some(Box::new(Self { rounds, salt })))
    }
}

impl Method for SunMd5 {
    fn name(&self) -> &'static str {
        "sun-md5-crypt"
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().number("rounds", self.rounds).blob(&self.salt)
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        ceiling(self.rounds, limits.sun_md5_rounds)
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let first = Md5::new().chain_update(c_string(password)).chain_update(&self.salt);
        let mut digest = Zeroizing::new(<[u8; 16]>::from(first.finalize()));
        for round in 0..BASIC_ROUNDS.saturating_add(self.rounds) {
            let mut hash = Md5::new().chain_update(*digest);
            if heads(&digest, round) {
                hash.update(SOLILOQUY);
                hash.update([0]);
            }
            hash.update(round.to_string());
            *digest = hash.finalize().into();
        }
        Ok(filled(digest.len(), |out| out.copy_from_slice(&*written(&digest))))
    }

    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::Nothing
    }
}

/// A bit of the digest. `number` counts modulo 128.
fn bit(digest: &[u8; 16], number: u32) -> bool {
    digest[(number >> 3) as usize & 15] >> (number & 7) & 1 == 1
}

/// The coin toss of a round: two bits of the digest, whose positions depend on other bits of it.
fn heads(digest: &[u8; 16], round: u32) -> bool {
    let place = |start: usize, shifted: bool| {
        let start = start + usize::from(shifted);
        (0..7).fold(0, |place, i| place | u32::from(chosen(digest, start + i)) << i)
    };
    let x = place(0, bit(digest, round));
    let y = place(8, bit(digest, round.wrapping_add(64)));
    bit(digest, x) != bit(digest, y)
}

/// The bit that a byte and the third byte after it select.
fn chosen(digest: &[u8; 16], at: usize) -> bool {
    let (a, b) = (digest[at & 15], digest[(at + 3) & 15]);
    let v = digest[usize::from(a >> (b % 5)) & 15] >> (b >> (a & 7) & 1);
    bit(digest, v.into())
}
