//! Computes a tag from its inputs through the memory, with the kernel of a path.
//!
//! A kernel is a module with
//! - `position`: where the words of a block lie in memory (its own layout may save shuffles),
//! - `State`: a block in progress, in registers or in the first-level cache,
//! - `State::open`: the first part of the compression function G (RFC 9106 section 3.5), which
//!   already yields word 0 of the new block, and with it the reference of the next block,
//! - `State::close`: the rest, while that reference is being fetched.

use zeroize::Zeroizing;

use crate::Block;
use crate::params::{Inputs, Params};
use crate::prehash::{self, Seed};
use crate::shape::Shape;

/// Computes Argon2id around `fill`, which computes all blocks but the first two of each lane.
///
/// Invariant: the lengths were checked, and there are exactly as many blocks as needed.
pub fn hash(
    memory: &mut [Block],
    params: Params,
    inputs: &Inputs,
    tag: &mut [u8],
    position: fn(usize) -> usize,
    fill: impl FnOnce(&mut [Block], Shape),
) {
    let shape = Shape::new(params);
    let seed = Seed::new(params, inputs, tag.len());
    for lane in 0..shape.lanes {
        for number in 0..2 {
            let block = memory[lane * shape.lane_length + number].as_mut();
            seed.block(number as u32, lane as u32, |at, word| block[position(at)] = word);
        }
    }
    drop(seed);
    fill(memory, shape);
    let mut last = Zeroizing::new([0; 128]);
    for lane in memory.chunks_exact(shape.lane_length) {
        let block = lane[shape.lane_length - 1].as_ref();
        last.iter_mut().enumerate().for_each(|(at, word)| *word ^= block[position(at)]);
    }
    prehash::finish(&last, tag);
}

/// The callers of a kernel function. Each gets its own instance, which the compiler can inline:
/// that saves 3 % with one lane, whose last block then stays in registers, and 10 % with several.
pub const ONE_LANE: u8 = 0;
pub const LANES: u8 = 1;
pub const ADDRESS: u8 = 2;

/// The number of references in one block of addresses.
pub const ADDRESSES: usize = 128;

/// A block of zeros, an input of the address blocks.
pub static ZEROS: Block = Block::new();

/// The input for address block number `count` (from 1) of a segment.
pub fn address_input(
    shape: Shape,
    slice: usize,
    lane: usize,
    count: usize,
    position: fn(usize) -> usize,
) -> Block {
    /// The type number of Argon2id.
    const ARGON2ID: u64 = 2;
    // Always pass 0: later passes have no data-independent addressing.
    let numbers = [
        0,
        lane as u64,
        slice as u64,
        shape.blocks as u64,
        u64::from(shape.passes),
        ARGON2ID,
        count as u64,
    ];
    let mut input = Block::new();
    for (at, number) in numbers.into_iter().enumerate() {
        input.as_mut()[position(at)] = number;
    }
    input
}

/// Prefetches the cache lines of a block.
#[inline(always)]
#[allow(unsafe_code)]
pub fn prefetch(block: &Block) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in block.as_ref().as_chunks::<8>().0 {
        // SAFETY: a prefetch reads and writes nothing, and x86-64 always has SSE.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
}

/// Defines `fill` for the kernel in whose module it is used. It is a macro because functions with
/// different target features are not inlined into each other.
///
/// All lanes of a slice advance in turns, which RFC 9106 section 3.4.1.2 allows: a lane refers only
/// to finished parts of other lanes. Their references arrive while this lane is computed.
macro_rules! define_fill {
    ($features:literal) => {
        use crate::fill::{ADDRESS, ADDRESSES, LANES, ONE_LANE, ZEROS, address_input, prefetch};
        use crate::params::MAX_LANES;
        use crate::shape::{Shape, Slice};

        /// Computes all blocks but the first two of each lane.
        #[target_feature(enable = $features)]
        pub fn fill(memory: &mut [Block], shape: Shape) {
            let mut state = State::new();
            let mut addresses = [ZEROS; MAX_LANES as usize];
            for slice in shape.slices() {
                let mut from = slice.first();
                while from < shape.segment_length {
                    let mut to = shape.segment_length;
                    if slice.is_data_independent() {
                        let number = from / ADDRESSES;
                        to = to.min((number + 1) * ADDRESSES);
                        for lane in 0..shape.lanes {
                            addresses[lane] = address_block(shape, slice.slice, lane, number);
                        }
                    }
                    if shape.lanes == 1 {
                        run::<ONE_LANE>(&mut state, memory, shape, slice, &addresses, from..to);
                    } else {
                        run::<LANES>(&mut state, memory, shape, slice, &addresses, from..to);
                    }
                    from = to;
                }
            }
            state.wipe();
        }

        /// Computes blocks `range` of the segments of all lanes.
        #[target_feature(enable = $features)]
        #[inline]
        fn run<const CALLER: u8>(
            state: &mut State,
            memory: &mut [Block],
            shape: Shape,
            slice: Slice,
            addresses: &[Block; MAX_LANES as usize],
            range: std::ops::Range<usize>,
        ) {
            let reference = |lane: usize, index: usize, word0: u64| {
                let j = if slice.is_data_independent() {
                    addresses[lane].as_ref()[position(index % ADDRESSES)]
                } else {
                    word0
                };
                slice.reference(lane, index, j)
            };
            let mut references = [0; MAX_LANES as usize];
            for lane in 0..shape.lanes {
                let (_, previous) = slice.place(lane, range.start);
                references[lane] = reference(lane, range.start, memory[previous].as_ref()[0]);
            }
            for index in range.clone() {
                for lane in 0..if CALLER == ONE_LANE { 1 } else { shape.lanes } {
                    let (at, previous) = slice.place(lane, index);
                    let Ok([block, previous, referred]) =
                        memory.get_disjoint_mut([at, previous, references[lane]])
                    else {
                        unreachable!("a block refers to neither itself nor its predecessor")
                    };
                    // With a single lane, the state still holds its previous block.
                    let carried = CALLER == ONE_LANE && index > range.start;
                    let inputs = (&*previous, carried, &*referred);
                    let word0 = state.open::<CALLER>(inputs, block, slice.pass > 0);
                    if index + 1 < range.end {
                        references[lane] = reference(lane, index + 1, word0);
                        prefetch(&memory[references[lane]]);
                    }
                    state.close::<CALLER>(&mut memory[at]);
                }
            }
        }

        /// Address block `number` (from 0): references that depend only on the parameters.
        #[target_feature(enable = $features)]
        #[inline(never)]
        fn address_block(shape: Shape, slice: usize, lane: usize, number: usize) -> Block {
            let mut state = State::new();
            let mut block = address_input(shape, slice, lane, number + 1, position);
            for _ in 0..2 {
                let referred = block;
                state.open::<ADDRESS>((&ZEROS, false, &referred), &mut block, false);
                state.close::<ADDRESS>(&mut block);
            }
            block
        }
    };
}
pub(crate) use define_fill;
