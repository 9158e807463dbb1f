//! The parts of a destination other than names and URLs, each checked by itself.

use base64ct::{Base64, Encoding};
use serde_json::Value;

/// The longest login in bytes: a local part of 64, `@`, and a domain of 255 (RFC 5321 section
/// 4.5.3.1).
const MAX_LOGIN: usize = 320;
const MAX_SCOPES: usize = 32;
/// The longest scope, in bytes.
const MAX_SCOPE: usize = 255;
/// The longest text of certificates, in bytes.
const MAX_CA: usize = 12_288;
const MAX_CERTIFICATES: usize = 8;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// The first byte of a certificate in DER: a SEQUENCE (RFC 5280 section 4.1).
const SEQUENCE: u8 = 0x30;

/// How a secret may be shown to a server of that protocol; `None` for an unknown protocol.
pub(super) fn mechanisms(protocol: &str) -> Option<&'static [&'static str]> {
    match protocol {
        "imaps" | "imap" | "smtps" | "smtp" => {
            Some(&["PLAIN", "LOGIN", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2"])
        }
        "https" => Some(&["BASIC", "BEARER", "OAUTHBEARER"]),
        _ => None,
    }
}

/// Whether a server is shown a token, which the secret only buys at the token endpoint.
pub(super) fn takes_tokens(mechanism: &str) -> bool {
    matches!(mechanism, "OAUTHBEARER" | "XOAUTH2")
}

/// The checked value, which has to be there if it is `wanted`, and must not be otherwise.
///
/// # Errors
/// `why`.
pub(super) fn only_if<E>(
    wanted: bool,
    value: Option<&Value>,
    why: E,
    check: impl FnOnce(&Value) -> Option<Value>,
) -> Result<Option<Value>, E> {
    match (wanted, value) {
        (true, Some(value)) => check(value).map(Some).ok_or(why),
        (false, None) => Ok(None),
        _ => Err(why),
    }
}

/// A login that no line and no field of a protocol ends in.
pub(super) fn is_login(text: &str) -> bool {
    (1..=MAX_LOGIN).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Up to 32 scopes: printable ASCII without space, `"` and `\` (RFC 6749 section 3.3).
pub(super) fn are_scopes(value: &Value) -> bool {
    let is_scope = |text: &str| {
        (1..=MAX_SCOPE).contains(&text.len())
            && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    value.as_array().is_some_and(|scopes| {
        scopes.len() <= MAX_SCOPES
            && scopes.iter().all(|scope| scope.as_str().is_some_and(is_scope))
    })
}

/// 1 to 8 certificates in PEM (RFC 7468 section 5), and nothing else but blank lines around them.
/// Whether they are good for anything shows when they are used.
pub(super) fn is_ca(text: &str) -> bool {
    text.len() <= MAX_CA
        && certificates(text).is_some_and(|count| (1..=MAX_CERTIFICATES).contains(&count))
}

fn certificates(text: &str) -> Option<usize> {
    let mut count = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match line {
            BEGIN => {}
            _ if line.trim_ascii().is_empty() => continue,
            _ => return None,
        }
        let mut body = String::new();
        loop {
            match lines.next()? {
                END => break,
                "" => return None,
                line => body.push_str(line),
            }
        }
        let der = Base64::decode_vec(&body).ok()?;
        der.starts_with(&[SEQUENCE]).then_some(())?;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn logins_and_scopes_have_bounds() {
        for (login, right) in [("a", true), ("", false), ("a\0b", false), ("a\u{7f}", false)] {
            assert_eq!(is_login(login), right);
        }
        assert!(is_login(&"é".repeat(160)) && !is_login(&"a".repeat(321)));
        let scopes = |scope: &str, count| are_scopes(&Value::from(vec![scope; count]));
        assert!(scopes("https://mail.example/.default", 32) && scopes(&"a".repeat(255), 1));
        assert!(!scopes("a", 33) && !scopes(&"a".repeat(256), 1));
        for scope in ["", "a b", "\"", "\\", "ä", "\n", "\u{7f}"] {
            assert!(!scopes(scope, 1), "{scope:?}");
        }
        for other in ["null", "\"a\"", "{}", "[1]", "[[\"a\"]]"] {
            assert!(!are_scopes(&serde_json::from_str(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn certificates_are_blocks_and_nothing_else() {
        let block = format!("{BEGIN}\nMIIB\nAAA=\n{END}\n");
        for (text, right) in [
            (block.clone(), true),
            (block.replace('\n', "\r\n"), true),
            (format!("\n  \n{}", format!("{block}\n").repeat(8)), true),
            (block.trim_end().to_owned(), true),
            (block.repeat(9), false),
            (String::new(), false),
            (format!("x{block}"), false),
            (format!("{block}x"), false),
            (format!("subject=a\n{block}"), false),
            (block.replace(END, ""), false),
            (block.replace(BEGIN, ""), false),
            (block.replace(END, BEGIN), false),
            (block.replace("CERTIFICATE", "PRIVATE KEY"), false),
            (block.replace("AAA=", "AAA"), false),
            (block.replace("AAA=", "AA B"), false),
            (block.replace("AAA=", "AAB="), false),
            (block.replace("AAA=", "\nAAA="), false),
            (block.replace("MIIB", "LIIB"), false),
            (block.replace("MIIB\nAAA=\n", ""), false),
            (block.replace("-----\n", "----- \n"), false),
        ] {
            assert_eq!(is_ca(&text), right, "{text}");
        }
        let long =
            |lines| format!("{BEGIN}\n{}{END}\n", format!("{}\n", "MAAA".repeat(16)).repeat(lines));
        assert!(long(188).len() <= MAX_CA && is_ca(&long(188)));
        assert!(long(189).len() > MAX_CA && !is_ca(&long(189)));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "(-----BEGIN CERTIFICATE-----\n)?\\PC{0,60}") {
            let _ = (is_login(&text), is_ca(&text));
        }
    }
}
