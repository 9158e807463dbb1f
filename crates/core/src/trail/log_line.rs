//! Lines of the server log that a login cannot forge: each carries a number and a MAC.
//!
//! `RAISE LOG 'password_verify: {…}'` makes a line that looks like ours to a reader or to `grep`.
//! The MAC uses a key of its own, so that nothing else that is signed can pass for a line. Without
//! a keyring it is a plain hash, which shows only careless changes. Numbers count up from server
//! start: a line copied from another time repeats a number, and a removed line leaves a gap.

use subtle::ConstantTimeEq;

use crate::kept::keyring::{in_ids, is_id};
use crate::rules::account::Timestamp;
use crate::trail::chain::{ChainKey, hex, unhex};

/// The beginning of every line.
pub const PREFIX: &str = "password_verify: ";
/// The longest line, in bytes. Longer texts are not parsed.
pub const MAX_LINE: usize = 16 * 1024;

/// Prefix of the hashed text. A new form of line needs a new version.
const VERSION: &str = "log line v1 ";

/// Makes the whole line. `fields` are members of a JSON object in ASCII, without braces in a string. The last of them may
/// be an object that is still open: then it has the signature, and is closed behind it.
pub fn sign(
    fields: &str,
    started: Timestamp,
    number: u64,
    id: Option<&str>,
    key: &ChainKey,
) -> String {
    // A character that no id may have becomes `?`, which no reader accepts: no need to quote.
    let id = id.map_or_else(
        || "null".to_owned(),
        |id| {
            let id: String = id.chars().map(|c| if in_ids(c) { c } else { '?' }).collect();
            format!(r#""{id}""#)
        },
    );
    let signed = format!(r#"{{{fields},"server":{started},"line":{number},"key":{id}"#);
    let (mac, end) = (hex(&mac(key, &signed)), "}".repeat(open_objects(&signed)));
    format!(r#"{PREFIX}{signed},"line_mac":"{mac}"{end}"#)
}

/// How many objects have begun and not ended. Strings have no braces.
fn open_objects(signed: &str) -> usize {
    let count = |brace| signed.matches(brace).count();
    count('{').saturating_sub(count('}'))
}

fn mac(key: &ChainKey, signed: &str) -> [u8; 32] {
    key.mac(format!("{VERSION}{signed}").as_bytes())
}

/// A JSON string in ASCII and without braces, so that text chosen by a login can neither end the
/// line nor imitate another.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    put_json(&mut out, text);
    out
}

/// Appends what [`json`] makes.
pub fn put_json(out: &mut String, text: &str) {
    out.push('"');
    let stays = |byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'z');
    if text.bytes().all(stays) {
        out.push_str(text);
    } else {
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if stays(byte) => out.push(byte.into()),
                _ => out.push_str(&format!("\\u{unit:04x}")),
            }
        }
    }
    out.push('"');
}

/// A text in the form of a line, not yet verified.
pub struct Line<'a> {
    signed: &'a str,
    key: Option<&'a str>,
    mac: [u8; 32],
}

impl<'a> Line<'a> {
    /// Parses a line; a prefix such as the time and `LOG:` is ignored. `None`: the text is not a
    /// line of ours.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_LINE {
            return None;
        }
        let start = text.rfind("password_verify: {")? + PREFIX.len();
        let object = text[start..].trim_end();
        let (signed, rest) = object.rsplit_once(r#","line_mac":""#)?;
        let (mac, end) = rest.split_once('"')?;
        if end != "}".repeat(open_objects(signed)) {
            return None;
        }
        let (_, key) = signed.rsplit_once(r#","key":"#)?;
        let key = match key {
            "null" => None,
            id => Some(id.strip_prefix('"')?.strip_suffix('"').filter(|id| is_id(id))?),
        };
        Some(Self { signed, key, mac: unhex(mac)? })
    }

    /// The id of the key that the line claims to be signed with.
    pub const fn key(&self) -> Option<&'a str> {
        self.key
    }

    /// Whether this key made the line as it is. Compares in constant time.
    pub fn is_genuine(&self, key: &ChainKey) -> bool {
        mac(key, self.signed).ct_eq(&self.mac).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::keyring::Keyring;

    fn key(byte: &str) -> ChainKey {
        let text = format!("k1:{}=\n", byte.repeat(43));
        ChainKey::for_log(Keyring::parse(&text).unwrap().active().1)
    }

    #[test]
    fn a_line_is_known_wherever_it_stands() {
        let line = sign(r#""audit":"head","seq":7"#, -5, 12, Some("k1"), &key("A"));
        let start = r#"password_verify: {"audit":"head","seq":7,"server":-5,"line":12,"key":"k1","line_mac":""#;
        assert!(line.starts_with(start), "{line}");
        for text in [
            line.clone(),
            format!("{line}\n"),
            format!("2026-01-01 UTC [7] password_verify: {{x LOG:  {line}  "),
        ] {
            let parsed = Line::parse(&text).unwrap();
            assert_eq!(parsed.key(), Some("k1"));
            assert!(parsed.is_genuine(&key("A")), "{text}");
            assert!(!parsed.is_genuine(&key("E")), "another key");
            assert!(!parsed.is_genuine(&ChainKey::Plain), "no key");
        }
    }

    #[test]
    fn an_object_that_is_still_open_has_the_signature() {
        let line = sign(r#""event":{"id":"1.2"},"ours":{"count":1"#, 5, 12, None, &ChainKey::Plain);
        assert!(line.ends_with(r#""}}"#), "{line}");
        assert!(Line::parse(&line).unwrap().is_genuine(&ChainKey::Plain));
        for changed in [format!("{line}}}"), line[..line.len() - 1].to_owned()] {
            assert!(Line::parse(&changed).is_none(), "{changed}");
        }
    }

    #[test]
    fn a_changed_line_is_not_genuine() {
        let line = sign(r#""seq":7"#, 1, 12, None, &ChainKey::Plain);
        assert!(Line::parse(&line).unwrap().is_genuine(&ChainKey::Plain));
        for (from, to) in [
            ("\"seq\":7", "\"seq\":8"),
            ("\"line\":12", "\"line\":13"),
            ("\"server\":1", "\"server\":2"),
            ("\"key\":null", "\"key\":\"k1\""),
            ("{\"seq\"", "{ \"seq\""),
        ] {
            let changed = line.replace(from, to);
            assert_ne!(changed, line);
            assert!(!Line::parse(&changed).unwrap().is_genuine(&ChainKey::Plain), "{changed}");
        }
    }

    #[test]
    fn what_has_another_form_is_none_of_ours() {
        let line = sign(r#""seq":7"#, 1, 12, None, &ChainKey::Plain);
        for text in [
            String::new(),
            "password_verify: {}".into(),
            line.replace("password_verify: ", "password_verify:"),
            line[..line.len() - 1].to_owned(),
            line.replace("\"}", "00\"}"),
            line.replace("\"key\":null", "\"key\":k1"),
            format!("{line}x"),
            format!("{}{line}", "x".repeat(MAX_LINE)),
        ] {
            assert!(Line::parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_mac_of_the_audit_is_none_of_a_line() {
        let text = format!("k1:{}=\n", "A".repeat(43));
        let ring = Keyring::parse(&text).unwrap();
        let line = sign(r#""seq":7"#, 1, 12, Some("k1"), &ChainKey::from(ring.active().1));
        assert!(!Line::parse(&line).unwrap().is_genuine(&key("A")));
    }
}
