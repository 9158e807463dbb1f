//! Any file that is not, byte for byte, one that was written is refused, and none causes a panic.
#![cfg(feature = "build")]

mod common;

use blake2::{Blake2b256, Digest};
use common::{file_of, passwords};
use password_verify_blocklist::{Damaged, Filter};
use proptest::prelude::*;

fn refusal(bytes: &[u8]) -> Option<Damaged> {
    Filter::open(bytes).err()
}

/// Replaces the checksum by the right one.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 32;
    let sum = Blake2b256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
    bytes
}

/// Opens a file of three passwords with one number replaced and the right checksum.
fn patched(at: usize, number: &[u8]) -> Option<Damaged> {
    let mut bytes = file_of("three", 3);
    bytes[at..at + number.len()].copy_from_slice(number);
    refusal(&summed(bytes))
}

#[test]
fn the_format_is_this() {
    let expected = concat!(
        "5056424c49535400",
        "0100000000000000",
        "0300000000000000",
        "00000000000000000000000000000000000000008ff40000000000000000000000000000e5c800000000961000000000",
        "c15c0289ec2d0a91",
        "0000000000000000",
        "0800000001000000",
        "46f549133e8544dcda915cc03872589af26f75540aa2b97f1d628e10ede4e009",
    );
    let bytes = file_of("three", 3);
    assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = file_of("a few", 100);
    assert_eq!(refusal(&bytes), None);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            assert!(refusal(&bytes).is_some(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = file_of("a few", 100);
    for end in 0..bytes.len() {
        assert!(refusal(&bytes[..end]).is_some(), "{end}");
        if end >= 32 {
            let cut = summed(bytes[..end].to_vec());
            assert!(refusal(&cut).is_some(), "{end} with a right checksum");
        }
    }
}

#[test]
fn what_follows_is_refused() {
    let mut bytes = file_of("a few", 100);
    for _ in 0..100 {
        bytes.push(0);
        assert!(refusal(&bytes).is_some());
        assert!(refusal(&summed(bytes.clone())).is_some(), "with a right checksum");
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    assert_eq!(refusal(b""), Some(Damaged::NotAFilter));
    assert_eq!(refusal(b"PVBLIST\0"), Some(Damaged::Length));
    assert_eq!(patched(0, b"pvblist\0"), Some(Damaged::NotAFilter));
    assert_eq!(patched(8, &2u32.to_le_bytes()), Some(Damaged::Version(2)));
    assert_eq!(patched(12, &1u32.to_le_bytes()), Some(Damaged::Parameters));
    assert_eq!(patched(12, &16u32.to_le_bytes()), Some(Damaged::Length));
    assert_eq!(patched(12, &17u32.to_le_bytes()), Some(Damaged::Parameters));
    assert_eq!(patched(12, &u32::MAX.to_le_bytes()), Some(Damaged::Parameters));
    assert_eq!(patched(16, &0u64.to_le_bytes()), Some(Damaged::Parameters));
    assert_eq!(patched(16, &u64::MAX.to_le_bytes()), Some(Damaged::Parameters));
    let directory = file_of("three", 3).len() - 32 - 24;
    assert_eq!(patched(directory + 8, &1u64.to_le_bytes()), Some(Damaged::Parameters));
    assert_eq!(patched(directory + 16, &3u32.to_le_bytes()), Some(Damaged::Parameters));
    assert_eq!(patched(directory + 16, &2u32.to_le_bytes()), Some(Damaged::Length));
    assert_eq!(patched(directory + 20, &0u32.to_le_bytes()), Some(Damaged::Parameters));
    assert_eq!(patched(directory + 20, &u32::MAX.to_le_bytes()), Some(Damaged::Parameters));
    let mut bytes = file_of("three", 3);
    bytes[30] ^= 1;
    assert_eq!(refusal(&bytes), Some(Damaged::Checksum));
}

#[test]
fn refusals_are_fixed_texts() {
    let said = |damaged: Damaged| damaged.to_string();
    assert_eq!(said(Damaged::NotAFilter), "not a file of password_verify_blocklist");
    assert_eq!(said(Damaged::Version(9)), "of format version 9, not 1: build it anew");
    assert_eq!(said(Damaged::Length), "damaged: its length is not what it says");
    assert_eq!(said(Damaged::Parameters), "damaged: impossible parameters");
    assert_eq!(said(Damaged::Checksum), "damaged: its checksum is wrong");
}

proptest! {
    #[test]
    fn any_bytes_at_all(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(refusal(&bytes).is_some());
    }

    #[test]
    fn changed_bytes_are_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..8),
    ) {
        let (original, mut bytes) = (file_of("a few", 100), file_of("a few", 100));
        for (at, with) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        prop_assert!(bytes == original || refusal(&bytes).is_some());
    }

    /// Even with the right checksum, which only an attacker would compute.
    #[test]
    fn what_is_not_refused_can_be_looked_up_in(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        where_parameters_are: bool,
    ) {
        let mut bytes = file_of("a few", 10);
        let end = bytes.len() - 32;
        for (at, with) in changes {
            let near = [0, end - 24][usize::from(with % 2 == 0)] + at.index(24);
            let at = if where_parameters_are { near } else { at.index(end) };
            bytes[at] = with;
        }
        let bytes = summed(bytes);
        if let Ok(filter) = Filter::open(&bytes) {
            for password in passwords("any", 1000) {
                filter.contains(&password);
            }
        }
    }
}

#[test]
fn a_file_that_was_opened_before_is_opened_again_unread() {
    let bytes = file_of("a few", 100);
    let (first, again) = (Filter::open(&bytes).ok().unwrap(), Filter::reopen(&bytes).ok().unwrap());
    for password in passwords("a few", 100).chain(passwords("others", 100)) {
        assert_eq!(first.contains(&password), again.contains(&password));
    }
    // Later changes are not noticed, but cause no panic.
    for at in 0..bytes.len() {
        for end in [at, bytes.len()] {
            let mut changed = bytes[..end].to_vec();
            changed.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x81);
            if let Ok(filter) = Filter::reopen(&changed) {
                let _ = filter.contains("anything");
            }
        }
    }
}
