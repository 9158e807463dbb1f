//! What is refused, and why.
#![allow(clippy::panic, clippy::unwrap_used)]

mod common;

use common::{LIMITS, site, vectors};
use password_verify_legacy::{Refusal, Site, parse};

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
    let vectors = vectors();
    let firebase =
        vectors.iter().find(|vector| vector.format == "Firebase $firebase-scrypt$").unwrap();
    let without = Site::default();
    assert_eq!(parse(firebase.hash, &LIMITS, &without).err(), Some(Refusal::UnsupportedFormat));
}
