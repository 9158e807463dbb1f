//! A build without the feature `import` refuses the hashes of other systems, but never calls a
//! password wrong: `cargo test -p password-verify-core --no-default-features --test without_import`
#![cfg(not(feature = "import"))]

use password_verify_core::kept::record::{Imported, Record};
use password_verify_core::kept::verifier::NotAVerifier;
use password_verify_core::rules::reason::Reason;

const MEMORY: u32 = 65536;
const OURS: &str = "$argon2id$v=19$m=256,t=2,p=4$c29tZXNhbHRzb21lc2FsdA$5CZ0y4EFo8aGNnTOqyj0Zv3Ly//FEsr0bPZ6BGnEO9U";

#[test]
fn records_of_other_systems_are_not_built() {
    let wrapped = format!("$wrapped{OURS}$sha1$");
    for text in ["$legacy$W6ph5Mm5Pz8GgiULbPgzG37mj9g$bcrypt$v=2b,c=4", &wrapped] {
        assert_eq!(Record::parse(text, MEMORY).err(), Some(NotAVerifier::NotBuilt), "{text}");
    }
    assert!(matches!(Record::parse(OURS, MEMORY), Ok(Record::Argon2id(_))));
}

#[test]
fn nothing_is_imported() {
    for hash in [OURS, "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="] {
        assert_eq!(Imported::parse(hash, MEMORY).err(), Some(Reason::UnsupportedFormat));
    }
}
