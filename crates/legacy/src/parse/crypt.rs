//! crypt(3): glibc, libxcrypt, the BSDs, pgcrypto, and Apache's variant of MD5.

use super::{Found, length, need, parts};
use crate::codec::{crypt_be, crypt_digit, crypt_le, crypt_number, decimal};
use crate::method::{
    Cost, DesCrypt, Md5Crypt, SHA1_CRYPT_OUTPUT_BYTES, Scrypt, Sha1Crypt, ShaCrypt, Size, SunMd5,
    Yescrypt,
};
use crate::{Refusal, Site};

/// The rounds of SHA-crypt if the text names none.
const SHA_ROUNDS: u32 = 5000;

/// 13 characters: two of salt, eleven of output.
pub fn des(text: &str) -> Option<Found> {
    if text.len() != 13 {
        return None;
    }
    let (salt, output) = text.split_at_checked(2)?;
    let (salt, output) = (crypt_number(salt.as_bytes())?, crypt_be(output)?);
    Some(Found::new(DesCrypt { extended: None, salt }, output))
}

/// `_`, four characters of rounds, four of salt, eleven of output.
pub fn xdes(text: &str, _: &Site) -> Result<Found, Refusal> {
    let (numbers, output) = need(text.split_at_checked(9).filter(|_| text.len() == 20))?;
    let number = |from: usize| crypt_number(&numbers.as_bytes()[from..from + 4]);
    let (rounds, salt) = (need(number(1))?, need(number(5))?);
    Ok(Found::new(DesCrypt { extended: Some(rounds), salt }, need(crypt_be(output))?))
}

/// `$1$salt$output` or `$apr1$salt$output`
pub fn md5(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, name, salt, output] = parts(text, '$')?;
    let method = Md5Crypt { apache: name == "apr1", salt: salt.into() };
    Ok(Found::new(method, exactly(16, output)?))
}

/// NetBSD: `$sha1$rounds$salt$output`
pub fn sha1(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, rounds, salt, output] = parts(text, '$')?;
    let method = Sha1Crypt { rounds: need(decimal(rounds))?, salt: salt.into() };
    Ok(Found::new(method, exactly(SHA1_CRYPT_OUTPUT_BYTES, output)?))
}

/// Solaris: `$md5$salt$$output`, `$md5,rounds=904$salt$$output`, or one dollar after a salt that
/// was cut short. Everything before the last dollar is hashed.
pub fn sun_md5(text: &str, _: &Site) -> Result<Found, Refusal> {
    let (config, output) = need(text.rsplit_once('$'))?;
    let [_, name, salt] = parts(config.strip_suffix('$').unwrap_or(config), '$')?;
    let rounds = match name.strip_prefix("md5,rounds=") {
        Some(rounds) => need(decimal(rounds).filter(|&rounds| rounds > 0))?,
        None if name == "md5" => 0,
        None => return Err(Refusal::Malformed),
    };
    if !salt.bytes().all(|c| crypt_digit(c).is_some()) {
        return Err(Refusal::Malformed);
    }
    Ok(Found::new(SunMd5 { rounds, salt: config.into() }, exactly(16, output)?))
}

/// `$5$salt$output`, `$6$rounds=100000$salt$output`
pub fn sha(text: &str, _: &Site) -> Result<Found, Refusal> {
    let size = if text.starts_with("$5$") { Size::Sha256 } else { Size::Sha512 };
    let rest = need(text.get(3..))?;
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = need(rest.split_once('$'))?;
            (need(decimal(rounds))?, rest)
        }
        None => (SHA_ROUNDS, rest),
    };
    let [salt, output] = parts(rest, '$')?;
    let method = ShaCrypt { size, rounds, salt: salt.into() };
    Ok(Found::new(method, exactly(size.bytes(), output)?))
}

/// `$7$`, one character of log N, five of r, five of p, the salt as it is, `$`, 43 characters of output.
pub fn scrypt(text: &str, _: &Site) -> Result<Found, Refusal> {
    let (head, output) = need(text.rsplit_once('$'))?;
    let params = need(head.as_bytes().get(3..14))?;
    let log_n = need(crypt_digit(params[0]))?;
    let (r, p) = (need(crypt_number(&params[1..6]))?, need(crypt_number(&params[6..]))?);
    let (salt, output) = (head.as_bytes()[14..].to_vec(), exactly(32, output)?);
    Ok(Found::new(Scrypt { cost: Cost { log_n, r, p }, length: length(&output), salt }, output))
}

/// `$y$`, parameters, `$`, salt, `$`, 43 characters of output.
pub fn yescrypt(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, params, salt, output] = parts(text, '$')?;
    let mut digits = params.bytes();
    let mut number = |least| need(variable(&mut digits, least));
    let (flavor, log_n, r) = (number(0)?, number(1)?, number(1)?);
    let (mut p, mut t) = (1, 0);
    if digits.len() > 0 {
        let mut number = |least| need(variable(&mut digits, least));
        let have = number(1)?;
        if have & 1 != 0 {
            p = number(2)?;
        }
        if have & 2 != 0 {
            t = number(1)?;
        }
        // Upgraded hashes and hashes with a ROM: no system makes them, and no crate computes them.
        if have & !3 != 0 {
            return Err(Refusal::UnsupportedFormat);
        }
    }
    if digits.len() > 0 {
        return Err(Refusal::Malformed);
    }
    let (salt, output) = (need(crypt_le(salt))?, exactly(32, output)?);
    Ok(Found::new(Yescrypt { flavor, log_n, r, p, t, salt }, output))
}

/// A number of yescrypt. Its first digit tells how many follow: 48 numbers have one digit, 8 · 64
/// have two, 4 · 64² have three, and so on.
fn variable(digits: &mut std::str::Bytes<'_>, least: u32) -> Option<u32> {
    let first = crypt_digit(digits.next()?)?;
    let (mut start, mut count, mut bits, mut value) = (0, 48, 0, least);
    while first >= start + count {
        value += count << bits;
        start += count;
        count /= if start == 48 { 6 } else { 2 };
        bits += 6;
        if count == 0 {
            return None;
        }
    }
    value += (first - start) << bits;
    while bits > 0 {
        bits -= 6;
        value += crypt_digit(digits.next()?)? << bits;
    }
    Some(value)
}

/// An output of exactly this many bytes, least significant digit first.
fn exactly(bytes: usize, text: &str) -> Result<Vec<u8>, Refusal> {
    need(crypt_le(text).filter(|output| output.len() == bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_variable_length() {
        let number = |text: &str, least| variable(&mut text.bytes(), least);
        assert_eq!((number(".", 0), number("9", 1), number("j", 0)), (Some(0), Some(12), Some(47)));
        assert_eq!((number("k.", 0), number("k/", 0)), (Some(48), Some(49)));
        assert_eq!((number("s..", 0), number("k", 0), number("z", 0)), (Some(560), None, None));
    }
}
