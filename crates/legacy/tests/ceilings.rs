//! Every ceiling, to the unit: when a text is parsed, and when a scheme is read back.
#![allow(clippy::panic, clippy::unwrap_used)]

mod common;

use common::{LIMITS, site};
use password_verify_legacy::{Limits, Refusal, Scheme, parse};

/// The scheme's text is accepted, and with one more of `key` it is not.
fn ends_at(name: &str, numbers: &[(&str, u64)], key: &str, salt: &str) {
    let text = |more: u64| {
        let numbers: Vec<_> = numbers
            .iter()
            .map(|&(k, n)| format!("{k}={}", if k == key { n + more } else { n }))
            .collect();
        format!("{name}${}{salt}", numbers.join(","))
    };
    assert_eq!(Scheme::from_text(&text(0), &LIMITS).map(|_| ()), Ok(()), "{}", text(0));
    assert_eq!(Scheme::from_text(&text(1), &LIMITS).err(), Some(Refusal::OverLimit), "{}", text(1));
}

#[test]
fn of_schemes() {
    let salt = "$c2FsdHNhbHRzYWx0c2FsdA";
    let argon2 = |m, t, p| [("v", 19), ("m", m), ("t", t), ("p", p), ("l", 32)];
    ends_at("argon2id", &argon2(1 << 20, 8, 1), "m", salt);
    ends_at("argon2id", &argon2(1 << 20, 8, 1), "t", salt);
    ends_at("argon2i", &argon2(8, 1 << 20, 1), "t", salt);
    ends_at("argon2d", &argon2(1 << 16, 1, 64), "p", salt);
    ends_at("argon2id", &[("v", 19), ("m", 64), ("t", 1), ("p", 1), ("l", 512)], "l", salt);
    ends_at("scrypt", &[("ln", 19), ("r", 8), ("p", 1), ("l", 32)], "ln", salt);
    ends_at("scrypt", &[("ln", 10), ("r", 1024), ("p", 16), ("l", 32)], "p", salt);
    ends_at("scrypt", &[("ln", 22), ("r", 1), ("p", 4), ("l", 32)], "ln", salt);
    ends_at("yescrypt", &[("f", 47), ("ln", 14), ("r", 32), ("p", 1), ("t", 31)], "t", salt);
    ends_at("yescrypt", &[("f", 47), ("ln", 17), ("r", 32), ("p", 1), ("t", 0)], "ln", salt);
    for name in [
        "bcrypt",
        "bcrypt-2x",
        "wordpress-bcrypt",
        "django-bcrypt-sha256",
        "passlib-bcrypt-sha256-v1",
        "passlib-bcrypt-sha256-v2",
    ] {
        ends_at(name, &[("cost", 16)], "cost", salt);
    }
    ends_at("pbkdf2-sha256", &[("i", 10_000_000), ("l", 32)], "i", salt);
    ends_at("pbkdf2-sha256", &[("i", 10_000_000), ("l", 32)], "l", salt);
    ends_at("pbkdf2-sha1", &[("i", 2_500_000), ("l", 64)], "i", salt);
    ends_at("pbkdf2-sha512", &[("i", 5_000_000), ("l", 64)], "i", salt);
    ends_at("postgresql-scram-sha-256", &[("i", 10_000_000)], "i", salt);
    ends_at("sha256-crypt", &[("rounds", 700_000)], "rounds", salt);
    ends_at("sha512-crypt", &[("rounds", 700_000)], "rounds", salt);
    ends_at("xdes-crypt", &[("rounds", (1 << 24) - 1), ("salt", 1)], "rounds", "");
    for name in ["sha1-crypt", "fshp-sha1", "fshp-sha256", "fshp-sha384", "fshp-sha512"] {
        ends_at(name, &[("rounds", 10_000_000)], "rounds", salt);
    }
    ends_at("sun-md5-crypt", &[("rounds", 2_000_000)], "rounds", salt);
    ends_at("sasl-pbkdf2-sha256", &[("i", 10_000_000), ("l", 32)], "i", salt);
    ends_at("better-auth-scrypt", &[("ln", 19), ("r", 8), ("p", 1), ("l", 32)], "ln", salt);
    for name in ["phpass", "drupal-sha512", "drupal-sha512-md5"] {
        ends_at(name, &[("ln", 20)], "ln", "$c2FsdHNhbHQ");
    }
    let keys = "$c2FsdA$Bw$c2FsdHNhbHRzYWx0c2FsdA";
    ends_at("firebase-scrypt", &[("ln", 19), ("r", 8), ("p", 1)], "ln", keys);
}

