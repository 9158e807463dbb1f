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
                let padding = vector.hash[end..].bytes().all(|c| c == b'=');
                // passlib's SCRAM has several hashes of a password, of which one is enough.
                let whole = text.starts_with("$scram$") && vector.hash[end..].starts_with(',');
                assert!(!same || padding || whole, "{text}");
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
