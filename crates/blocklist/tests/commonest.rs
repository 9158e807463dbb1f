//! Tests the list of the commonest passwords that the extension includes.
#![cfg(feature = "build")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use password_verify_blocklist::build::Keys;
use password_verify_blocklist::{Filter, Key};
use password_verify_core::strength::common;

const FILTER: &[u8] = include_bytes!("../common/common.filter");

fn entries() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("common");
    let lists = ["django.txt", "zxcvbn.txt", "password.txt", "more.txt"];
    let texts = lists.map(|list| fs::read_to_string(folder.join(list)).unwrap());
    texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
}

#[test]
fn the_filter_is_made_of_the_lists_beside_it() {
    let keys =
        entries().iter().filter_map(|text| common::entry(text)).map(|it| Key::of(&it)).collect();
    let mut made = Vec::new();
    Keys::new(keys).ok().unwrap().write(&mut made, |_| ()).ok().unwrap();
    assert!(made == FILTER, "cargo run --package password-verify-blocklist --example common");
}

#[test]
fn every_entry_is_refused_as_it_is_and_over_and_over() {
    let filter = Filter::open(FILTER).ok().unwrap();
    let listed = |text: &str| filter.contains(text);
    let mut left_out = 0;
    for entry in entries() {
        if common::entry(&entry).is_none() {
            left_out += 1;
            continue;
        }
        assert!(common::is_common(&entry, listed), "{entry}");
        assert!(common::is_common(&format!("{entry} {entry}"), listed), "{entry}");
        assert!(common::is_common(&entry.to_uppercase(), listed), "{entry}");
    }
    // 287 of 49,777: entries of one character, once or repeated, or of more than 16.
    assert!(left_out < 300, "{left_out}");
}

#[test]
fn how_often_a_password_is_refused_that_is_not_listed() {
    let filter = Filter::open(FILTER).ok().unwrap();
    // Fifteen or sixteen letters of no language, which are looked up; a number makes each unique.
    let tried = 200_000_u64;
    let mistaken = (0..tried).filter(|n| {
        let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
        let text: String = (0..15 + n % 2)
            .map(|_| {
                x = x
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + (x >> 33) as u8 % 26)
            })
            .collect();
        common::is_common(&text, |text| filter.contains(text))
    });
    // Two forms each are looked up, each mistaken once in 65,536: 6.1 are expected.
    let mistaken = mistaken.count();
    assert!((1..=16).contains(&mistaken), "{mistaken}");
    // Longer texts are never looked up.
    assert!(!common::is_common("correct horse battery staple", |_| panic!("not looked up")));
}
