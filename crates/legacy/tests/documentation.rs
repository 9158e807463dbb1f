//! docs/import-formats.md has what the vectors and the code say. `PV_WRITE_DOCS=1 cargo test` writes it.
#![allow(clippy::panic, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write;

use common::{LIMITS, site, vectors};
use password_verify_legacy::{MAX_OUTPUT_BYTES, MAX_SALT_BYTES, MAX_TEXT_BYTES, parse};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/import-formats.md");

/// One line for a format: how it begins, the scheme, whether it is wrapped, and who made vectors.
fn formats() -> String {
    let vectors = vectors();
    let mut lines = String::from(
        "| format | begins like | scheme | wrapped in Argon2id | vectors |\n| --- | --- | --- | --- | --- |\n",
    );
    let mut done = BTreeSet::new();
    for vector in vectors.iter().filter(|vector| done.insert(vector.format)) {
        let of_format: Vec<_> =
            vectors.iter().filter(|other| other.format == vector.format).collect();
        let schemes: BTreeSet<_> = of_format
            .iter()
            .map(|other| {
                let scheme = parse(other.hash, &LIMITS, &site()).ok().unwrap().scheme;
                (scheme.name(), scheme.is_fast())
            })
            .collect();
        let names: Vec<_> = schemes.iter().map(|(name, _)| format!("`{name}`")).collect();
        let wrapped = schemes.iter().all(|&(_, fast)| fast);
        assert!(wrapped || schemes.iter().all(|&(_, fast)| !fast), "{}", vector.format);
        let systems: BTreeSet<_> = of_format.iter().map(|other| other.system).collect();
        let systems: Vec<_> = systems.into_iter().collect();
        let start: String = vector.hash.chars().take(28).collect();
        writeln!(
            lines,
            "| {} | `{start}` | {} | {} | {} of {} |",
            vector.format,
            names.join(", "),
            if wrapped { "yes" } else { "no" },
            of_format.len(),
            systems.join(", "),
        )
        .unwrap();
    }
    lines
}

/// One line for a ceiling. tests/ceilings.rs holds each to the unit.
fn ceilings() -> String {
    let l = LIMITS;
    [
        "| scheme | ceiling |".to_string(),
        "| --- | --- |".to_string(),
        "| `argon2*`, `*scrypt` | memory: a setting |".to_string(),
        format!("| `argon2*` | m · t ≤ {} KiB, p ≤ {} |", l.argon2_kib_passes, l.argon2_lanes),
        format!("| `scrypt`, `firebase-scrypt`, `better-auth-scrypt` | N · r · p ≤ {} |", l.scrypt_blocks),
        format!("| `yescrypt` | N · r · p · (t + 1) ≤ {} |", l.yescrypt_blocks),
        format!("| `*bcrypt*` | cost ≤ {} |", l.bcrypt_cost),
        format!(
            "| `*pbkdf2-*`, `postgresql-scram-sha-256` | iterations · digests of output ≤ {}, for SHA-512 half of it |",
            l.pbkdf2_iterations
        ),
        format!("| `sha256-crypt`, `sha512-crypt` | rounds ≤ {} |", l.sha_crypt_rounds),
        format!("| `sha1-crypt`, `fshp-*` | rounds ≤ {} |", l.pbkdf2_iterations),
        format!("| `sun-md5-crypt` | rounds beside the first 4096 ≤ {} |", l.sun_md5_rounds),
        format!("| `phpass`, `drupal-*` | log2 of the rounds ≤ {} |", l.phpass_log2),
        format!("| `xdes-crypt` | rounds ≤ {} |", l.des_rounds),
        format!(
            "| all | text ≤ {MAX_TEXT_BYTES} bytes, salt ≤ {MAX_SALT_BYTES} bytes, output ≤ {MAX_OUTPUT_BYTES} bytes |"
        ),
    ]
    .map(|line| line + "\n")
    .concat()
}

/// The text with what is between the marks of `name` replaced.
fn replaced(text: &str, name: &str, by: &str) -> String {
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&start).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{start}{by}{end}{after}")
}

#[test]
fn the_documentation_says_what_the_code_does() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let expected = replaced(&replaced(&text, "formats", &formats()), "ceilings", &ceilings());
    if std::env::var_os("PV_WRITE_DOCS").is_some() {
        std::fs::write(FILE, expected).unwrap();
    } else {
        assert!(
            text == expected,
            "docs/import-formats.md is not of today: PV_WRITE_DOCS=1 cargo test"
        );
    }
}

#[test]
fn every_scheme_is_documented_once() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let names: BTreeSet<_> = vectors()
        .iter()
        .map(|v| parse(v.hash, &LIMITS, &site()).ok().unwrap().scheme.name())
        .collect();
    assert_eq!(names.len(), 48, "a vector for every name: {names:?}");
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}
