//! G in 512-bit vectors.
//!
//! A block is a matrix of 8 × 16 words. A vector has four words of one row and the same four of the
//! next: that serves the rows (two P in four vectors) and the columns (two P in four other vectors)
//! alike, so blocks are kept in memory in that order and nothing is ever transposed. The state lives
//! in 16 of 32 registers, and four times two P are computed at once to hide the latency of each.

use std::arch::x86_64::*;

use crate::Block;

type V = __m512i;

/// `[r][c]` has words 4c to 4c + 3 of rows 2r and 2r + 1.
type State = [[V; 4]; 4];

const POSITION: fn(usize) -> usize = position;

/// Where a word lies in memory: bits 2 to 4 of its number, first the vector in its row and then the
/// row's parity, are rotated.
pub fn position(word: usize) -> usize {
    let (pair, parity, vector, lane) = (word >> 5, word >> 4 & 1, word >> 2 & 3, word & 3);
    pair << 5 | vector << 3 | parity << 2 | lane
}

crate::fill::define_fill!("avx512f");

#[target_feature(enable = "avx512f")]
fn new_state() -> State {
    [[_mm512_setzero_si512(); 4]; 4]
}

/// It lived in registers.
fn wipe(_: State) {}

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

/// All rows, and the columns that word 0 is in.
#[target_feature(enable = "avx512f")]
#[inline]
fn open(
    state: &mut State,
    previous: &Block,
    referred: &Block,
    block: &mut Block,
    keep: bool,
) -> u64 {
    let [mut a, mut b, mut c, mut d] = [[_mm512_setzero_si512(); 4]; 4];
    for row in 0..4 {
        for (column, v) in [&mut a, &mut b, &mut c, &mut d].into_iter().enumerate() {
            let at = 4 * row + column;
            let r = _mm512_xor_si512(load(previous, at), load(referred, at));
            let kept = if keep { _mm512_xor_si512(r, load(block, at)) } else { r };
            store(block, at, kept);
            v[row] = r;
        }
    }
    half(&mut a, &mut b, &mut c, &mut d);
    for i in 0..4 {
        a[i] = _mm512_permutex_epi64::<0b10_01_00_11>(a[i]);
        d[i] = _mm512_permutex_epi64::<0b01_00_11_10>(d[i]);
        c[i] = _mm512_permutex_epi64::<0b00_11_10_01>(c[i]);
    }
    half(&mut a, &mut b, &mut c, &mut d);
    for i in 0..4 {
        a[i] = _mm512_permutex_epi64::<0b00_11_10_01>(a[i]);
        d[i] = _mm512_permutex_epi64::<0b01_00_11_10>(d[i]);
        c[i] = _mm512_permutex_epi64::<0b10_01_00_11>(c[i]);
    }
    for row in 0..4 {
        state[row] = [a[row], b[row], c[row], d[row]];
    }
    columns::<0, 4>(state);
    let word0 = _mm_cvtsi128_si64(_mm512_castsi512_si128(state[0][0])) as u64;
    block.as_ref()[0] ^ word0
}

/// The other columns.
#[target_feature(enable = "avx512f")]
#[inline]
fn close(state: &mut State, block: &mut Block) {
    for at in 0..16 {
        store(block, at, _mm512_xor_si512(load(block, at), state[at / 4][at % 4]));
    }
}

/// The columns in vectors FROM to FROM + N − 1 of each row.
#[target_feature(enable = "avx512f")]
#[inline]
fn columns<const FROM: usize, const N: usize>(state: &mut State) {
    let next = _mm512_setr_epi64(1, 4, 3, 6, 5, 0, 7, 2);
    let before = _mm512_setr_epi64(5, 0, 7, 2, 1, 4, 3, 6);
    let [mut a, mut b, mut c, mut d] = [[_mm512_setzero_si512(); N]; 4];
    for i in 0..N {
        [a[i], b[i], c[i], d[i]] = std::array::from_fn(|row| state[row][FROM + i]);
    }
    half(&mut a, &mut b, &mut c, &mut d);
    for i in 0..N {
        a[i] = _mm512_permutexvar_epi64(before, a[i]);
        d[i] = _mm512_shuffle_i64x2::<0b01_00_11_10>(d[i], d[i]);
        c[i] = _mm512_permutexvar_epi64(next, c[i]);
    }
    half(&mut a, &mut b, &mut c, &mut d);
    for i in 0..N {
        a[i] = _mm512_permutexvar_epi64(next, a[i]);
        d[i] = _mm512_shuffle_i64x2::<0b01_00_11_10>(d[i], d[i]);
        c[i] = _mm512_permutexvar_epi64(before, c[i]);
        for (row, v) in [a[i], b[i], c[i], d[i]].into_iter().enumerate() {
            state[row][FROM + i] = v;
        }
    }
}

/// GB of RFC 9106 section 3.6, eight times N: the columns, or the diagonals, of two P each.
#[target_feature(enable = "avx512f")]
#[inline]
fn half<const N: usize>(a: &mut [V; N], b: &mut [V; N], c: &mut [V; N], d: &mut [V; N]) {
    mix(a, b);
    turn::<32, N>(d, a);
    mix(c, d);
    turn::<24, N>(b, c);
    mix(a, b);
    turn::<16, N>(d, a);
    mix(c, d);
    turn::<63, N>(b, c);
}

/// x + y + 2 · low(x) · low(y), low being 32 bits.
#[target_feature(enable = "avx512f")]
#[inline]
fn mix<const N: usize>(x: &mut [V; N], y: &[V; N]) {
    for i in 0..N {
        let product = _mm512_mul_epu32(x[i], y[i]);
        let sum = _mm512_add_epi64(x[i], y[i]);
        x[i] = _mm512_add_epi64(sum, _mm512_add_epi64(product, product));
    }
}

/// (x ⊕ y) ⋙ BY.
#[target_feature(enable = "avx512f")]
#[inline]
fn turn<const BY: i32, const N: usize>(x: &mut [V; N], y: &[V; N]) {
    for i in 0..N {
        x[i] = _mm512_ror_epi64::<BY>(_mm512_xor_si512(x[i], y[i]));
    }
}
