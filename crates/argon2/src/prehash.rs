//! The first and the last bytes of a hash: H₀ and H′ (RFC 9106 sections 3.2 and 3.3).

use blake2::Blake2bVarCore;
use blake2::digest::block_api::{UpdateCore, VariableOutputCore};
use blake2::digest::block_buffer::LazyBuffer;
use blake2::{Blake2b512, Digest};
use zeroize::{Zeroize, Zeroizing};

use crate::Block;
use crate::params::{Inputs, Params};

/// The type number of Argon2id, and the version number of 1.3.
const ARGON2ID: u32 = 2;
const VERSION: u32 = 0x13;

/// H₀: a digest of all inputs, 64 bytes.
pub struct Seed(Zeroizing<[u8; 64]>);

impl Seed {
    /// Invariant: the lengths were checked ([`Inputs::check`]), so each fits 32 bits.
    pub fn new(params: Params, inputs: &Inputs, tag_length: usize) -> Self {
        let mut hash = Blake2b512::new();
        for number in [params.p(), tag_length as u32, params.m_kib(), params.t(), VERSION, ARGON2ID]
        {
            hash.update(number.to_le_bytes());
        }
        for bytes in [inputs.password, inputs.salt, inputs.secret, inputs.associated_data] {
            hash.update((bytes.len() as u32).to_le_bytes());
            hash.update(bytes);
        }
        let mut seed = Zeroizing::new([0; 64]);
        hash.finalize_into((&mut *seed).into());
        Self(seed)
    }

    /// Computes the first (0) or second (1) block of a lane, word by word.
    pub fn block(&self, number: u32, lane: u32, mut set: impl FnMut(usize, u64)) {
        let mut bytes = Zeroizing::new([0; Block::SIZE]);
        long_hash(&[&*self.0, &number.to_le_bytes(), &lane.to_le_bytes()], &mut *bytes);
        for (at, word) in bytes.as_chunks().0.iter().enumerate() {
            set(at, u64::from_le_bytes(*word));
        }
    }
}

/// Computes the tag: H′ of the XOR of the last blocks of all lanes.
pub fn finish(last: &[u64; 128], tag: &mut [u8]) {
    let mut bytes = Zeroizing::new([0; Block::SIZE]);
    for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(last) {
        *to = word.to_le_bytes();
    }
    long_hash(&[&*bytes], tag);
}

/// H′: BLAKE2b with an output of any length from 1 byte.
fn long_hash(inputs: &[&[u8]], out: &mut [u8]) {
    let length = (out.len() as u32).to_le_bytes();
    let inputs = || std::iter::once(&length[..]).chain(inputs.iter().copied());
    if out.len() <= 64 {
        return short_hash(inputs(), out);
    }
    // V₁ to V_r give their first 32 bytes each, and the last V all of its bytes.
    let mut v = Zeroizing::new([0; 64]);
    short_hash(inputs(), &mut *v);
    let mut rest = out;
    loop {
        let (head, tail) = rest.split_at_mut(32);
        head.copy_from_slice(&v[..32]);
        rest = tail;
        let before = v.clone();
        if rest.len() <= 64 {
            return short_hash(std::iter::once(&before[..]), rest);
        }
        short_hash(std::iter::once(&before[..]), &mut *v);
    }
}

/// BLAKE2b with an output of 1 to 64 bytes. The length is part of the hash.
fn short_hash<'a>(inputs: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) {
    let Ok(mut core) = Blake2bVarCore::new(out.len()) else {
        unreachable!("BLAKE2b has 1 to 64 bytes of output")
    };
    let mut buffer = LazyBuffer::default();
    for input in inputs {
        buffer.digest_blocks(input, |blocks| core.update_blocks(blocks));
    }
    let mut full = Default::default();
    core.finalize_variable_core(&mut buffer, &mut full);
    out.copy_from_slice(&full[..out.len()]);
    full.as_mut_slice().zeroize();
}
