//! Listed passwords are found, others as rarely as promised, and `xorf` agrees.
#![cfg(feature = "build")]

mod common;

use common::{file, file_of, key, numbers, passwords};
use password_verify_blocklist::{Filter, Key};
use proptest::prelude::*;
use xorf::{BinaryFuse16, Filter as _};

/// How many of `count` passwords that are not listed are found.
fn false_positives(filter: &Filter, count: usize) -> usize {
    passwords("not listed", count).filter(|password| filter.contains(password)).count()
}

#[test]
fn what_is_listed_is_found() {
    for count in [1, 2, 3, 10, 1000, 11_515, 100_000] {
        let bytes = file_of("listed", count);
        let filter = Filter::open(&bytes).unwrap();
        assert_eq!(filter.entries(), count as u64);
        assert!(passwords("listed", count).all(|password| filter.contains(&password)), "{count}");
    }
}

#[test]
fn others_are_found_as_rarely_as_promised() {
    let bytes = file_of("listed", 200_000);
    let filter = Filter::open(&bytes).unwrap();
    assert_eq!(filter.false_positive_rate(), 1.0 / 65536.0);
    // 30.5 are expected. 15.5 more or fewer is about 3 standard deviations.
    let found = false_positives(&filter, 2_000_000);
    assert!((15..=46).contains(&found), "{found}");
}

#[test]
fn short_lists_keep_the_promise_too() {
    for count in [1, 5, 50] {
        let bytes = file_of("listed", count);
        let found = false_positives(&Filter::open(&bytes).unwrap(), 1_000_000);
        assert!(found < 2 * 1_000_000 / 65536, "{count}: {found}");
    }
}

#[test]
fn duplicates_count_once() {
    let twice = passwords("listed", 500).chain(passwords("listed", 400));
    let bytes = file(twice.map(|password| Key::of(&password)).collect());
    assert_eq!(Filter::open(&bytes).unwrap().entries(), 500);
    assert!(bytes == file_of("listed", 500));
}

/// As many shards as for a list of a little more than 2^20, one of them with few keys.
#[test]
fn shards_are_as_good_as_one_filter() {
    let few = numbers(1).map(|number| number & u64::MAX >> 1).take(100);
    let many = numbers(2).map(|number| number | 1 << 63).take((1 << 20) + 1000);
    let (few, many): (Vec<u64>, Vec<u64>) = (few.collect(), many.collect());
    let bytes = file(few.iter().chain(&many).map(|number| key(*number)).collect());
    assert_eq!(bytes[12], 1, "two shards");

    let filter = Filter::open(&bytes).unwrap();
    let oracles = [few, many].map(|mut numbers| {
        assert!(numbers.iter().all(|number| filter.contains_key(key(*number))));
        numbers.sort_unstable();
        BinaryFuse16::try_from(&numbers).unwrap()
    });
    for number in numbers(3).take(1_000_000) {
        let expected = oracles[(number >> 63) as usize].contains(&number);
        assert_eq!(filter.contains_key(key(number)), expected, "{number}");
    }
}

#[test]
fn all_in_one_shard_of_several() {
    let same = numbers(4).map(|number| number & u64::MAX >> 4).take((1 << 21) + 1);
    let bytes = file(same.map(key).collect());
    assert_eq!(bytes[12], 2, "four shards, three of them empty");
    let filter = Filter::open(&bytes).unwrap();
    let listed = numbers(4).map(|number| number & u64::MAX >> 4).take((1 << 21) + 1);
    assert!(listed.map(key).all(|key| filter.contains_key(key)));
    let found = numbers(5).take(1_000_000).filter(|number| filter.contains_key(key(*number)));
    assert!(found.count() < 2 * 1_000_000 / 65536);
}

#[test]
fn it_lies_anywhere_in_memory() {
    let file = file_of("listed", 1000);
    for offset in 0..8 {
        let mut shifted = vec![0; offset];
        shifted.extend_from_slice(&file);
        let filter = Filter::open(&shifted[offset..]).unwrap();
        assert!(passwords("listed", 1000).all(|password| filter.contains(&password)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn xorf_agrees(seed: u64, count in 1..3000usize) {
        let mut listed: Vec<u64> = numbers(seed).take(count).collect();
        let bytes = file(listed.iter().copied().map(key).collect());
        let filter = Filter::open(&bytes).unwrap();
        listed.sort_unstable();
        let oracle = BinaryFuse16::try_from(&listed).unwrap();
        for number in &listed {
            prop_assert!(filter.contains_key(key(*number)));
        }
        for number in numbers(!seed).take(20_000) {
            prop_assert_eq!(filter.contains_key(key(number)), oracle.contains(&number));
        }
    }
}
