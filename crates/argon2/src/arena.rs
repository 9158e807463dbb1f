//! The memory of one hash.
//!
//! Measured: with malloc, more than half of the time of a hash goes into page faults and address
//! translation. Huge pages avoid both, and mapping memory anew for each hash costs no more than
//! keeping and wiping it.

use std::ptr::{NonNull, null_mut};

use crate::Block;

/// The size of a huge page in bytes (x86-64, and AArch64 with 4 KiB pages).
const HUGE_PAGE: usize = 2 << 20;

/// A private anonymous mapping, aligned to huge pages. Drop returns it to the kernel, which shows
/// its contents to no process, so nothing has to be wiped.
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
    /// Maps `blocks` blocks, rounded up to huge pages. If promised memory turns out to be missing
    /// when it is touched (overcommit, a cgroup's limit), the kernel kills the process; no program
    /// can catch that.
    ///
    /// # Errors
    /// [`Refused`] by the operating system.
    #[allow(unsafe_code)]
    pub fn new(blocks: usize) -> Result<Self, Refused> {
        let bytes = blocks
            .max(1)
            .checked_mul(size_of::<Block>())
            .and_then(|bytes| bytes.checked_next_multiple_of(HUGE_PAGE))
            .ok_or(Refused)?;
        // Map one huge page more, and return the unaligned parts at once.
        let wide = bytes.checked_add(HUGE_PAGE).ok_or(Refused)?;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let mapped = unsafe { libc::mmap(null_mut(), wide, access, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(Refused);
        }
        let before = mapped.align_offset(HUGE_PAGE);
        let start = mapped.wrapping_byte_add(before);
        // SAFETY: both ranges belong to the new mapping, before and after the part that is kept.
        unsafe {
            unmap(mapped, before);
            unmap(start.wrapping_byte_add(bytes), HUGE_PAGE - before);
        }
        // SAFETY: advice about our own mapping changes nothing that can be read from it.
        let huge = unsafe {
            // Keep it out of core dumps.
            libc::madvise(start, bytes, libc::MADV_DONTDUMP);
            let huge =
                libc::madvise(start, bytes, libc::MADV_HUGEPAGE) == 0 && huge_pages_enabled();
            if !huge {
                // Mapping thousands of small pages at once is cheaper than one by one: it saves 14
                // % of a hash of 19 MiB. Before Linux 5.14 this fails, and touching a page maps it.
                libc::madvise(start, bytes, libc::MADV_POPULATE_WRITE);
            }
            huge
        };
        let start = NonNull::new(start.cast()).ok_or(Refused)?;
        Ok(Self { start, bytes, blocks, huge })
    }

    /// The memory, initially zero.
    #[allow(unsafe_code)]
    pub fn blocks(&mut self) -> &mut [Block] {
        // SAFETY: the mapping is at least that long, aligned to far more than a block, owned by
        // `self` alone, as long-lived, readable and writable; and any bytes are a valid block.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.blocks) }
    }

    /// Whether the kernel's settings let the memory consist of huge pages. Without them a hash
    /// takes about twice as long.
    pub fn expects_huge_pages(&self) -> bool {
        self.huge
    }
}

impl Drop for Arena {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the mapping belongs to `self` alone, and no borrow of it is left.
        unsafe { unmap(self.start.as_ptr().cast(), self.bytes) }
    }
}

/// Unmaps memory. For a whole mapping this cannot fail; for a part of one it fails only if the
/// kernel has no room for another mapping, and then the memory stays mapped, which is harmless.
///
/// # Safety
/// The memory was mapped, and nothing uses it any more.
#[allow(unsafe_code)]
unsafe fn unmap(start: *mut libc::c_void, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the caller promises that nothing uses this mapping.
        unsafe { libc::munmap(start, bytes) };
    }
}

/// Reads the system's setting (`always`, `madvise` or `never`) and that of this process; takes
/// about 7 µs. A kernel without huge pages has no such file.
#[allow(unsafe_code)]
fn huge_pages_enabled() -> bool {
    // SAFETY: this call only returns a number.
    let disabled = unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) };
    disabled == 0
        && std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
            .is_ok_and(|setting| !setting.contains("[never]"))
}

// Miri does not support unmapping a part of a mapping.
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
