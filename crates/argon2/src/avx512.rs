//! The compression function G in 512-bit vectors.
//!
//! A block is a matrix of 8 × 16 words. A vector holds four words of one row and the same four of
//! the next row. That layout serves the rows (two permutations P in four vectors) and the columns
//! (two P in four other vectors), so blocks are stored in it and never transposed. The state takes
//! 16 of 32 registers, and four times two P are computed at once to hide latency.

// Indices are easier to read in matrix code.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use crate::Block;

type V = __m512i;

/// The operands of a computation: N groups of four vectors, transposed.
type Groups<const N: usize> = [[V; N]; 4];

/// `[r][c]` holds words 4c to 4c + 3 of rows 2r and 2r + 1.
struct State(Groups<4>);

/// The position of a word in memory: bits 2 to 4 of its number (first the vector in the row, then
/// the row's parity) are rotated.
pub fn position(word: usize) -> usize {
    let (rows, parity, vector, lane) = (word >> 5, word >> 4 & 1, word >> 2 & 3, word & 3);
    rows << 5 | vector << 3 | parity << 2 | lane
}

crate::fill::define_fill!("avx512f");

impl State {
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        Self([[_mm512_setzero_si512(); 4]; 4])
    }

    /// Nothing to wipe: the state is in registers, and what `close` needs is in the block.
    fn wipe(self) {}

    /// Computes all rows, half of the columns, and word 0's columns completely. `carried`: the
    /// state still holds the previous block. `keep` XORs into the block instead of overwriting it.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn open<const CALLER: u8>(
        &mut self,
        (previous, carried, referred): (&Block, bool, &Block),
        block: &mut Block,
        keep: bool,
    ) -> u64 {
        let Self(state) = self;
        if !carried {
            for at in 0..16 {
                state[at / 4][at % 4] = load(previous, at);
            }
        }
        for at in 0..16 {
            let x = &mut state[at / 4][at % 4];
            *x = _mm512_xor_si512(*x, load(referred, at));
            store(block, at, if keep { _mm512_xor_si512(*x, load(block, at)) } else { *x });
        }

        let mut rows = transposed(*state);
        half(&mut rows);
        for row in 0..4 {
            rows[0][row] = _mm512_permutex_epi64::<BACK>(rows[0][row]);
            rows[2][row] = _mm512_permutex_epi64::<FORTH>(rows[2][row]);
            rows[3][row] = _mm512_permutex_epi64::<OVER>(rows[3][row]);
        }
        half(&mut rows);
        for row in 0..4 {
            rows[0][row] = _mm512_permutex_epi64::<FORTH>(rows[0][row]);
            rows[2][row] = _mm512_permutex_epi64::<BACK>(rows[2][row]);
            rows[3][row] = _mm512_permutex_epi64::<OVER>(rows[3][row]);
        }
        *state = transposed(rows);

        // The first group of columns is half a P ahead of the others. That costs 2 % of computing
        // time, and the next reference is known 20 ns earlier.
        let mut first = state.map(|[x, ..]| [x]);
        half(&mut first);
        to_diagonals(&mut first, 0);
        for (row, [x]) in state.iter_mut().zip(first) {
            row[0] = x;
        }
        half(state);
        to_columns(state, 0);
        for group in 1..4 {
            to_diagonals(state, group);
        }
        let word0 = _mm_cvtsi128_si64(_mm512_castsi512_si128(state[0][0])) as u64;
        block.as_ref()[0] ^ word0
    }

    /// Computes the rest of the columns.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn close<const CALLER: u8>(&mut self, block: &mut Block) {
        let Self(state) = self;
        let mut others = state.map(|[_, x, y, z]| [x, y, z]);
        half(&mut others);
        for group in 0..3 {
            to_columns(&mut others, group);
        }
        for (row, [x, y, z]) in state.iter_mut().zip(others) {
            row[1..].copy_from_slice(&[x, y, z]);
        }
        for at in 0..16 {
            let x = &mut state[at / 4][at % 4];
            *x = _mm512_xor_si512(*x, load(block, at));
            store(block, at, *x);
        }
    }
}

/// Permutations of four words: the last to the front, the first to the end, both halves swapped.
const BACK: i32 = 0b10_01_00_11;
const FORTH: i32 = 0b00_11_10_01;
const OVER: i32 = 0b01_00_11_10;

/// Transposes the groups, which only renames registers.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(v: Groups<4>) -> Groups<4> {
    std::array::from_fn(|i| std::array::from_fn(|j| v[j][i]))
}

/// Rotates the 4 × 4 words of two pairs of columns, so that diagonals become columns. RFC 9106
/// keeps the first row in place; keeping the second is equivalent, and that one is computed last.
#[target_feature(enable = "avx512f")]
#[inline]
fn to_diagonals<const N: usize>(v: &mut Groups<N>, group: usize) {
    let (back, forth) = orders();
    v[0][group] = _mm512_permutexvar_epi64(back, v[0][group]);
    v[2][group] = _mm512_permutexvar_epi64(forth, v[2][group]);
    v[3][group] = _mm512_shuffle_i64x2::<OVER>(v[3][group], v[3][group]);
}

/// The inverse of [`to_diagonals`].
#[target_feature(enable = "avx512f")]
#[inline]
fn to_columns<const N: usize>(v: &mut Groups<N>, group: usize) {
    let (back, forth) = orders();
    v[0][group] = _mm512_permutexvar_epi64(forth, v[0][group]);
    v[2][group] = _mm512_permutexvar_epi64(back, v[2][group]);
    v[3][group] = _mm512_shuffle_i64x2::<OVER>(v[3][group], v[3][group]);
}

/// [`BACK`] and [`FORTH`] for two pairs of columns, with their words at 0, 1, 4, 5 and 2, 3, 6, 7.
#[target_feature(enable = "avx512f")]
#[inline]
fn orders() -> (V, V) {
    (_mm512_setr_epi64(5, 0, 7, 2, 1, 4, 3, 6), _mm512_setr_epi64(1, 4, 3, 6, 5, 0, 7, 2))
}

/// 8 N times GB (RFC 9106 section 3.6): the columns or the diagonals of 2 N times P.
#[target_feature(enable = "avx512f")]
#[inline]
fn half<const N: usize>([a, b, c, d]: &mut Groups<N>) {
    mix(a, b);
    turn::<32, N>(d, a);
    mix(c, d);
    turn::<24, N>(b, c);
    mix(a, b);
    turn::<16, N>(d, a);
    mix(c, d);
    turn::<63, N>(b, c);
}

/// x + y + 2 · low(x) · low(y), where low is the lower 32 bits.
#[target_feature(enable = "avx512f")]
#[inline]
fn mix<const N: usize>(x: &mut [V; N], y: &[V; N]) {
    for (x, y) in x.iter_mut().zip(*y) {
        let product = _mm512_mul_epu32(*x, y);
        *x = _mm512_add_epi64(_mm512_add_epi64(*x, y), _mm512_add_epi64(product, product));
    }
}

/// (x ⊕ y) rotated right by BY.
#[target_feature(enable = "avx512f")]
#[inline]
fn turn<const BY: i32, const N: usize>(x: &mut [V; N], y: &[V; N]) {
    for (x, y) in x.iter_mut().zip(*y) {
        *x = _mm512_ror_epi64::<BY>(_mm512_xor_si512(*x, y));
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(block: &Block, at: usize) -> V {
    bytemuck::cast(block.as_ref().as_chunks::<8>().0[at])
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(block: &mut Block, at: usize, value: V) {
    block.as_mut().as_chunks_mut::<8>().0[at] = bytemuck::cast(value);
}
