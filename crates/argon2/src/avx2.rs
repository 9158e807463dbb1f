//! The compression function G in 256-bit vectors.
//!
//! A block is a matrix of 8 × 16 words in natural order: 8 rows of 4 vectors. A row is one
//! permutation P in four vectors. Two pairs of columns are two P in eight vectors, where rotating
//! two of four words only renames vectors. Four rows, or four pairs of columns, are computed at
//! once, although 16 registers cannot hold them: hiding latency gains more than the traffic with
//! the first-level cache costs (116 ns per block against 144 ns with two at once).

// Indices are easier to read in matrix code.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::hint::black_box;

use zeroize::Zeroize;

use crate::Block;

type V = __m256i;

/// The operands of a computation: four groups of four vectors, transposed.
type Groups = [[V; 4]; 4];

/// The matrix after the rows and before the columns.
struct State {
    /// Vector 4r + c holds words 4c to 4c + 3 of row r.
    matrix: [V; 32],
    orders: Orders,
}

/// Byte shuffles that rotate words to the right. They are hidden from the compiler, which would
/// replace each by two instructions.
#[derive(Clone, Copy)]
struct Orders {
    by24: V,
    by16: V,
}

/// Words keep their natural order in memory.
pub fn position(word: usize) -> usize {
    word
}

crate::fill::define_fill!("avx2");

impl State {
    #[target_feature(enable = "avx2")]
    fn new() -> Self {
        let by24 = _mm256_broadcastsi128_si256(_mm_setr_epi8(
            3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10,
        ));
        let by16 = _mm256_broadcastsi128_si256(_mm_setr_epi8(
            2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9,
        ));
        let orders = Orders { by24: black_box(by24), by16: black_box(by16) };
        Self { matrix: [_mm256_setzero_si256(); 32], orders }
    }

    fn wipe(mut self) {
        self.matrix.zeroize();
    }

    /// Computes all rows and half of the columns. `keep`: XOR into the block, do not overwrite it.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn open<const CALLER: u8>(
        &mut self,
        (previous, _, referred): (&Block, bool, &Block),
        block: &mut Block,
        keep: bool,
    ) -> u64 {
        self.rows::<CALLER, 0>(previous, referred, block, keep);
        self.rows::<CALLER, 4>(previous, referred, block, keep);
        self.columns::<CALLER, 0>(block);
        block.as_ref()[0]
    }

    /// Computes rows FROM to FROM + 3.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn rows<const CALLER: u8, const FROM: usize>(
        &mut self,
        previous: &Block,
        referred: &Block,
        block: &mut Block,
        keep: bool,
    ) {
        let mut rows = [[_mm256_setzero_si256(); 4]; 4];
        for row in 0..4 {
            for column in 0..4 {
                let at = 4 * (FROM + row) + column;
                let x = _mm256_xor_si256(load(previous, at), load(referred, at));
                store(block, at, if keep { _mm256_xor_si256(x, load(block, at)) } else { x });
                rows[column][row] = x;
            }
        }
        half(&mut rows, self.orders);
        // RFC 9106 keeps the first row of a P in place. Keeping the second is equivalent, and that
        // one is computed last.
        for row in 0..4 {
            rows[0][row] = _mm256_permute4x64_epi64::<BACK>(rows[0][row]);
            rows[2][row] = _mm256_permute4x64_epi64::<FORTH>(rows[2][row]);
            rows[3][row] = _mm256_permute4x64_epi64::<OVER>(rows[3][row]);
        }
        half(&mut rows, self.orders);
        for row in 0..4 {
            rows[0][row] = _mm256_permute4x64_epi64::<FORTH>(rows[0][row]);
            rows[2][row] = _mm256_permute4x64_epi64::<BACK>(rows[2][row]);
            rows[3][row] = _mm256_permute4x64_epi64::<OVER>(rows[3][row]);
            for column in 0..4 {
                self.matrix[4 * (FROM + row) + column] = rows[column][row];
            }
        }
    }

    /// Computes the other half of the columns.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn close<const CALLER: u8>(&mut self, block: &mut Block) {
        self.columns::<CALLER, 2>(block);
    }

    /// Computes the four pairs of columns in vectors FROM and FROM + 1 of each row: two in the
    /// first half of `v`, two in the second.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn columns<const CALLER: u8, const FROM: usize>(&mut self, block: &mut Block) {
        let mut v = [[_mm256_setzero_si256(); 4]; 4];
        for row in 0..8 {
            for i in 0..2 {
                v[row / 2][2 * i + row % 2] = self.matrix[4 * row + FROM + i];
            }
        }
        half(&mut v, self.orders);
        for i in [0, 2] {
            [v[0][i], v[0][i + 1]] = back(v[0][i], v[0][i + 1]);
            [v[2][i], v[2][i + 1]] = forth(v[2][i], v[2][i + 1]);
            v[3].swap(i, i + 1);
        }
        half(&mut v, self.orders);
        for i in [0, 2] {
            [v[0][i], v[0][i + 1]] = forth(v[0][i], v[0][i + 1]);
            [v[2][i], v[2][i + 1]] = back(v[2][i], v[2][i + 1]);
            v[3].swap(i, i + 1);
        }
        for row in 0..8 {
            for i in 0..2 {
                let at = 4 * row + FROM + i;
                store(block, at, _mm256_xor_si256(load(block, at), v[row / 2][2 * i + row % 2]));
            }
        }
    }
}

