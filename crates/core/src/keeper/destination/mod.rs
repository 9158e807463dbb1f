//! Where a kept secret may be sent: a JSON object, checked and written in one canonical form, which
//! is bound to the secret. A secret that is kept for one server is never shown to another.
//!
//! | key | value |
//! | --- | --- |
//! | `protocol` | `imaps`, `imap` (with STARTTLS), `smtps`, `smtp` (with STARTTLS) or `https` |
//! | `host` | a host name (RFC 1123 section 2.1), and no address |
//! | `port` | 1 to 65535 |
//! | `login` | 1 to 320 bytes without control characters; no colon for `BASIC` (RFC 7617) |
//! | `mechanism` | how the secret is shown, one of the protocol's |
//! | `token_endpoint` | `OAUTHBEARER`, `XOAUTH2`: the https URL that gives tokens (RFC 6749) |
//! | `scopes` | `OAUTHBEARER`, `XOAUTH2`: up to 32 scopes (RFC 6749 section 3.3) |
//! | `ca` | optional: 1 to 8 certificates in PEM (RFC 7468), instead of the system's |

mod host;
mod parts;

use serde_json::Value;

use host::{canonical_host, canonical_url};
use parts::{are_scopes, is_ca, is_login, mechanisms, only_if, takes_tokens};

/// The longest text of a destination, in bytes.
pub const MAX_BYTES: usize = 16_384;

/// Every key, in the order of the canonical form.
const KEYS: [&str; 8] =
    ["ca", "host", "login", "mechanism", "port", "protocol", "scopes", "token_endpoint"];

/// Where a kept secret may be sent, in its canonical form. There is nothing secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination(String);

/// What is wrong with a destination. Never says what it contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotADestination {
    /// The text is no JSON object.
    NotAnObject,
    /// There is a key that no destination has.
    UnknownKey,
    Protocol,
    Host,
    Port,
    Login,
    /// The mechanism is missing, unknown, or another protocol's.
    Mechanism,
    /// It is missing, no URL, or the mechanism takes none.
    TokenEndpoint,
    /// They are missing, no scopes, or the mechanism takes none.
    Scopes,
    Ca,
    /// The text is longer than [`MAX_BYTES`].
    TooLong,
}

impl NotADestination {
    /// A fixed text for a message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnObject => "a destination is a JSON object",
            Self::UnknownKey => "a destination has no key of that name",
            Self::Protocol => "the protocol is not imaps, imap, smtps, smtp or https",
            Self::Host => "the host is not a host name",
            Self::Port => "the port is not a number from 1 to 65535",
            Self::Login => "the login is not 1 to 320 bytes that the mechanism can send",
            Self::Mechanism => "the mechanism is not one of the protocol",
            Self::TokenEndpoint => "the token endpoint is not an https URL, or is not used",
            Self::Scopes => "the scopes are not up to 32 scopes, or are not used",
            Self::Ca => "the ca is not 1 to 8 certificates in PEM",
            Self::TooLong => "the destination is longer than 16384 bytes",
        }
    }
}

