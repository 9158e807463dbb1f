//! RFC 9106 section 5.3 and the reference implementation's answers, on every path, and what is refused.

#![allow(clippy::unwrap_used)]

use password_verify_argon2::{Arena, Block, Error, Inputs, Params, Path, hash, hash_on};

/// tests/vectors.py tells how they were made.
const VECTORS: &str = include_str!("vectors.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let hex = if hex == "-" { "" } else { hex };
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn every_path_gives_the_reference_implementations_tags() {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    // Miri is slow.
    let lines = lines.filter(|line| !cfg!(miri) || line.starts_with("8 "));
    let mut checked = 0;
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| fields[at].parse().unwrap();
        let params = Params::new(number(0), number(1), number(2)).unwrap();
        let [password, salt, secret, associated_data, expected] =
            [3, 4, 5, 6, 7].map(|at| bytes(fields[at]));
        let inputs = Inputs {
            password: &password,
            salt: &salt,
            secret: &secret,
            associated_data: &associated_data,
        };
        for path in Path::available() {
            let mut memory = vec![Block::new(); params.blocks()];
            let mut tag = vec![0; expected.len()];
            hash_on(path, &mut memory, params, &inputs, &mut tag).unwrap();
            assert_eq!(tag, expected, "{path:?} {params:?}");
        }
        checked += 1;
    }
    assert!(checked > if cfg!(miri) { 1 } else { 40 });
}

#[test]
#[cfg_attr(miri, ignore = "Miri knows no mapping that is given back in parts")]
fn an_arena_is_memory_like_any_other_and_can_be_used_again() {
    let params = Params::new(3000, 2, 2).unwrap();
    let inputs = Inputs { password: b"password", salt: b"somesalt", ..Inputs::default() };
    let mut arena = Arena::new(params.blocks()).unwrap();
    let mut tags = [[0; 32]; 3];
    for tag in &mut tags[..2] {
        hash(arena.blocks(), params, &inputs, tag).unwrap();
    }
    hash(&mut vec![Block::new(); params.blocks()], params, &inputs, &mut tags[2]).unwrap();
    assert!(tags[0] == tags[1] && tags[1] == tags[2] && tags[0] != [0; 32]);
}

#[test]
fn what_cannot_be_hashed_is_refused_by_every_path() {
    let params = Params::new(32, 1, 1).unwrap();
    let good = Inputs { password: b"", salt: b"somesalt", ..Inputs::default() };
    let short_salt = Inputs { salt: b"7 bytes", ..good };
    let long_data = Inputs { associated_data: &[0; 33], ..good };
    for path in Path::available() {
        let mut memory = vec![Block::new(); 32];
        let mut refused = |blocks: usize, inputs: &Inputs, tag: &mut [u8]| {
            hash_on(path, &mut memory[..blocks], params, inputs, tag).err()
        };
        assert_eq!(refused(32, &good, &mut [0; 4]), None);
        assert_eq!(refused(31, &good, &mut [0; 32]), Some(Error::MemoryTooSmall));
        assert_eq!(refused(0, &good, &mut [0; 32]), Some(Error::MemoryTooSmall));
        assert_eq!(refused(32, &short_salt, &mut [0; 32]), Some(Error::SaltTooShort));
        assert_eq!(refused(32, &long_data, &mut [0; 32]), Some(Error::TooLong));
        assert_eq!(refused(32, &good, &mut [0; 3]), Some(Error::TagTooShort));
        assert_eq!(refused(32, &good, &mut []), Some(Error::TagTooShort));
    }
}

#[test]
fn the_best_path_is_an_available_one_and_the_portable_one_always_is() {
    assert!(Path::best().is_available());
    assert!(Path::Portable.is_available());
    assert_eq!(Path::available().next(), Some(Path::best()));
    assert!(Path::ALL.into_iter().all(|path| Path::from_name(path.name()) == Some(path)));
}
