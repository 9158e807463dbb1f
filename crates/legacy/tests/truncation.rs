//! bcrypt looks at 72 bytes. Whatever a system appended to a longer password was not hashed: a pepper, in
//! Rodauth before its pull request 264. Here it is as it was there: plain bcrypt opens to everything that
//! begins with the same 72 bytes, as the source system did, and what was hashed first does not.
#![allow(clippy::panic, clippy::unwrap_used)]

mod common;

use common::{LIMITS, site, vectors};
use password_verify_legacy::{Scheme, parse};

/// 72 bytes, which is all that bcrypt sees, and what a pepper would be.
const SEEN: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";

fn same(scheme: &Scheme, one: &[u8], other: &[u8]) -> bool {
    scheme.compute(one, "").unwrap().same_as(&scheme.compute(other, "").unwrap())
}

fn bcrypt(name: &str) -> Scheme {
    Scheme::from_text(&format!("{name}$cost=4$c2FsdHNhbHRzYWx0c2FsdA"), &LIMITS).ok().unwrap()
}

#[test]
fn plain_bcrypt_does_not_see_what_is_appended_to_72_bytes() {
    assert_eq!(SEEN.len(), 72);
    for name in ["bcrypt", "bcrypt-2x"] {
        let scheme = bcrypt(name);
        assert!(same(&scheme, SEEN, &[SEEN, b"pepper"].concat()), "the pepper is not hashed");
        assert!(same(&scheme, &[SEEN, b"pepper"].concat(), &[SEEN, b"other"].concat()));
        assert!(!same(&scheme, &SEEN[..71], &[&SEEN[..71], b"p".as_slice()].concat()));
    }
}

#[test]
fn the_source_systems_did_so_too() {
    let mut seen = 0;
    for vector in vectors().iter().filter(|vector| vector.password.len() > 72) {
        let imported = parse(vector.hash, &LIMITS, &site()).ok().unwrap();
        let opens = |password: &[u8]| {
            imported.scheme.compute(password, vector.user).unwrap().same_as(&imported.output)
        };
        if matches!(imported.scheme.name(), "bcrypt" | "bcrypt-2x") {
            // They hashed the whole password, and what they wrote opens to its beginning.
            assert!(opens(&vector.password[..72]), "{}", vector.hash);
            assert!(opens(&[&vector.password[..72], b"anything"].concat()), "{}", vector.hash);
            assert!(!opens(&vector.password[..71]), "{}", vector.hash);
            seen += 1;
        } else if imported.scheme.name() != "des-crypt" {
            assert!(!opens(&vector.password[..72]), "{}", vector.hash);
        }
    }
    assert!(seen >= 10, "{seen} hashes of bcrypt");
}

#[test]
fn what_is_hashed_first_is_not_truncated() {
    for name in [
        "passlib-bcrypt-sha256-v1",
        "passlib-bcrypt-sha256-v2",
        "django-bcrypt-sha256",
        "wordpress-bcrypt",
    ] {
        let scheme = bcrypt(name);
        assert!(!same(&scheme, SEEN, &[SEEN, b"pepper"].concat()), "{name}");
        assert!(!same(&scheme, &[SEEN, b"pepper"].concat(), &[SEEN, b"other"].concat()), "{name}");
    }
}

#[test]
fn a_c_string_ends_at_its_nul() {
    let crypt = [
        "bcrypt$cost=4$c2FsdHNhbHRzYWx0c2FsdA",
        "des-crypt$salt=7",
        "xdes-crypt$rounds=5,salt=7",
        "md5-crypt$$c2FsdA",
        "sha512-crypt$rounds=1000$c2FsdA",
        "yescrypt$f=47,ln=8,r=8,p=1,t=0$c2FsdA",
    ];
    for text in crypt {
        let scheme = Scheme::from_text(text, &LIMITS).ok().unwrap();
        assert!(same(&scheme, b"ab", b"ab\0cd"), "{text}");
        assert!(!same(&scheme, b"ab", b"abcd"), "{text}");
    }
    for text in ["phpass$ln=7$c2FsdHNhbHQ", "pbkdf2-sha256$i=1,l=32$c2FsdA", "ldap-sha1$$c2FsdA"] {
        let scheme = Scheme::from_text(text, &LIMITS).ok().unwrap();
        assert!(!same(&scheme, b"ab", b"ab\0cd"), "{text}");
    }
}

#[test]
fn the_bug_of_2x_hides_characters() {
    // CVE-2011-2483: what comes before a byte above 0x7f, in a word of four, does not count.
    let (one, other) = (b"aa\xa3".as_slice(), b"bb\xa3".as_slice());
    assert!(same(&bcrypt("bcrypt-2x"), one, other));
    assert!(!same(&bcrypt("bcrypt"), one, other));
    assert!(!same(&bcrypt("bcrypt-2x"), b"aaa", b"bba"));
}
