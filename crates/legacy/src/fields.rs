//! The canonical text of a scheme: `name$key=value,key=value$blob$blob`.
//!
//! Numbers are decimal, blobs are base64 without padding. Only the canonical text is accepted: a
//! text is parsed leniently and then compared with what would be written.

use base64ct::{Base64Unpadded, Encoding};

use crate::Refusal;

/// The parameters of a scheme, in order, and its salts.
#[derive(Default)]
pub struct Fields<'a> {
    numbers: Vec<(&'a str, u32)>,
    blobs: Vec<Vec<u8>>,
}

impl<'a> Fields<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn number(mut self, key: &'a str, value: u32) -> Self {
        self.numbers.push((key, value));
        self
    }

    pub fn blob(mut self, bytes: &[u8]) -> Self {
        self.blobs.push(bytes.to_vec());
        self
    }

    pub fn render(&self, name: &str) -> String {
        let numbers: Vec<_> = self.numbers.iter().map(|(key, n)| format!("{key}={n}")).collect();
        let mut text = format!("{name}${}", numbers.join(","));
        for blob in &self.blobs {
            text.push('$');
            text.push_str(&Base64Unpadded::encode_string(blob));
        }
        text
    }

    /// Splits a text into the name and its fields.
    pub fn read(text: &'a str) -> Result<(&'a str, Self), Refusal> {
        let mut parts = text.split('$');
        let (Some(name), Some(numbers)) = (parts.next(), parts.next()) else {
            return Err(Refusal::Malformed);
        };
        let numbers = numbers
            .split(',')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').and_then(|(key, n)| Some((key, n.parse().ok()?))))
            .collect::<Option<_>>();
        let blobs = parts.map(|blob| Base64Unpadded::decode_vec(blob).ok()).collect::<Option<_>>();
        match (numbers, blobs) {
            (Some(numbers), Some(blobs)) => Ok((name, Self { numbers, blobs })),
            _ => Err(Refusal::Malformed),
        }
    }

    /// The parameters, which must be exactly these in this order.
    pub fn numbers<const N: usize>(&self, keys: [&str; N]) -> Result<[u32; N], Refusal> {
        if !self.numbers.iter().map(|&(key, _)| key).eq(keys) {
            return Err(Refusal::Malformed);
        }
        let values: Vec<u32> = self.numbers.iter().map(|&(_, n)| n).collect();
        values.try_into().map_err(|_| Refusal::Malformed)
    }

    /// The salts, which must be exactly N.
    pub fn blobs<const N: usize>(&self) -> Result<[Vec<u8>; N], Refusal> {
        self.blobs.clone().try_into().map_err(|_| Refusal::Malformed)
    }

    /// The length of the longest salt in bytes.
    pub fn longest_blob(&self) -> usize {
        self.blobs.iter().map(Vec::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = Fields::new().number("i", 7).number("l", 32).blob(b"salt").blob(b"").render("x");
        assert_eq!(text, "x$i=7,l=32$c2FsdA$");
        let (name, fields) = Fields::read(&text).ok().unwrap();
        assert_eq!((name, fields.numbers(["i", "l"])), ("x", Ok([7, 32])));
        assert_eq!(fields.blobs(), Ok([b"salt".to_vec(), vec![]]));
    }

    #[test]
    fn what_is_not_fields_is_malformed() {
        for text in ["", "x", "x$i", "x$i=", "x$i=-1", "x$i=4294967296", "x$$c2FsdA=", "x$$c2FsdB"]
        {
            assert!(Fields::read(text).is_err(), "{text}");
        }
        let (_, fields) = Fields::read("x$i=7,l=32$c2FsdA").ok().unwrap();
        assert!(fields.numbers(["i"]).is_err());
        assert!(fields.numbers(["l", "i"]).is_err());
        assert!(fields.blobs::<2>().is_err());
    }
}
