//! DES (FIPS 46-3) with the salt of crypt(3), which swaps bits inside each round.
//!
//! Blocks and keys are 64 bits, the standard's first bit being the most significant. The tables are
//! the standard's, with bits counted from 1.

use zeroize::Zeroizing;

const IP: [u8; 64] = [
    58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4, 62, 54, 46, 38, 30, 22, 14, 6,
    64, 56, 48, 40, 32, 24, 16, 8, 57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3, 61,
    53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
];
const FP: [u8; 64] = [
    40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31, 38, 6, 46, 14, 54, 22, 62, 30,
    37, 5, 45, 13, 53, 21, 61, 29, 36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27,
    34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9, 49, 17, 57, 25,
];
const PC1: [u8; 56] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60,
    52, 44, 36, 63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29,
    21, 13, 5, 28, 20, 12, 4,
];
const PC2: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52,
    31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];
const P: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19,
    13, 30, 6, 22, 11, 4, 25,
];
const ROTATIONS: [u32; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];

/// S1 to S8, each as its rows of 16.
const S: [[u8; 64]; 8] = [
    [
        14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12,
        11, 9, 5, 3, 8, 4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9,
        1, 7, 5, 11, 3, 14, 10, 0, 6, 13,
    ],
    [
        15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1,
        10, 6, 9, 11, 5, 0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15,
        4, 2, 11, 6, 7, 12, 0, 5, 14, 9,
    ],
    [
        10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5,
        14, 12, 11, 15, 1, 13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6,
        9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12,
    ],
    [
        7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2,
        12, 1, 10, 14, 9, 10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1,
        13, 8, 9, 4, 5, 11, 12, 7, 2, 14,
    ],
    [
        2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15,
        10, 3, 9, 8, 6, 4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14,
        2, 13, 6, 15, 0, 9, 10, 4, 5, 3,
    ],
    [
        12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13,
        14, 0, 11, 3, 8, 9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5,
        15, 10, 11, 14, 1, 7, 6, 0, 8, 13,
    ],
    [
        4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5,
        12, 2, 15, 8, 6, 1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4,
        10, 7, 9, 5, 0, 15, 14, 2, 3, 12,
    ],
    [
        13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6,
        11, 0, 14, 9, 2, 7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10,
        8, 13, 15, 12, 9, 0, 3, 5, 6, 11,
    ],
];

/// The output of each S-box for six bits, with P already applied.
static SP: [[u32; 64]; 8] = sp();

const fn sp() -> [[u32; 64]; 8] {
    let mut sp = [[0; 64]; 8];
    let mut i = 0;
    while i < 8 {
        let mut six = 0;
        while six < 64 {
            // The outer two bits select the row, the inner four the column.
            let at = (six >> 5 << 1 | six & 1) << 4 | six >> 1 & 15;
            let nibble = (S[i][at] as u64) << (28 - 4 * i);
            sp[i][six] = permute(nibble, 32, &P) as u32;
            six += 1;
        }
        i += 1;
    }
    sp
}

/// Selects the bits of a word of `width` bits that a table names.
const fn permute<const N: usize>(word: u64, width: u32, table: &[u8; N]) -> u64 {
    let mut out = 0;
    let mut i = 0;
    while i < N {
        out = out << 1 | word >> (width - table[i] as u32) & 1;
        i += 1;
    }
    out
}

/// Sixteen round keys in halves of 24 bits.
pub struct Key(Zeroizing<[[u32; 2]; 16]>);

impl Key {
    /// Expands 8 bytes. Their last bits are parity and do not count.
    pub fn new(key: u64) -> Self {
        let mut halves = Zeroizing::new([0; 2]);
        let both = Zeroizing::new(permute(key, 64, &PC1));
        *halves = [*both >> 28, *both & 0xfff_ffff];
        let mut rounds = Zeroizing::new([[0; 2]; 16]);
        for (round, by) in rounds.iter_mut().zip(ROTATIONS) {
            for half in halves.iter_mut() {
                *half = (*half << by | *half >> (28 - by)) & 0xfff_ffff;
            }
            let key = permute(halves[0] << 28 | halves[1], 56, &PC2);
            *round = [(key >> 24) as u32, (key & 0xff_ffff) as u32];
        }
        Self(rounds)
    }

    /// Encrypts a block `count` times. Bit i of `salt`, counted from the least significant, swaps
    /// bits i and i + 24 of every E, counted from the first.
    pub fn encrypt(&self, block: u64, salt: u32, count: u32) -> u64 {
        let salt = salt.reverse_bits() >> 8;
        let block = permute(block, 64, &IP);
        let (mut l, mut r) = ((block >> 32) as u32, (block & 0xffff_ffff) as u32);
        for _ in 0..count {
            for key in self.0.iter() {
                (l, r) = (r, l ^ f(r, key, salt));
            }
            // The last round does not swap its halves, and FP and IP cancel out in between.
            (l, r) = (r, l);
        }
        permute(u64::from(l) << 32 | u64::from(r), 64, &FP)
    }
}

/// f of the standard, with the salt applied between E and the key.
fn f(r: u32, key: &[u32; 2], salt: u32) -> u32 {
    // Each group is six bits: a nibble, the last bit before it and the first bit after it.
    let six = |i: u32| r.rotate_right(1).rotate_left(4 * i) >> 26;
    let high = six(0) << 18 | six(1) << 12 | six(2) << 6 | six(3);
    let low = six(4) << 18 | six(5) << 12 | six(6) << 6 | six(7);
    let exchanged = (high ^ low) & salt;
    let (high, low) = (high ^ exchanged ^ key[0], low ^ exchanged ^ key[1]);
    let of = |i: usize, half: u32| SP[i][(half >> (18 - 6 * (i % 4)) & 63) as usize];
    of(0, high)
        ^ of(1, high)
        ^ of(2, high)
        ^ of(3, high)
        ^ of(4, low)
        ^ of(5, low)
        ^ of(6, low)
        ^ of(7, low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_salt_it_is_des() {
        // The FIPS 46 example of the textbooks, and one of NIST SP 800-17.
        let encrypt = |key, block| Key::new(key).encrypt(block, 0, 1);
        assert_eq!(encrypt(0x1334_5779_9bbc_dff1, 0x0123_4567_89ab_cdef), 0x85e8_1354_0f0a_b405);
        assert_eq!(encrypt(0x0101_0101_0101_0101, 0x8000_0000_0000_0000), 0x95f8_a5e5_dd31_d900);
    }
}
