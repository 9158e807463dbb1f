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
        "*",
        "*2C905879F74F28F8570989947D06A8429FB943E",
        "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E1G",
        "S:5FDAB69F",
        "S: 5FDAB69F543563582BA57894FE1C1361FB8ED57B903603F2C52ED1B4D6",
        "0x0200AAAA",
        "00112233445566778899aabbccddeeff:00",
        "{SHA-256}{salt}ab",
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
        "$md5$rounds=1$a$b",
        "$md5,rounds=0$saltsalt$$wBvMOEqbSjU.hu5T2VEP01",
        "$md5,rounds=01$saltsalt$$wBvMOEqbSjU.hu5T2VEP01",
        "$md5$salt-salt$$wBvMOEqbSjU.hu5T2VEP01",
        "$sha1$1$a$b",
        "$sha1$0$iVdJqfSE$v4qYKl1zqYThwpjJAoKX6UvlHq/a",
        "$p5k2$",
        "$p5k2$+c$u9HvcT4d$Sd1gwSVCLZYAuqZ25piRnbBEoAesaa/g",
        "$p5k2$0c$u9HvcT4d$Sd1gwSVCLZYAuqZ25piRnbBEoAesaa/g",
        "$p5k2$$$h1TDLGSw9ST8UMAPeIE13i0t12c=",
        "$scram$4096$QSXCR.Q6sek8bf92$sha-1=HZ",
        "grub.pbkdf2.sha512.1",
        "crypt$",
        "crypt$ab$c2M87q...WWcU",
        "sha256$",
        "sha256$salt$00",
        "sha512$salt$97cde38028ad898ebc02e690819fa220e88c62e0699403e94fff291cfffaf841",
        "0x0100AAAA",
        "{PKCS5S2}AAAA",
        "{FSHP0|0|1}AAAA",
        "{FSHP1|8}AAAA",
        "{FSHP0|4294967295|1}qUqP5cyxm6YcTAhz05Hph5gvu9M=",
        "{SHA512-CRYPT}$5$saltsalt$3hGFMknrJ4ZpFPe7XZe397oIMEp7sbvqrcsX/ONJ3i.",
        "{SHA512-CRYPT}aPtvr7nYmS3VA",
        "{BLF-CRYPT}$1$abc$muTq3MW/9xkrrAIHYPD8I1",
        "{BLF-CRYPT.b64}AAAA",
        "{DES-CRYPT}aPtvr7nYmS3V",
        "{ARGON2ID}$argon2i$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "{SHA1.hex}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "{SHA1.b64}5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
        "{PLAIN-MD5}X03MO1qnZdYdgyfeuILPmQ==",
        "{PBKDF2}5d92",
        "{pbkdf2@SpringSecurity_v5_8}5d92",
        "{scrypt}$e0801$AAAA",
        "$pbkdf2$f=SHA256,w=1000,l=33$c2FsdA$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$pbkdf2$f=SHA256,w=1000$c2FsdA$MTIzNDU2Nzg5MDEyMzQ1Ng",
        r#"{"credentialData":{"algorithm":"bcrypt"},"secretData":{"value":"","salt":""}}"#,
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
        // Well-formed, but nothing here computes it: it is not the text that is at fault.
        "$pbkdf2$f=SHA3-256,w=600000,l=32$c2FsdA$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$bcrypt-sha256$v=3,t=2b,r=4$abcdefghijklmnopqrstuu$CEp6hOuxqyaxtaBmHRVbJbmzBQ2mJ.q",
        "$scram$4096$QSXCR.Q6sek8bf92$md5=HZbuOlKbWl",
        "{PBKDF2}$2$salt$1000$00112233445566778899aabbccddeeff00112233",
        "{FSHP4|0|1}qUqP5cyxm6YcTAhz05Hph5gvu9M=",
        "{SCRAM-SHA-1}4096,salt,a,b",
        r#"{"credentialData":{"algorithm":"scrypt"},"secretData":{"value":"$any","salt":"-"}}"#,
        "AQAAAAMAAYagAAAAEAAA",
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
