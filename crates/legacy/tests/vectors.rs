//! Passwords as the systems themselves hashed them: vectors.py says which made what.
#![allow(clippy::panic, clippy::unwrap_used)]

mod common;

use common::{LIMITS, Vector, site, vectors};
use password_verify_legacy::{Imported, Refusal, Scheme, parse};

fn read(vector: &Vector) -> Imported {
    parse(vector.hash, &LIMITS, &site()).unwrap_or_else(|why| panic!("{why:?}: {}", vector.hash))
}

fn opens(imported: &Imported, password: &[u8], user: &str) -> bool {
    imported.scheme.compute(password, user).unwrap().same_as(&imported.output)
}

/// What a format does not look at: everything after the eighth byte, or the 72nd, and the eighth bit.
fn looks_at(imported: &Imported, password: &[u8]) -> usize {
    let most = match imported.scheme.name() {
        "des-crypt" => 8,
        "bcrypt" | "bcrypt-2x" => 72,
        _ => usize::MAX,
    };
    password.len().min(most)
}

#[test]
fn every_password_opens_its_hash() {
    let mut failed = Vec::new();
    for vector in vectors() {
        let Vector { system, format, hash, .. } = vector;
        let opened = parse(hash, &LIMITS, &site())
            .map(|imported| opens(&imported, &vector.password, vector.user));
        if opened != Ok(true) {
            failed.push(format!(
                "{opened:?} {system} {format} {:?} {hash}",
                String::from_utf8_lossy(&vector.password)
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn no_other_password_does() {
    for vector in vectors() {
        let imported = read(&vector);
        let looked_at = looks_at(&imported, &vector.password);
        let mut others = vec![[vector.password.as_slice(), b"x"].concat()];
        others.truncate(usize::from(
            looked_at == vector.password.len() && looked_at != 8 && looked_at != 72,
        ));
        for at in [0, looked_at / 2, looked_at.saturating_sub(1)] {
            let mut other = vector.password.clone();
            // The bug of $2x$ is that bytes above 0x7f hide the ones before them.
            let hides = imported.scheme.name() == "bcrypt-2x" && !other.is_ascii();
            let hidden = hides && !(at == 0 && other[0].is_ascii());
            if let Some(byte) = other.get_mut(at).filter(|_| !hidden) {
                *byte ^= 0x11;
                others.push(other);
            }
        }
        for other in others {
            assert!(
                !opens(&imported, &other, vector.user),
                "{} opens {}",
                other.escape_ascii(),
                vector.hash
            );
        }
    }
}

#[test]
fn the_user_matters_to_postgresql_md5_alone() {
    for vector in vectors() {
        let opened = opens(&read(&vector), &vector.password, "somebody else");
        assert_eq!(opened, vector.user.is_empty(), "{}", vector.hash);
    }
}

#[test]
fn a_scheme_is_read_back_from_its_text() {
    for vector in vectors() {
        let imported = read(&vector);
        let text = imported.scheme.to_text();
        let scheme =
            Scheme::from_text(&text, &LIMITS).unwrap_or_else(|why| panic!("{why:?}: {text}"));
        assert_eq!(scheme.to_text(), text);
        assert_eq!(scheme.name(), imported.scheme.name());
        assert_eq!(scheme.memory_kib(), imported.scheme.memory_kib());
        assert!(text.starts_with(&format!("{}$", scheme.name())));
        let read = Imported { scheme, output: imported.output };
        assert!(opens(&read, &vector.password, vector.user), "{text}");
    }
}

#[test]
fn the_text_of_a_scheme_is_canonical() {
    for vector in vectors() {
        let text = read(&vector).scheme.to_text();
        for changed in [
            format!("{text} "),
            format!(" {text}"),
            format!("{text}="),
            format!("{text}$"),
            text.replacen("$", "$$", 1),
            text.replacen('=', "=0", 1),
            text.replacen('=', "=+", 1),
            text.to_uppercase(),
            text[..text.len() - 1].to_owned(),
        ] {
            if changed != text
                && let Ok(other) = Scheme::from_text(&changed, &LIMITS)
            {
                assert_eq!(other.to_text(), changed, "one text, one scheme");
            }
        }
        assert!(Scheme::from_text(&format!("{text} "), &LIMITS).is_err());
        assert!(
            Scheme::from_text(&text.replacen('=', "=0", 1), &LIMITS).is_err()
                || !text.contains('=')
        );
    }
}

#[test]
fn argon2id_is_told_from_everything_else() {
    for vector in vectors() {
        let imported = read(&vector);
        let native = imported.scheme.name() == "argon2id" && !vector.format.contains("version 16");
        match imported.scheme.as_argon2id() {
            Some(argon2id) => {
                assert!(native, "{}", vector.hash);
                assert_eq!(argon2id.memory_kib, imported.scheme.memory_kib());
                assert!(
                    argon2id.salt.len() >= 8 && argon2id.iterations > 0 && argon2id.parallelism > 0
                );
            }
            None => assert!(!native, "{}", vector.hash),
        }
    }
}

#[test]
fn what_needs_memory_says_so_and_is_refused_without() {
    for vector in vectors() {
        let scheme = read(&vector).scheme;
        if let Some(less) = scheme.memory_kib().checked_sub(1).filter(|_| scheme.memory_kib() > 5) {
            let limits = password_verify_legacy::Limits::new(less);
            assert_eq!(parse(vector.hash, &limits, &site()).err(), Some(Refusal::OverLimit));
            let text = scheme.to_text();
            assert_eq!(Scheme::from_text(&text, &limits).err(), Some(Refusal::OverLimit));
        }
    }
}
