//! The memory of one hash.
//!
//! Measured: more than half of a hash in malloc's memory is page faults and address translation.
//! Huge pages avoid both, and a mapping that is given back after each hash costs no more than one
//! that is kept and wiped.

use std::ptr::{NonNull, null_mut};

use crate::Block;

/// What huge pages are multiples of, in bytes (x86-64, and AArch64 with 4 KiB pages).
const HUGE_PAGE: usize = 2 << 20;

/// A private anonymous mapping, aligned to huge pages. Dropping it gives it back to the kernel, which
/// lets nobody read what was in it: nothing has to be wiped.
pub struct Arena {
    start: NonNull<Block>,
    bytes: usize,
    blocks: usize,
    huge: bool,
}

/// The operating system refused the memory: `RLIMIT_AS`, or strict overcommit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the operating system refused the memory for a hash")
    }
}

impl std::error::Error for Refused {}

impl Arena {
    /// Room for `blocks` blocks, rounded up to huge pages. Memory that was promised but is not there
    /// (overcommit, a cgroup's limit) kills when it is touched, and no program can catch that.
    ///
    /// # Errors
    /// [`Refused`].
    #[allow(unsafe_code)]
    pub fn new(blocks: usize) -> Result<Self, Refused> {
        let bytes = blocks
            .max(1)
            .checked_mul(size_of::<Block>())
            .and_then(|bytes| bytes.checked_next_multiple_of(HUGE_PAGE))
            .ok_or(Refused)?;
        // One more, of which what is not aligned is given back at once.
        let wide = bytes.checked_add(HUGE_PAGE).ok_or(Refused)?;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let mapped = unsafe { libc::mmap(null_mut(), wide, access, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(Refused);
        }
        let before = mapped.align_offset(HUGE_PAGE);
        let start = mapped.wrapping_byte_add(before);
        // SAFETY: both are parts of the new mapping, before and after the one that is kept.
        unsafe {
            unmap(mapped, before);
            unmap(start.wrapping_byte_add(bytes), HUGE_PAGE - before);
        }
        // SAFETY: advice about a mapping of our own changes nothing that can be read from it.
        let huge = unsafe {
            // A core dump has no business with it.
            libc::madvise(start, bytes, libc::MADV_DONTDUMP);
            let huge =
                libc::madvise(start, bytes, libc::MADV_HUGEPAGE) == 0 && huge_pages_enabled();
            if !huge {
                // Thousands of small pages at once are cheaper than one by one: 14 % of a hash of
                // 19 MiB. Since Linux 5.14; before, they come when they are touched.
                libc::madvise(start, bytes, libc::MADV_POPULATE_WRITE);
            }
            huge
        };
        let start = NonNull::new(start.cast()).ok_or(Refused)?;
        Ok(Self { start, bytes, blocks, huge })
    }

    /// The memory, zero at first.
    #[allow(unsafe_code)]
    pub fn blocks(&mut self) -> &mut [Block] {
        // SAFETY: the mapping is at least as long, aligned to far more than a block, this one's alone,
        // readable and writable, lives as long as `self`, and any bytes are a block.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.blocks) }
    }

    /// Is it to be expected to be made of huge pages, as far as the kernel's settings tell? Without
    /// them a hash takes about twice as long.
    pub fn expects_huge_pages(&self) -> bool {
        self.huge
    }
}

impl Drop for Arena {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's alone, and nothing borrowed from it is left.
        unsafe { unmap(self.start.as_ptr().cast(), self.bytes) }
    }
}

/// Gives memory back. It cannot fail for whole mappings, and for less only where the kernel has no
/// room for another mapping: then the memory stays mapped, which harms nobody.
///
/// # Safety
/// The memory was mapped and is used by nobody any more.
#[allow(unsafe_code)]
unsafe fn unmap(start: *mut libc::c_void, bytes: usize) {
    if bytes > 0 {
        // SAFETY: as the caller promises.
        unsafe { libc::munmap(start, bytes) };
    }
}

/// The server's setting (`always`, `madvise` or `never`), and that of this process. A kernel without
/// huge pages has no such file. Some 7 µs.
#[allow(unsafe_code)]
fn huge_pages_enabled() -> bool {
    // SAFETY: this asks for a number.
    let disabled = unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) };
    disabled == 0
        && std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
            .is_ok_and(|setting| !setting.contains("[never]"))
}

// Miri knows no mapping that is given back in parts.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_zero_and_as_long_as_asked_for() {
        for blocks in [1, 8, 2047, 2048, 2049, 19 * 1024] {
            let mut arena = Arena::new(blocks).unwrap();
            let memory = arena.blocks();
            assert_eq!(memory.len(), blocks);
            assert_eq!(memory.as_ptr().addr() % HUGE_PAGE, 0);
            for block in memory {
                assert!(block.as_ref().iter().all(|&word| word == 0));
                block.as_mut().fill(u64::MAX);
            }
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for blocks in [1 << 40, usize::MAX / size_of::<Block>(), usize::MAX] {
            assert_eq!(Arena::new(blocks).err(), Some(Refused));
        }
    }
}