/// Permutations of four words: the last to the front, the first to the end, both halves swapped.
const BACK: i32 = 0b10_01_00_11;
const FORTH: i32 = 0b00_11_10_01;
const OVER: i32 = 0b01_00_11_10;

/// [`BACK`] for two groups of four words, each spread over both vectors.
#[target_feature(enable = "avx2")]
#[inline]
fn back(x: V, y: V) -> [V; 2] {
    [_mm256_alignr_epi8::<8>(x, y), _mm256_alignr_epi8::<8>(y, x)]
}

/// [`FORTH`] for two groups of four words, each spread over both vectors.
#[target_feature(enable = "avx2")]
#[inline]
fn forth(x: V, y: V) -> [V; 2] {
    [_mm256_alignr_epi8::<8>(y, x), _mm256_alignr_epi8::<8>(x, y)]
}

/// Sixteen times GB (RFC 9106 section 3.6): the columns or the diagonals of four P.
#[target_feature(enable = "avx2")]
#[inline]
fn half([a, b, c, d]: &mut Groups, orders: Orders) {
    mix(a, b);
    for (d, a) in d.iter_mut().zip(*a) {
        *d = _mm256_shuffle_epi32::<0b10_11_00_01>(_mm256_xor_si256(*d, a));
    }
    mix(c, d);
    for (b, c) in b.iter_mut().zip(*c) {
        *b = _mm256_shuffle_epi8(_mm256_xor_si256(*b, c), orders.by24);
    }
    mix(a, b);
    for (d, a) in d.iter_mut().zip(*a) {
        *d = _mm256_shuffle_epi8(_mm256_xor_si256(*d, a), orders.by16);
    }
    mix(c, d);
    for (b, c) in b.iter_mut().zip(*c) {
        let x = _mm256_xor_si256(*b, c);
        *b = _mm256_xor_si256(_mm256_add_epi64(x, x), _mm256_srli_epi64::<63>(x));
    }
}

/// x + y + 2 · low(x) · low(y), where low is the lower 32 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn mix(x: &mut [V; 4], y: &[V; 4]) {
    for (x, y) in x.iter_mut().zip(*y) {
        let product = _mm256_mul_epu32(*x, y);
        *x = _mm256_add_epi64(_mm256_add_epi64(*x, y), _mm256_add_epi64(product, product));
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(block: &Block, at: usize) -> V {
    bytemuck::cast(block.as_ref().as_chunks::<4>().0[at])
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(block: &mut Block, at: usize, value: V) {
    block.as_mut().as_chunks_mut::<4>().0[at] = bytemuck::cast(value);
}