#[test]
fn of_texts() {
    let tag = "MTIzNDU2Nzg5MDEyMzQ1Ng";
    for (text, expected) in [
        (format!("$argon2id$v=19$m=1048577,t=1,p=1$c2FsdHNhbHQ${tag}"), Refusal::OverLimit),
        (format!("$argon2id$v=19$m=4294967296,t=1,p=1$c2FsdHNhbHQ${tag}"), Refusal::OverLimit),
        (
            format!("$argon2id$v=19$m=99999999999999999999999,t=1,p=1$c2FsdHNhbHQ${tag}"),
            Refusal::OverLimit,
        ),
        (format!("$scrypt$ln=63,r=8,p=1$c2FsdA${tag}"), Refusal::OverLimit),
        (format!("$scrypt$ln=1,r=4294967295,p=4294967295$c2FsdA${tag}"), Refusal::OverLimit),
        (format!("$scrypt$ln=0,r=8,p=1$c2FsdA${tag}"), Refusal::Malformed),
        (format!("$scrypt$ln=4,r=0,p=1$c2FsdA${tag}"), Refusal::Malformed),
        (format!("$scrypt$ln=4,r=1,p=0$c2FsdA${tag}"), Refusal::Malformed),
        ("$2b$17$abcdefghijklmnopqrstuuCEp6hOuxqyaxtaBmHRVbJbmzBQ2mJ.q".into(), Refusal::OverLimit),
        ("$2b$99$abcdefghijklmnopqrstuuCEp6hOuxqyaxtaBmHRVbJbmzBQ2mJ.q".into(), Refusal::OverLimit),
        (format!("$pbkdf2-sha256$10000001$c2FsdA${tag}"), Refusal::OverLimit),
        ("$P$Jsaltsalt1234567890123456789012".to_string(), Refusal::Malformed),
        ("$P$Jsaltsalt123456789012345678901/".to_string(), Refusal::OverLimit),
        ("$P$4saltsalt123456789012345678901/".to_string(), Refusal::Malformed),
        ("_....zzzzmgMRAEE/bSE".to_string(), Refusal::Malformed),
        ("$sha1$10000001$iVdJqfSE$v4qYKl1zqYThwpjJAoKX6UvlHq/a".into(), Refusal::OverLimit),
        ("$md5,rounds=2000001$saltsalt$$wBvMOEqbSjU.hu5T2VEP01".into(), Refusal::OverLimit),
        ("$p5k2$ffffffff$u9HvcT4d$Sd1gwSVCLZYAuqZ25piRnbBEoAesaa/g".into(), Refusal::OverLimit),
        ("{FSHP0|0|10000001}qUqP5cyxm6YcTAhz05Hph5gvu9M=".into(), Refusal::OverLimit),
        (format!("{{PBKDF2}}$1$salt$10000001${}", "00".repeat(20)), Refusal::OverLimit),
        (format!("$pbkdf2$f=SHA256,w=10000001,l=16$c2FsdA${tag}"), Refusal::OverLimit),
        (format!("{{scrypt}}$ff0801$c2FsdA${tag}"), Refusal::OverLimit),
        ("scrypt:4294967296:8:1$salt$00112233445566778899aabbccddeeff".into(), Refusal::OverLimit),
    ] {
        assert_eq!(parse(&text, &LIMITS, &site()).err(), Some(expected), "{text}");
    }
}

#[test]
fn no_limits_are_too_large_to_be_safe() {
    let limits = Limits { memory_kib: u32::MAX, ..Limits::new(0) };
    for text in [
        "scrypt$ln=40,r=1,p=1,l=32$",
        "yescrypt$f=47,ln=40,r=8,p=1,t=0$",
        "argon2id$v=19,m=4294967295,t=1,p=1,l=32$c2FsdHNhbHQ",
    ] {
        assert!(Scheme::from_text(text, &limits).is_err(), "{text}");
    }
}