impl Destination {
    /// Reads a JSON object. Of a key that is there twice, the last value counts, as in `jsonb`.
    ///
    /// # Errors
    /// [`NotADestination`]: too long, or the first that applies.
    pub fn parse(json: &str) -> Result<Self, NotADestination> {
        use NotADestination as Not;
        if json.len() > MAX_BYTES {
            return Err(Not::TooLong);
        }
        let Ok(Value::Object(map)) = serde_json::from_str(json) else {
            return Err(Not::NotAnObject);
        };
        if map.keys().any(|key| !KEYS.contains(&key.as_str())) {
            return Err(Not::UnknownKey);
        }
        let text = |key| map.get(key).and_then(Value::as_str);
        let protocol = text("protocol").ok_or(Not::Protocol)?;
        let mechanisms = mechanisms(protocol).ok_or(Not::Protocol)?;
        let host = text("host").and_then(canonical_host).ok_or(Not::Host)?;
        let port = map.get("port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let port = port.ok_or(Not::Port)?;
        let login = text("login").filter(|login| is_login(login)).ok_or(Not::Login)?;
        let mechanism = text("mechanism").filter(|it| mechanisms.contains(it));
        let mechanism = mechanism.ok_or(Not::Mechanism)?;
        // With Basic, a colon in the login would move its rest into the password.
        if mechanism == "BASIC" && login.contains(':') {
            return Err(Not::Login);
        }
        let tokens = takes_tokens(mechanism);
        let endpoint = only_if(tokens, map.get("token_endpoint"), Not::TokenEndpoint, |it| {
            canonical_url(it.as_str()?).map(Value::from)
        })?;
        let scopes = only_if(tokens, map.get("scopes"), Not::Scopes, |it| {
            are_scopes(it).then(|| it.clone())
        })?;
        let ca = only_if(map.contains_key("ca"), map.get("ca"), Not::Ca, |it| {
            it.as_str().is_some_and(is_ca).then(|| it.clone())
        })?;
        // In the order of KEYS, and not in that of the map, which depends on a feature of serde_json
        // that any other crate may turn on.
        let values = [
            ca,
            Some(host.into()),
            Some(login.into()),
            Some(mechanism.into()),
            Some(port.into()),
            Some(protocol.into()),
            scopes,
            endpoint,
        ];
        let members: Vec<String> = std::iter::zip(KEYS, values)
            .filter_map(|(key, value)| Some(format!("\"{key}\":{}", value?)))
            .collect();
        Ok(Self(format!("{{{}}}", members.join(","))))
    }

    /// The canonical form: keys in order, no spaces, host names in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NotADestination as Not;
    use proptest::prelude::*;
    use serde_json::Map;

    const IMAP: &str = r#"{"host":"mail.example","login":"ann","mechanism":"PLAIN","port":993,"protocol":"imaps"}"#;
    const TOKEN: &str = r#"{"host":"mail.example","login":"ann","mechanism":"XOAUTH2","port":587,"protocol":"smtp","scopes":["a","b"],"token_endpoint":"https://id.example/token"}"#;

    fn why(json: &str) -> Result<(), Not> {
        Destination::parse(json).map(drop)
    }

    /// Replaces one member of `of`, or adds it.
    fn with(of: &str, key: &str, value: &str) -> String {
        let mut map: Map<String, Value> = serde_json::from_str(of).unwrap();
        map.insert(key.into(), serde_json::from_str(value).unwrap());
        Value::Object(map).to_string()
    }

    #[test]
    fn there_is_one_form_of_each() {
        let text = " {\"protocol\": \"imaps\", \"port\" :993,\"mechanism\":\"\\u0050LAIN\",\n\
                     \"host\":\"MAIL.Example\",\"login\":\"a\", \"login\":\"ann\"}";
        assert_eq!(Destination::parse(text).unwrap().as_str(), IMAP);
        for text in [IMAP, TOKEN] {
            assert_eq!(Destination::parse(text).unwrap().as_str(), text);
        }
        let url = with(TOKEN, "token_endpoint", r#""https://ID.example:8443/Token?a=B""#);
        let url = Destination::parse(&url).unwrap();
        assert!(url.as_str().ends_with(r#""token_endpoint":"https://id.example:8443/Token?a=B"}"#));
        let ca = r#""-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n""#;
        let all = Destination::parse(&with(&with(TOKEN, "ca", ca), "login", r#""\"é\\""#)).unwrap();
        let begin = format!(r#"{{"ca":{ca},"host":"mail.example","login":"\"é\\","mechanism":"#);
        assert!(all.as_str().starts_with(&begin), "{}", all.as_str());
    }

    #[test]
    fn every_member_is_checked() {
        for (key, values, not) in [
            ("protocol", &[r#""imap4""#, r#""IMAPS""#, r#""""#][..], Not::Protocol),
            ("host", &[r#""10.0.0.1""#, r#""mail_1.example""#], Not::Host),
            ("port", &["0", "65536", "-1", "993.0", "1e2", r#""993""#], Not::Port),
            ("login", &[r#""""#, r#""a\nb""#, r#""\u0001""#, r#""\u0085""#], Not::Login),
            ("mechanism", &[r#""plain""#, r#""BASIC""#, r#""CRAM-MD5""#], Not::Mechanism),
            ("ca", &[r#""""#, r#""x""#], Not::Ca),
            ("token_endpoint", &[r#""https://id.example/token""#], Not::TokenEndpoint),
            ("scopes", &["[]"], Not::Scopes),
            ("tls", &["false", "0"], Not::UnknownKey),
            ("Host", &[r#""mail.example""#], Not::UnknownKey),
        ] {
            for value in values.iter().chain(&["null", "[null]", "{}", "true"]) {
                assert_eq!(why(&with(IMAP, key, value)), Err(not), "{key} {value}");
            }
        }
        assert_eq!(why(&with(TOKEN, "mechanism", r#""PLAIN""#)), Err(Not::TokenEndpoint));
        assert_eq!(why(&with(TOKEN, "token_endpoint", r#""http://a/""#)), Err(Not::TokenEndpoint));
        assert_eq!(why(&with(TOKEN, "scopes", r#"[""]"#)), Err(Not::Scopes));
        assert_eq!(why(&with(TOKEN, "scopes", "[]")), Ok(()));
    }

    #[test]
    fn every_member_is_needed() {
        for key in KEYS.iter().filter(|key| **key != "ca") {
            let mut map: Map<String, Value> = serde_json::from_str(TOKEN).unwrap();
            map.remove(*key).unwrap();
            let not = why(&Value::Object(map).to_string()).err().unwrap();
            assert!(format!("{not:?}").eq_ignore_ascii_case(&key.replace('_', "")), "{not:?}");
        }
    }

    #[test]
    fn basic_has_no_colon_in_its_login() {
        let https = with(&with(IMAP, "protocol", r#""https""#), "login", r#""a:b""#);
        assert_eq!(why(&with(&https, "mechanism", r#""BASIC""#)), Err(Not::Login));
        assert_eq!(why(&with(&https, "mechanism", r#""BEARER""#)), Ok(()));
    }

    #[test]
    fn only_an_object_of_bounded_length_is_one() {
        for text in ["", "{", "[]", "null", "\"{}\"", "{}{}", &"[".repeat(10_000)] {
            assert_eq!(why(text), Err(Not::NotAnObject), "{text}");
        }
        let padded = |length: usize| format!("{IMAP}{}", " ".repeat(length - IMAP.len()));
        assert_eq!(why(&padded(MAX_BYTES)), Ok(()));
        assert_eq!(why(&padded(MAX_BYTES + 1)), Err(Not::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_canonical_stays_so(login in "\\PC{1,80}", host in "[a-zA-Z0-9.-]{1,9}[A-Za-z]") {
            let text = with(TOKEN, "login", &Value::from(login).to_string());
            let text = with(&text, "host", &Value::from(host).to_string());
            if let Ok(once) = Destination::parse(&text) {
                prop_assert!(once.as_str().len() <= text.len());
                prop_assert_eq!(Destination::parse(once.as_str()), Ok(once));
            }
        }

        #[test]
        fn any_text_is_refused_without_a_panic(at in 0usize..200, to in "\\PC{0,3}") {
            let at = at % TOKEN.len();
            let changed = format!("{}{to}{}", &TOKEN[..at], &TOKEN[at + 1..]);
            if let Ok(once) = Destination::parse(&changed) {
                prop_assert_eq!(Destination::parse(once.as_str()), Ok(once));
            }
            prop_assert!(Destination::parse(&to).is_err());
        }
    }
}
