//! G in 256-bit vectors.
//!
//! A block is a matrix of 8 × 16 words, in their natural order: 8 rows of 4 vectors. A row is one
//! permutation P in 4 vectors; two columns of pairs are two P in 8 vectors, where rotating by two
//! words costs nothing. 16 registers hold two rows, or two columns, at a time.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use crate::Block;

type V = __m256i;

/// The matrix: vector 4r + c has words 4c to 4c + 3 of row r.
type State = [V; 32];

const POSITION: fn(usize) -> usize = position;

/// Blocks lie in memory as they are.
pub fn position(word: usize) -> usize {
    word
}

crate::fill::define_fill!("avx2");

#[target_feature(enable = "avx2")]
fn new_state() -> State {
    [_mm256_setzero_si256(); 32]
}

#[target_feature(enable = "avx2")]
fn wipe(mut state: State) {
    state.zeroize();
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

/// All rows, and the columns that word 0 is in.
#[target_feature(enable = "avx2")]
#[inline]
fn open(
    state: &mut State,
    previous: &Block,
    referred: &Block,
    block: &mut Block,
    keep: bool,
) -> u64 {
    for row in (0..8).step_by(2) {
        let mut v: [[V; 2]; 4] = [[_mm256_setzero_si256(); 2]; 4];
        for i in 0..2 {
            for (c, v) in v.iter_mut().enumerate() {
                let at = 4 * (row + i) + c;
                let r = _mm256_xor_si256(load(previous, at), load(referred, at));
                let kept = if keep { _mm256_xor_si256(r, load(block, at)) } else { r };
                store(block, at, kept);
                v[i] = r;
            }
        }
        half(&mut v);
        for i in 0..2 {
            v[0][i] = _mm256_permute4x64_epi64::<0b10_01_00_11>(v[0][i]);
            v[3][i] = _mm256_permute4x64_epi64::<0b01_00_11_10>(v[3][i]);
            v[2][i] = _mm256_permute4x64_epi64::<0b00_11_10_01>(v[2][i]);
        }
        half(&mut v);
        for i in 0..2 {
            v[0][i] = _mm256_permute4x64_epi64::<0b00_11_10_01>(v[0][i]);
            v[3][i] = _mm256_permute4x64_epi64::<0b01_00_11_10>(v[3][i]);
            v[2][i] = _mm256_permute4x64_epi64::<0b10_01_00_11>(v[2][i]);
            for c in 0..4 {
                state[4 * (row + i) + c] = v[c][i];
            }
        }
    }
    columns(state, block, 0);
    block.as_ref()[0]
}

/// The other columns.
#[target_feature(enable = "avx2")]
#[inline]
fn close(state: &mut State, block: &mut Block) {
    for c in 1..4 {
        columns(state, block, c);
    }
}

/// Columns 2c and 2c + 1: row r of both is vector 4r + c.
#[target_feature(enable = "avx2")]
#[inline]
fn columns(state: &State, block: &mut Block, c: usize) {
    let mut v = [[_mm256_setzero_si256(); 2]; 4];
    for r in 0..8 {
        v[r / 2][r % 2] = state[4 * r + c];
    }
    half(&mut v);
    v[1] = next(v[1]);
    v[2].swap(0, 1);
    v[3] = before(v[3]);
    half(&mut v);
    v[1] = before(v[1]);
    v[2].swap(0, 1);
    v[3] = next(v[3]);
    for r in 0..8 {
        let at = 4 * r + c;
        store(block, at, _mm256_xor_si256(load(block, at), v[r / 2][r % 2]));
    }
}

/// Of four words, two in each vector: each moves one place towards the front, the first to the end.
#[target_feature(enable = "avx2")]
#[inline]
fn next([x, y]: [V; 2]) -> [V; 2] {
    [_mm256_alignr_epi8::<8>(y, x), _mm256_alignr_epi8::<8>(x, y)]
}

/// And back.
#[target_feature(enable = "avx2")]
#[inline]
fn before([x, y]: [V; 2]) -> [V; 2] {
    [_mm256_alignr_epi8::<8>(x, y), _mm256_alignr_epi8::<8>(y, x)]
}

/// GB of RFC 9106 section 3.6, eight times: the columns, or the diagonals, of two P.
#[target_feature(enable = "avx2")]
#[inline]
fn half([a, b, c, d]: &mut [[V; 2]; 4]) {
    let by24 = _mm256_setr_epi8(
        3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13,
        14, 15, 8, 9, 10,
    );
    let by16 = _mm256_setr_epi8(
        2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12,
        13, 14, 15, 8, 9,
    );
    for i in 0..2 {
        a[i] = mix(a[i], b[i]);
    }
    for i in 0..2 {
        d[i] = _mm256_shuffle_epi32::<0b10_11_00_01>(_mm256_xor_si256(d[i], a[i]));
    }
    for i in 0..2 {
        c[i] = mix(c[i], d[i]);
    }
    for i in 0..2 {
        b[i] = _mm256_shuffle_epi8(_mm256_xor_si256(b[i], c[i]), by24);
    }
    for i in 0..2 {
        a[i] = mix(a[i], b[i]);
    }
    for i in 0..2 {
        d[i] = _mm256_shuffle_epi8(_mm256_xor_si256(d[i], a[i]), by16);
    }
    for i in 0..2 {
        c[i] = mix(c[i], d[i]);
    }
    for i in 0..2 {
        let x = _mm256_xor_si256(b[i], c[i]);
        b[i] = _mm256_xor_si256(_mm256_add_epi64(x, x), _mm256_srli_epi64::<63>(x));
    }
}

/// x + y + 2 · low(x) · low(y), low being 32 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn mix(x: V, y: V) -> V {
    let product = _mm256_mul_epu32(x, y);
    _mm256_add_epi64(_mm256_add_epi64(x, y), _mm256_add_epi64(product, product))
}
