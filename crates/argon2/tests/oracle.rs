//! Every path against RustCrypto `argon2`, over random parameters and inputs.

#![allow(clippy::unwrap_used)]

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use password_verify_argon2::{Block, Inputs, Params, Path, hash_on};
use proptest::prelude::*;

/// 500, or what `PROPTEST_CASES` says.
fn cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(500),
    }
}

fn oracle(params: Params, inputs: &Inputs, tag: &mut [u8]) {
    let built = ParamsBuilder::new()
        .m_cost(params.m_kib())
        .t_cost(params.t())
        .p_cost(params.p())
        .output_len(tag.len())
        .data(AssociatedData::new(inputs.associated_data).unwrap())
        .build()
        .unwrap();
    Argon2::new_with_secret(inputs.secret, Algorithm::Argon2id, Version::V0x13, built)
        .unwrap()
        .hash_password_into(inputs.password, inputs.salt, tag)
        .unwrap();
}

fn bytes(length: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), length)
}

/// m from the least to 3 MiB (more than one block of addresses in a segment of one lane), rarely more.
fn params() -> impl Strategy<Value = Params> {
    let extra = prop_oneof![8 => 0u32..64, 8 => 0u32..3072, 1 => 0u32..20_000];
    (1u32..=16, 1u32..=4, extra).prop_map(|(p, t, extra)| Params::new(8 * p + extra, t, p).unwrap())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_path_agrees_with_the_oracle(
        params in params(),
        (password, salt) in (bytes(0..200), bytes(8..64)),
        (secret, associated_data) in (bytes(0..40), bytes(0..=32)),
        tag_length in prop_oneof![4usize..=64, 65usize..200],
        garbage in any::<u64>(),
        spare in 0usize..3,
    ) {
        let inputs = Inputs {
            password: &password,
            salt: &salt,
            secret: &secret,
            associated_data: &associated_data,
        };
        let mut expected = vec![0; tag_length];
        oracle(params, &inputs, &mut expected);
        let mut dirt = Block::new();
        dirt.as_mut().fill(garbage);
        let mut memory = vec![dirt; params.blocks() + spare];
        for path in Path::available() {
            let mut tag = vec![0; tag_length];
            hash_on(path, &mut memory, params, &inputs, &mut tag).unwrap();
            prop_assert_eq!(&tag, &expected, "{:?}", path);
        }
        // What is not needed is not touched.
        prop_assert!(memory[params.blocks()..].iter().all(|block| block.as_ref() == dirt.as_ref()));
    }
}
