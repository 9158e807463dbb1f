//! The host names and URLs of a destination.

/// The longest host name, in bytes, and the longest part between its dots (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;
/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// A host name (RFC 1123 section 2.1) in lower case. `None` for addresses and other texts.
pub(super) fn canonical_host(text: &str) -> Option<String> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let named = text.len() <= MAX_HOST && text.split('.').all(is_label);
    // Resolvers take what ends in a number for an IPv4 address, hexadecimal ones too (WHATWG URL
    // section 3.5, "ends in a number").
    let host = text.to_ascii_lowercase();
    let last = host.rsplit('.').next()?;
    let number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    (named && !number).then_some(host)
}

/// An https URL with a path (RFC 3986), no user and no fragment; its host in lower case.
pub(super) fn canonical_url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://").filter(|_| text.len() <= MAX_URL)?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    // A `@` is in no host name and no port, so there is no user either.
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let host = canonical_host(host)?;
    // RFC 3986 has no other characters than these; `#` begins a fragment (RFC 6749 section 3.2).
    let in_paths = |b: u8| b.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&b);
    if !path.bytes().all(in_paths) || !port.is_none_or(is_port) {
        return None;
    }
    let colon = if port.is_some() { ":" } else { "" };
    Some(format!("https://{host}{colon}{}{path}", port.unwrap_or_default()))
}

/// 1 to 65535, written without a sign or a leading zero.
fn is_port(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_is_a_name() {
        let (label, long) = ("a".repeat(63), format!("{}a", "a.".repeat(126)));
        assert_eq!(long.len(), MAX_HOST);
        for host in ["a", "mail.example", "1a.2", "x--y.example", "3com.example", &label, &long] {
            let right = host != "1a.2";
            assert_eq!(canonical_host(host).is_some(), right, "{host}");
        }
        assert_eq!(canonical_host("Mail.EXAMPLE").as_deref(), Some("mail.example"));
        let (longer, longest) = (format!("a{label}"), format!("a{long}"));
        for host in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a.-b",
            "a_b",
            "a b",
            "a\0",
            "a\n",
            "ä",
            "a/b",
            "a:1",
            "a@b",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7F.0X1",
            "a.0x",
            "::1",
            "[::1]",
            "[a]",
            "a%2e",
            "１",
            &longer,
            &longest,
        ] {
            assert_eq!(canonical_host(host), None, "{host:?}");
        }
    }

    #[test]
    fn a_token_endpoint_is_an_https_url() {
        for url in ["https://a/", "https://a:1/", "https://a:65535/b/c?d=e&f=@:%20'(),;"] {
            assert_eq!(canonical_url(url).as_deref(), Some(url));
        }
        assert_eq!(canonical_url("https://A.b/C").as_deref(), Some("https://a.b/C"));
        let (fits, longer) = ("a".repeat(MAX_URL - 10), "a".repeat(MAX_URL - 9));
        assert!(canonical_url(&format!("https://a/{fits}")).is_some());
        for url in [
            "",
            "https://",
            "https:///a",
            "https://a",
            "https://a?b",
            "http://a/",
            "HTTPS://a/",
            "https:/a/",
            "https://a@b/",
            "https://a:b@c/",
            "https://a:/",
            "https://a:0/",
            "https://a:65536/",
            "https://a:+1/",
            "https://a:01/",
            "https://a:1:2/",
            "https://a\\@b/",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://a /",
            "https://a/ ",
            "https://a/#b",
            "https://a/\r\n",
            "https://a/\\b",
            "https://a/ä",
            " https://a/",
            "https://a/\u{7f}",
            &format!("https://a/{longer}"),
        ] {
            assert_eq!(canonical_url(url), None, "{url:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,60}", host in "[a-f0-9xX.-]{0,12}") {
            let _ = canonical_url(&format!("https://{text}"));
            for host in [text, host].iter().filter_map(|it| canonical_host(it)) {
                let last = host.rsplit('.').next().unwrap();
                prop_assert!(last.bytes().any(|b| b.is_ascii_alphabetic()) || last.contains('-'));
                prop_assert_eq!(canonical_host(&host), Some(host));
            }
        }
    }
}
