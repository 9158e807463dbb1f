//! Determines which block refers to which (RFC 9106 section 3.4).

use crate::params::{Params, SLICES};

/// The memory as lanes of slices of blocks, one lane after another.
#[derive(Clone, Copy)]
pub struct Shape {
    pub passes: u32,
    pub lanes: usize,
    /// Blocks per lane: at least 8, at most 2²⁰.
    pub lane_length: usize,
    /// Blocks per segment. A segment is the part of a slice in one lane.
    pub segment_length: usize,
    /// All blocks: m′ of RFC 9106.
    pub blocks: usize,
}

/// One slice in one pass: where its blocks lie, and what they may refer to.
#[derive(Clone, Copy)]
pub struct Slice {
    shape: Shape,
    pub pass: u32,
    pub slice: usize,
    /// The number of blocks in each lane that are finished and not overwritten in this slice.
    finished: usize,
    /// The first of those blocks within its lane; they may wrap around.
    oldest: usize,
}

impl Shape {
    pub fn new(params: Params) -> Self {
        let (blocks, lanes) = (params.blocks(), params.p() as usize);
        let lane_length = blocks / lanes;
        let segment_length = lane_length / SLICES as usize;
        Self { passes: params.t(), lanes, lane_length, segment_length, blocks }
    }

    /// Every slice of every pass, in order.
    pub fn slices(self) -> impl Iterator<Item = Slice> {
        (0..self.passes).flat_map(move |pass| {
            (0..SLICES as usize).map(move |slice| {
                let start = slice * self.segment_length;
                let (finished, oldest) = match pass {
                    0 => (start, 0),
                    _ => {
                        let next = start + self.segment_length;
                        let wrapped = if next == self.lane_length { 0 } else { next };
                        (self.lane_length - self.segment_length, wrapped)
                    }
                };
                Slice { shape: self, pass, slice, finished, oldest }
            })
        })
    }
}

impl Slice {
    /// Whether references depend only on the parameters: Argon2id's answer to side channels.
    pub fn is_data_independent(&self) -> bool {
        self.pass == 0 && self.slice < SLICES as usize / 2
    }

    /// The first block of each segment to compute: the first two blocks of a lane come from H′.
    pub fn first(&self) -> usize {
        if self.pass == 0 && self.slice == 0 { 2 } else { 0 }
    }

    /// The positions of block `index` of the segment of `lane`, and of its predecessor.
    #[inline(always)]
    pub fn place(&self, lane: usize, index: usize) -> (usize, usize) {
        let lane_start = lane * self.shape.lane_length;
        let in_lane = self.slice * self.shape.segment_length + index;
        let before = if in_lane == 0 { self.shape.lane_length } else { in_lane } - 1;
        (lane_start + in_lane, lane_start + before)
    }

    /// The position of the block that block `index` of the segment of `lane` refers to, given the
    /// 64 bits J₁ ‖ J₂. It is never the block itself or its predecessor.
    #[inline(always)]
    pub fn reference(&self, lane: usize, index: usize, j: u64) -> usize {
        let Shape { lanes, lane_length, .. } = self.shape;
        let (j1, j2) = (j & 0xFFFF_FFFF, j >> 32);
        let of_lane = if lanes == 1 || (self.pass == 0 && self.slice == 0) {
            lane
        } else {
            // In 32 bits, because 64-bit division is slow on older CPUs.
            (j2 as u32 % lanes as u32) as usize
        };
        let area = if of_lane == lane {
            self.finished + index - 1
        } else {
            self.finished - usize::from(index == 0)
        };
        let x = (j1 * j1) >> 32;
        let y = (area as u64 * x) >> 32;
        let wrapping = self.oldest + (area - 1 - y as usize);
        let in_lane = if wrapping < lane_length { wrapping } else { wrapping - lane_length };
        of_lane * lane_length + in_lane
    }
}
