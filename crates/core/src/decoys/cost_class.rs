//! The class of cost of a record: its scheme with its parameters.
//!
//! Two records of one class take the same time. A class is named by a *template*: the text of a
//! record of that class whose salts and output are zeros. Computing it takes exactly that cost, and
//! it contains nothing about any user. (Firebase's signer key counts as a salt here.)

use base64ct::{Base64Unpadded, Encoding};
use blake2::Blake2b;
use blake2::digest::{Digest, consts::U16};

use crate::kept::record::Record;
use crate::kept::verifier::Verifier;
use crate::rules::cost::{Cost, MAX_MEMORY_KIB};

/// The digest of a template.
pub type ClassKey = [u8; 16];

/// The key that stands for no class.
pub const NO_CLASS: ClassKey = [0; 16];

/// The template of a record's class; `None` if the text is not a record.
pub fn template(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('$').collect();
    match parts[..] {
        ["", "legacy", output, name, numbers, ref salts @ ..] => {
            let output = zeros(Base64Unpadded::decode_vec(output).ok()?.len());
            blank(&format!("$legacy${output}${name}${}", without_salt(numbers)), salts)
        }
        ["", "wrapped", "argon2id", _, numbers, _, _, name, other, ref salts @ ..] => {
            let verifier = Verifier::decoy(cost(numbers)?).expose();
            let head = format!("$wrapped{}${name}${}", verifier.expose(), without_salt(other));
            blank(&head, salts)
        }
        ["", "argon2id", _, numbers, _, _] => Some(of_cost(cost(numbers)?)),
        _ => None,
    }
}

/// The template of new verifiers with this cost.
pub fn of_cost(cost: Cost) -> String {
    Verifier::decoy(cost).expose().expose().to_owned()
}

/// The key of a template.
pub fn key(template: &str) -> ClassKey {
    Blake2b::<U16>::digest(template).into()
}

/// The class of a record's text; [`NO_CLASS`] if the text is not a record.
pub fn class(text: &str) -> ClassKey {
    template(text).map_or(NO_CLASS, |template| key(&template))
}

/// Replaces the salts with zeros. Some systems use salts of many lengths, which would each be a
/// class; where the scheme allows, the length is rounded, because it hardly changes the cost.
fn blank(head: &str, salts: &[&str]) -> Option<String> {
    let lengths: Vec<usize> = salts
        .iter()
        .map(|salt| Base64Unpadded::decode_vec(salt).map(|bytes| bytes.len()))
        .collect::<Result<_, _>>()
        .ok()?;
    let rounded = |length: usize| if length <= 8 { 8 } else { 16 };
    [rounded, |length| length].into_iter().find_map(|of: fn(usize) -> usize| {
        let mut text = head.to_owned();
        for length in &lengths {
            text.push('$');
            text.push_str(&zeros(of(*length)));
        }
        Record::parse(&text, MAX_MEMORY_KIB).is_ok().then_some(text)
    })
}

fn zeros(length: usize) -> String {
    Base64Unpadded::encode_string(&vec![0; length])
}

/// Blanks the salt of DES, which is one of the parameters.
fn without_salt(numbers: &str) -> String {
    let blank = |pair: &str| match pair.split_once('=') {
        Some(("salt", _)) => "salt=0".to_owned(),
        _ => pair.to_owned(),
    };
    numbers.split(',').map(blank).collect::<Vec<_>>().join(",")
}

fn cost(numbers: &str) -> Option<Cost> {
    let mut values = ["m=", "t=", "p="].into_iter().zip(numbers.split(',')).map(|(key, pair)| {
        let value: u32 = pair.strip_prefix(key)?.parse().ok()?;
        Some(value)
    });
    Cost::new(values.next()??, values.next()??, values.next()??).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "$argon2id$v=19$m=65536,t=3,p=4$c2l4dGVlbmJ5dGVzYWx0IQ$fIdckRrlGIsZEK+VGnuPj/D4XiTNGpIDoIAZIsyWpwc";

    #[test]
    fn two_records_of_one_cost_are_one_class() {
        let other = OURS.replace("c2l4dGVlbmJ5dGVzYWx0IQ", "c29tZXNhbHRzb21lc2FsdA");
        assert_eq!(class(OURS), class(&other));
        assert_ne!(class(OURS), NO_CLASS);
        assert_eq!(template(OURS), Some(of_cost(Cost::new(65536, 3, 4).unwrap())));
        assert_ne!(class(OURS), class(&OURS.replace("t=3", "t=2")));
        let wrapped = format!("$wrapped{OURS}$ldap-sha1$$");
        assert_ne!(class(&wrapped), class(OURS));
    }

    #[test]
    fn a_template_has_nothing_of_the_record() {
        let zeros = "A".repeat(22);
        for (text, expected) in [
            (
                "$legacy$c2l4dGVlbmJ5dGVzYWx0IQ$bcrypt$cost=5$c2l4dGVlbmJ5dGVzYWx0IQ".to_owned(),
                Some(format!("$legacy${zeros}$bcrypt$cost=5${zeros}")),
            ),
            ("$legacy$AAAA".into(), None),
            ("$legacy$AAAA$nothing$$".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(template(&text), expected, "{text}");
        }
    }
}
