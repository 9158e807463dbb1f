//! Every path against RustCrypto `argon2`, over what libFuzzer finds:
//!
//!     cargo +nightly fuzz run --fuzz-dir crates/argon2/fuzz oracle

#![no_main]

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use password_verify_argon2::{Block, Inputs, Params, Path, hash_on};

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    extra_kib: u16,
    t: u8,
    p: u8,
    tag_length: u8,
    garbage: u64,
    password: &'a [u8],
    salt: &'a [u8],
    secret: &'a [u8],
    associated_data: &'a [u8],
}

fuzz_target!(|case: Case| {
    let (t, p) = (u32::from(case.t % 4), u32::from(case.p % 18));
    let Ok(params) = Params::new(8 * p + u32::from(case.extra_kib % 4096), t, p) else { return };
    let inputs = Inputs {
        password: case.password,
        salt: case.salt,
        secret: case.secret,
        associated_data: case.associated_data,
    };
    let mut expected = vec![0; usize::from(case.tag_length)];
    let oracle = ParamsBuilder::new()
        .m_cost(params.m_kib())
        .t_cost(t)
        .p_cost(p)
        .output_len(expected.len())
        .data(AssociatedData::new(inputs.associated_data).unwrap_or(AssociatedData::EMPTY))
        .build()
        .and_then(|built| {
            Argon2::new_with_secret(inputs.secret, Algorithm::Argon2id, Version::V0x13, built)
        })
        .and_then(|it| it.hash_password_into(inputs.password, inputs.salt, &mut expected));
    let refused = oracle.is_err() || inputs.associated_data.len() > 32;

    let mut dirt = Block::new();
    dirt.as_mut().fill(case.garbage);
    for path in Path::available() {
        let mut memory = vec![dirt; params.blocks()];
        let mut tag = vec![0; expected.len()];
        let done = hash_on(path, &mut memory, params, &inputs, &mut tag);
        assert_eq!(done.is_err(), refused, "{path:?} {done:?}");
        assert!(refused || tag == expected, "{path:?}");
    }
});
