//! Texts that nobody's system wrote: no panic, no long run, no allocation to speak of.
#![allow(clippy::panic, clippy::unwrap_used)]

mod common;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::{LIMITS, Vector, site, vectors};
use password_verify_legacy::{Limits, MAX_TEXT_BYTES, Refusal, Scheme, parse};
use proptest::prelude::*;

static VECTORS: LazyLock<Vec<Vector>> = LazyLock::new(vectors);

/// Reads a text as both kinds. What is accepted is within the limits, and reads back.
fn survives(text: &str) {
    for limits in [LIMITS, Limits::new(1024)] {
        if let Ok(imported) = parse(text, &limits, &site()) {
            let written = imported.scheme.to_text();
            assert!(
                written.len() <= MAX_TEXT_BYTES && imported.output.expose().len() >= 8,
                "{text}"
            );
            assert!(imported.scheme.memory_kib() <= limits.memory_kib, "{text}");
            assert!(Scheme::from_text(&written, &limits).is_ok(), "{text}: {written}");
        }
        if let Ok(scheme) = Scheme::from_text(text, &limits) {
            assert_eq!(scheme.to_text(), text);
        }
    }
}

#[test]
fn every_truncation_is_refused_or_another_scheme() {
    for vector in VECTORS.iter() {
        let whole = parse(vector.hash, &LIMITS, &site()).ok().unwrap();
        let whole_text = whole.scheme.to_text();
        for end in (0..vector.hash.len()).filter(|&end| vector.hash.is_char_boundary(end)) {
            let text = &vector.hash[..end];
            survives(text);
            if let Ok(part) = parse(text, &LIMITS, &site()) {
                let same =
                    part.scheme.to_text() == whole_text && part.output.same_as(&whole.output);
                // Base64 that is read with and without its padding is the one exception.
                assert!(!same || vector.hash[end..].bytes().all(|c| c == b'='), "{text}");
            }
        }
        for end in 0..whole_text.len() {
            let text = &whole_text[..end];
            survives(text);
            assert!(Scheme::from_text(text, &LIMITS).map_or(true, |part| part.to_text() == text));
        }
    }
}

#[test]
fn what_nothing_begins_with_is_unsupported() {
    for text in [
        "",
        " ",
        "$",
        "$$",
        "hunter2",
        "$argon2$",
        "$2c$12$",
        "$2$12$",
        "$3$$8846f7eaee8fb117ad06bdd830b7586c",
        "$md5$rounds=1$a$b",
        "$sha1$1$a$b",
        "$gy$j9T$a$b",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
        "{NTLM}8846",
        "{}",
        "md5",
        "md5xyz",
        "AQ==",
        "AAAA",
        "correct horse",
        "{\"a\":1}",
        "\u{feff}$2b$04$",
        "é",
    ] {
        assert_eq!(parse(text, &LIMITS, &site()).err(), Some(Refusal::UnsupportedFormat), "{text}");
    }
}

#[test]
fn what_begins_like_a_format_and_is_broken_is_malformed() {
    for text in [
        "$argon2id$v=19$m=64,t=2,p=1$c2FsdA$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=64,t=2$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=64,t=2,p=9$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg",
        "$argon2id$v=19$m=64,t=2,p=1,x=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$",
        "$scrypt$",
        "$2b$12$",
        "$2b$03$abcdefghijklmnopqrstuuCEp6hOuxqyaxtaBmHRVbJbmzBQ2mJ.q",
        "$2b$4$abcdefghijklmnopqrstuuCEp6hOuxqyaxtaBmHRVbJbmzBQ2mJ.q",
        "$wp$2y$10$",
        "$bcrypt-sha256$",
        "$1$",
        "$5$rounds=999$a$b",
        "$7$",
        "$y$",
        "$y$jzz$a$b",
        "_",
        "$P$",
        "$P$Bé",
        "U$S$",
        "argon2$argon2id",
        "bcrypt$$2b$",
        "pbkdf2_sha256$1$a$b",
        "scrypt:3:8:1$a$00",
        "scrypt$3$a$8$1$AAAA",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096:c2FsdA==$a:b",
        "$firescrypt$",
        "$fbscrypt$",
        "{SHA}",
        "{SSHA}AAAA",
        "{CRYPT}",
        "{CRYPT}{CRYPT}",
        "{",
        "{\"",
        "{\"credentialData\":1,\"secretData\":2}",
        "AQAAAAE=",
        "$pbkdf2-sha256$0$c2FsdA$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$pbkdf2-sha256$i=1,l=17$c2FsdA$MTIzNDU2Nzg5MDEyMzQ1Ng",
    ] {
        assert_eq!(parse(text, &LIMITS, &site()).err(), Some(Refusal::Malformed), "{text}");
    }
}

