//! phpass (WordPress before 6.8, phpBB and many others), and Drupal 7.

use super::{Found, need};
use crate::codec::{crypt_digit, crypt_le};
use crate::method::{Phpass, Rounds};
use crate::{Refusal, Site};

/// `$P$` (phpBB: `$H$`), one character of log2 of the rounds, 8 of salt, 22 of output.
pub fn phpass(text: &str, _: &Site) -> Result<Found, Refusal> {
    let output = need(text.get(12..).and_then(crypt_le).filter(|output| output.len() == 16))?;
    Ok(Found::new(method(Rounds::Md5, text)?, output))
}

/// `$S$` with the same parts, but 43 characters of output. `U` before it: updated from Drupal 6.
pub fn drupal(text: &str, _: &Site) -> Result<Found, Refusal> {
    let (rounds, text) = match text.strip_prefix('U') {
        Some(rest) => (Rounds::Sha512OfMd5, rest),
        None => (Rounds::Sha512, text),
    };
    let output = need(text.get(12..).filter(|output| output.len() == 43))?;
    // The text was cut. A zero digit completes it to 33 bytes, two bits of the last one being real.
    let output = need(crypt_le(&format!("{output}.")))?;
    Ok(Found::new(method(rounds, text)?, output))
}

fn method(rounds: Rounds, text: &str) -> Result<Phpass, Refusal> {
    let bytes = text.as_bytes();
    let log2 = need(bytes.get(3).and_then(|&c| crypt_digit(c)))?;
    let salt = need(bytes.get(4..12).and_then(|salt| salt.try_into().ok()))?;
    Ok(Phpass { rounds, log2, salt })
}
