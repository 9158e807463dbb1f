//! The vectors of tests/vectors.txt. Every test binary uses some of this.
#![allow(dead_code)]

use password_verify_legacy::{FirebaseParams, Limits, Site};

/// A password as a system hashed it.
pub struct Vector {
    pub system: &'static str,
    pub format: &'static str,
    pub user: &'static str,
    pub password: Vec<u8>,
    pub hash: &'static str,
}

/// All of them.
pub fn vectors() -> Vec<Vector> {
    include_str!("../vectors.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(vector)
        .collect()
}

fn vector(line: &'static str) -> Vector {
    let columns: Vec<_> = line.split('\t').collect();
    let [system, format, user, password, hash] = columns[..] else { panic!("{line}") };
    let password = if password == "-" { "" } else { password };
    Vector { system, format, user, password: bytes(password), hash }
}

/// A password as passlib's tests have it.
pub struct PasslibVector {
    pub handler: &'static str,
    pub user: &'static str,
    pub password: Vec<u8>,
    pub hash: &'static str,
}

/// All of passlib.txt.
pub fn passlib_vectors() -> Vec<PasslibVector> {
    let rows = include_str!("../passlib.txt").lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let [handler, user, password, hash] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let password = if password == "-" { "" } else { password };
        PasslibVector { handler, user, password: bytes(password), hash }
    })
    .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// 1 GiB.
pub const LIMITS: Limits = Limits::new(1 << 20);

/// The Firebase project of the vectors.
pub fn site() -> Site {
    let firebase = FirebaseParams {
        signer_key: bytes(SIGNER_KEY).into(),
        salt_separator: vec![7],
        rounds: 8,
        mem_cost: 11,
    };
    Site { firebase: Some(firebase) }
}

const SIGNER_KEY: &str = "a2ef6d7584c6c989bc92e47a0edd01a74903b806285eb2b5ea66d93b8c86c009\
    f7a0bb298e7374fdce35bfcc599ced67d782773232a3d5bda0e8050202517033";
