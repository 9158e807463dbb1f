//! A self-test with known answers, run at server start.

use crate::{Block, Inputs, Params, Path, hash_on};

/// Whether this path gives the tags of the reference implementation. Takes some milliseconds and 1
/// MiB. A path that this CPU does not support fails.
///
/// Both loops through the memory are covered: one lane with more than one address block per
/// segment, and several lanes whose length is not a power of two.
pub fn self_test(path: Path) -> bool {
    // From crates/argon2/tests/vectors.py: RFC 9106 section 5.3 and the reference implementation.
    let with_all =
        Inputs { password: &[1; 32], salt: &[2; 16], secret: &[3; 8], associated_data: &[4; 12] };
    let plain = Inputs { password: b"password", salt: b"somesaltsomesalt", ..Inputs::default() };
    [
        ((32, 3, 4), with_all, RFC_9106),
        ((1000, 2, 1), plain, ONE_LANE),
        ((333, 3, 3), plain, THREE_LANES),
    ]
    .into_iter()
    .all(|((m_kib, t, p), inputs, expected)| {
        let Ok(params) = Params::new(m_kib, t, p) else { return false };
        let mut memory = vec![Block::new(); params.blocks()];
        let mut tag = [0; 32];
        hash_on(path, &mut memory, params, &inputs, &mut tag).is_ok() && tag == expected
    })
}

const RFC_9106: [u8; 32] = [
    0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9,
    0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
];
const ONE_LANE: [u8; 32] = [
    0x86, 0xf2, 0x03, 0xed, 0xd4, 0x3b, 0x64, 0xde, 0xc5, 0xf2, 0xda, 0x52, 0x65, 0xf9, 0xa7, 0x58,
    0x64, 0x77, 0xe0, 0x9e, 0x2a, 0x12, 0x76, 0x4c, 0x5c, 0x3e, 0x35, 0x7d, 0x8e, 0x1b, 0x87, 0xce,
];
const THREE_LANES: [u8; 32] = [
    0xc0, 0x11, 0x61, 0xef, 0xf9, 0x52, 0xea, 0x2c, 0x24, 0xd1, 0x8e, 0xa5, 0x2a, 0xfa, 0x57, 0xb0,
    0xc2, 0xc7, 0x3b, 0xcb, 0x9e, 0x66, 0x8c, 0x99, 0x6b, 0x76, 0x4b, 0x05, 0x16, 0xe4, 0x71, 0xae,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri takes hours; it runs tests/known_answers.rs")]
    fn every_path_of_this_cpu_passes_and_no_other() {
        for path in Path::ALL {
            assert_eq!(self_test(path), path.is_available(), "{path:?}");
        }
    }
}
