//! What passlib's own tests know of other systems' hashes: passlib.txt, made by passlib_vectors.py.
#![allow(clippy::panic, clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{LIMITS, PasslibVector, passlib_vectors, site};
use password_verify_legacy::parse;

/// All of them.
const ALL: usize = 629;
/// Those that log in.
const OPEN: usize = 326;

/// What is left out, by the name of passlib's handler, and why.
const LEFT_OUT: [(&str, &str); 23] = [
    ("bigcrypt", NO_BEGINNING),
    ("crypt16", NO_BEGINNING),
    ("cisco_asa", NO_BEGINNING),
    ("cisco_pix", NO_BEGINNING),
    ("hex_md4", NO_BEGINNING),
    ("hex_md5", NO_BEGINNING),
    ("hex_sha1", NO_BEGINNING),
    ("hex_sha256", NO_BEGINNING),
    ("hex_sha512", NO_BEGINNING),
    ("htdigest", NO_BEGINNING),
    ("lmhash", NO_BEGINNING),
    ("msdcc", NO_BEGINNING),
    ("msdcc2", NO_BEGINNING),
    ("mysql323", NO_BEGINNING),
    ("nthash", NO_BEGINNING),
    ("oracle10", NO_BEGINNING),
    ("bsd_nthash", "MD4 without a salt: FreeBSD's $3$, which nobody uses"),
    ("cisco_type7", NO_HASH),
    ("plaintext", NO_HASH),
    ("ldap_plaintext", NO_HASH),
    ("django_disabled", NO_PASSWORD),
    ("unix_disabled", NO_PASSWORD),
    ("unix_fallback", NO_PASSWORD),
];
/// Digits and nothing else: what made them cannot be told by looking.
const NO_BEGINNING: &str = "raw: nothing tells it from others of its length";
const NO_HASH: &str = "the password itself, or what it can be computed from";
const NO_PASSWORD: &str = "marks an account without a password";

fn opens(vector: &PasslibVector) -> Result<bool, password_verify_legacy::Refusal> {
    let imported = parse(vector.hash, &LIMITS, &site())?;
    let output = imported.scheme.compute(&vector.password, vector.user).unwrap();
    Ok(output.same_as(&imported.output))
}

#[test]
fn every_hash_opens_or_is_left_out_for_a_reason() {
    let vectors = passlib_vectors();
    assert_eq!(vectors.len(), ALL);
    let (mut open, mut left_out, mut failed) = (0, BTreeMap::new(), Vec::new());
    for vector in &vectors {
        let reason = LEFT_OUT.iter().find(|entry| entry.0 == vector.handler);
        match (reason, opens(vector)) {
            (None, Ok(true)) => open += 1,
            (Some((_, reason)), Err(_) | Ok(false)) => *left_out.entry(*reason).or_insert(0) += 1,
            (_, result) => failed.push(format!("{} {}: {result:?}", vector.handler, vector.hash)),
        }
    }
    println!("{open} of {ALL} open; left out: {left_out:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!((open, left_out.values().sum::<usize>()), (OPEN, ALL - OPEN));
    let handlers: BTreeSet<_> = vectors.iter().map(|vector| vector.handler).collect();
    assert!(
        LEFT_OUT.iter().all(|entry| handlers.contains(entry.0)),
        "none is left out for nothing"
    );
}

#[test]
fn no_hash_opens_to_another_password() {
    for vector in passlib_vectors() {
        let Ok(imported) = parse(vector.hash, &LIMITS, &site()) else { continue };
        // The same algorithms at a lower cost are among the others.
        if imported.scheme.memory_kib() > 4096 {
            continue;
        }
        // Another first byte, in bits that DES sees; no system that looks at case is fooled by this one.
        let mut other = vector.password.clone();
        match other.first_mut() {
            Some(byte) => *byte ^= 0x11,
            None => other.push(b'x'),
        }
        let output = imported.scheme.compute(&other, vector.user).unwrap();
        assert!(!output.same_as(&imported.output), "{}", vector.hash);
    }
}
