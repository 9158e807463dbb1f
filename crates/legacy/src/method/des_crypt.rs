//! crypt(3) of Unix since 1979, and BSDi's extension of it.

use zeroize::Zeroizing;

use super::des::Key;
use super::{Method, Remainder, by_name, c_string};
use crate::fields::Fields;
use crate::limits::{ceiling, floor};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// Length of the output in bytes.
pub const OUTPUT_BYTES: usize = 8;
/// Rounds of the traditional hash.
const TRADITIONAL_ROUNDS: u32 = 25;

/// crypt(3) with DES. Only seven bits of each byte of a password count.
pub struct DesCrypt {
    /// BSDi's `_`: passwords of any length, and this many rounds. `None`: traditional, only eight
    /// bytes of a password count.
    pub extended: Option<u32>,
    /// 24 bits; 12 in the traditional hash.
    pub salt: u32,
}

fn name(extended: bool) -> &'static str {
    if extended { "xdes-crypt" } else { "des-crypt" }
}

impl DesCrypt {
    pub fn read(text: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(extended) = by_name(&[false, true], text, name) else { return Ok(None) };
        let [] = fields.blobs()?;
        Ok(Some(Box::new(if extended {
            let [rounds, salt] = fields.numbers(["rounds", "salt"])?;
            Self { extended: Some(rounds), salt }
        } else {
            let [salt] = fields.numbers(["salt"])?;
            Self { extended: None, salt }
        })))
    }
}

impl Method for DesCrypt {
    fn name(&self) -> &'static str {
        name(self.extended.is_some())
    }

    fn fields(&self) -> Fields<'static> {
        match self.extended {
            Some(rounds) => Fields::new().number("rounds", rounds),
            None => Fields::new(),
        }
        .number("salt", self.salt)
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        let (rounds, bits) = self.extended.map_or((TRADITIONAL_ROUNDS, 12), |rounds| (rounds, 24));
        ceiling(rounds, limits.des_rounds.min((1 << 24) - 1))?;
        floor(rounds, 1u32)?;
        if self.salt >> bits == 0 { Ok(()) } else { Err(Refusal::Malformed) }
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let (first, rest) = eight(c_string(password));
        let mut key = Key::new(*first);
        if self.extended.is_some() {
            let (mut bits, mut rest) = (first, rest);
            // The next key is the key encrypted with itself, XORed with the next eight bytes.
            while !rest.is_empty() {
                let (next, after) = eight(rest);
                *bits = key.encrypt(*bits, 0, 1) ^ *next;
                key = Key::new(*bits);
                rest = after;
            }
        }
        let block =
            Zeroizing::new(key.encrypt(0, self.salt, self.extended.unwrap_or(TRADITIONAL_ROUNDS)));
        Ok(filled(OUTPUT_BYTES, |out| out.copy_from_slice(&block.to_be_bytes())))
    }

    /// With seven bits of each byte, every password has others with the same output.
    fn remainder(&self, _: &[u8]) -> Remainder {
        Remainder::All
    }
}

/// Eight bytes as a key, each shifted over its parity bit, and the bytes after them.
fn eight(text: &[u8]) -> (Zeroizing<u64>, &[u8]) {
    let (now, after) = text.split_at(text.len().min(8));
    let mut key = Zeroizing::new(0);
    for i in 0..8 {
        *key = *key << 8 | u64::from(now.get(i).unwrap_or(&0) << 1);
    }
    (key, after)
}
