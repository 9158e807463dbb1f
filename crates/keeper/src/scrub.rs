//! What a server was shown does not come back in what it sends: the secret, and its base64 forms, become asterisks.
//!
//! A mail that quotes the password in the clear, or a server that echoes it, would otherwise hand it to the application.
//! It is no wall against a server that wants to pass it on: that one knows it, and may send it elsewhere.

use base64ct::{Base64Unpadded, Encoding};
use password_verify_core::rules::secret::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

/// Shorter ones would be found everywhere.
const SHORTEST: usize = 8;

/// What is looked for.
pub struct Scrub(Vec<Zeroizing<Vec<u8>>>);

impl Scrub {
    /// Everything that looks like this secret.
    pub fn of(secret: &Secret) -> Self {
        let plain = secret.expose().as_bytes();
        if plain.len() < SHORTEST {
            return Self(Vec::new());
        }
        let encoded = (0..3).map(|before| within_base64(plain, before));
        Self(encoded.chain([Zeroizing::new(plain.to_vec())]).collect())
    }

    /// Overwrites it. The length stays, and with it whatever counts bytes.
    pub fn clean(&self, bytes: &mut [u8]) {
        for needle in &self.0 {
            let mut from = 0;
            while let Some(rest) = bytes.get_mut(from..) {
                let Some(at) = find(rest, needle) else { break };
                rest[at..at + needle.len()].fill(b'*');
                from += at + needle.len();
            }
        }
    }
}

impl Scrub {
    /// The same in what was decoded by now, but for `raw`, which is base64 of what was cleaned before.
    pub fn clean_decoded(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let mut bytes = std::mem::take(text).into_bytes();
                self.clean(&mut bytes);
                // What is overwritten is whole characters.
                *text = String::from_utf8(bytes).unwrap_or_default();
            }
            Value::Array(all) => all.iter_mut().for_each(|it| self.clean_decoded(it)),
            Value::Object(all) => {
                let decoded = all.iter_mut().filter(|(key, _)| *key != "raw");
                decoded.for_each(|(_, it)| self.clean_decoded(it));
            }
            _ => {}
        }
    }
}

/// The characters of base64 that depend on these bytes only, if so many others are before them.
fn within_base64(plain: &[u8], before: usize) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(vec![0; before]);
    padded.reserve_exact(plain.len());
    padded.extend_from_slice(plain);
    let text = Zeroizing::new(Base64Unpadded::encode_string(&padded));
    let (first, last) = ((8 * before).div_ceil(6), 8 * padded.len() / 6);
    Zeroizing::new(text.as_bytes()[first..last].to_vec())
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|it| *it == first)?;
        if bytes[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cleaned(secret: &str, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        Scrub::of(&Secret::new(secret.into())).clean(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn it_is_overwritten_wherever_it_is() {
        assert_eq!(cleaned("tr0ub4dor", "a tr0ub4dor, tr0ub4dor!"), "a *********, *********!");
        assert_eq!(cleaned("tr0ub4dor", "tr0ub4do"), "tr0ub4do");
        // Too short to be told from other words.
        assert_eq!(cleaned("monday", "on monday"), "on monday");
    }

    #[test]
    fn what_was_decoded_is_cleaned_and_what_is_raw_is_left() {
        let scrub = Scrub::of(&Secret::new("tr0ub4dor".into()));
        let raw = Base64Unpadded::encode_string(b"it was tr0ub4dor");
        let mut mail = serde_json::json!({"a": [{"b": "ü tr0ub4dor"}], "n": 1, "raw": raw});
        scrub.clean_decoded(&mut mail);
        assert_eq!(mail, serde_json::json!({"a": [{"b": "ü *********"}], "n": 1, "raw": raw}));
    }

    proptest! {
        #[test]
        fn no_base64_of_it_with_anything_around_stays(
            secret in "[a-zA-Z0-9!ü]{8,40}",
            before in proptest::collection::vec(any::<u8>(), 0..10),
            after in proptest::collection::vec(any::<u8>(), 0..10),
        ) {
            let whole = [&before, secret.as_bytes(), &after].concat();
            let mut bytes = Base64Unpadded::encode_string(&whole).into_bytes();
            Scrub::of(&Secret::new(secret.clone())).clean(&mut bytes);
            // What is left of it is less than two bytes at each end.
            let stars = bytes.iter().filter(|it| **it == b'*').count();
            prop_assert!(stars * 6 / 8 >= secret.len() - 2, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