#[test]
fn variants_that_nothing_here_computes_are_unsupported() {
    for text in [
        "$argon2id$v=19$m=64,t=2,p=1,keyid=AAAA$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=64,t=2,p=1,data=AAAA$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=18$m=64,t=2,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$y$j953/2$abcdefgh$5ZeaavQmS6tWE3reXsfHtJf07p2B4x9UMmwVgSTdix.",
        "$y$k.9T$abcd$5ZeaavQmS6tWE3reXsfHtJf07p2B4x9UMmwVgSTdix.",
    ] {
        assert_eq!(parse(text, &LIMITS, &site()).err(), Some(Refusal::UnsupportedFormat), "{text}");
    }
    let firebase =
        VECTORS.iter().find(|vector| vector.format == "Firebase $firebase-scrypt$").unwrap();
    let without = password_verify_legacy::Site::default();
    assert_eq!(parse(firebase.hash, &LIMITS, &without).err(), Some(Refusal::UnsupportedFormat));
}

#[test]
fn a_long_text_is_not_even_looked_at() {
    let long = "$".repeat(MAX_TEXT_BYTES + 1);
    assert_eq!(parse(&long, &LIMITS, &site()).err(), Some(Refusal::OverLimit));
    assert_eq!(Scheme::from_text(&long, &LIMITS).err(), Some(Refusal::OverLimit));
    let salt = "a".repeat(513);
    let text = format!("pbkdf2_sha256$1${salt}$MTIzNDU2Nzg5MDEyMzQ1Ng==");
    assert_eq!(parse(&text, &LIMITS, &site()).err(), Some(Refusal::OverLimit));
}

#[test]
fn text_of_any_depth_is_read_fast() {
    for text in [
        "{\"a\":".repeat(800),
        "[".repeat(4096),
        "{CRYPT}".repeat(500),
        "{\"".repeat(2000),
        "$y$".repeat(1300),
    ] {
        let start = Instant::now();
        survives(&text);
        assert!(start.elapsed() < Duration::from_millis(100), "{}", &text[..8]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_text_after_a_beginning(which in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), text in "\\PC{0,60}") {
        let hash = which.get(&VECTORS).hash;
        let cut = cut.index(hash.len());
        if hash.is_char_boundary(cut) {
            survives(&format!("{}{text}", &hash[..cut]));
        }
    }

    #[test]
    fn vectors_with_some_bytes_changed(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]"), 1..4),
    ) {
        let hash = which.get(&VECTORS).hash;
        let mut bytes = hash.as_bytes().to_vec();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to.as_bytes()[0];
        }
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn numbers_of_vectors_changed(which in any::<prop::sample::Index>(), nth in 0usize..6, to in any::<u64>(), shift in 0u32..64) {
        let hash = which.get(&VECTORS).hash;
        let starts: Vec<usize> = (1..hash.len())
            .filter(|&at| hash.as_bytes()[at].is_ascii_digit() && !hash.as_bytes()[at - 1].is_ascii_digit())
            .collect();
        if let Some(&start) = starts.get(nth) {
            let end = hash[start..].find(|c: char| !c.is_ascii_digit()).map_or(hash.len(), |n| start + n);
            survives(&format!("{}{}{}", &hash[..start], to >> shift, &hash[end..]));
        }
    }

    #[test]
    fn texts_of_schemes_changed(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), to in "[ -~]{0,3}") {
        let text = parse(which.get(&VECTORS).hash, &LIMITS, &site()).ok().unwrap().scheme.to_text();
        let at = at.index(text.len());
        survives(&format!("{}{to}{}", &text[..at], &text[at + 1..]));
    }
}
