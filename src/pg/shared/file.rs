//! Whole files in dynamic shared memory: each is made by one process, read by all, and freed when
//! the last reader detaches. PostgreSQL removes the segments with the server, however it ends.

use std::fs::File;
use std::io::Read;

use pgrx::{PgTryBuilder, pg_sys};

/// The length of the file precedes it: a segment may be longer than requested.
const PREFIX: usize = size_of::<u64>();

/// By which other processes find a segment.
pub type Handle = pg_sys::dsm_handle;

struct Attached(*mut pg_sys::dsm_segment);

impl Attached {
    fn bytes(&self) -> &[u8] {
        // SAFETY: attached until this is dropped, and never written after it was published; `make`
        // has stored the length before that many bytes.
        unsafe {
            let base = pg_sys::dsm_segment_address(self.0).cast::<u8>();
            let len = base.cast::<u64>().read() as usize;
            std::slice::from_raw_parts(base.add(PREFIX), len)
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: attached by `make` or `with`, and not detached since.
        unsafe { pg_sys::dsm_detach(self.0) };
    }
}

/// Copies the file into a segment that stays until [`release`], if `check` accepts it.
///
/// # Errors
/// The reason, in words. No segment remains then.
pub fn make(
    file: &mut File,
    check: impl FnOnce(&[u8]) -> Result<(), String>,
) -> Result<Handle, String> {
    let len = file.metadata().map_err(|why| why.to_string())?.len() as usize;
    let piece = Attached(allocate(PREFIX + len)?);
    // SAFETY: at least as long as requested, and not known to another process yet.
    let bytes = unsafe {
        let base = pg_sys::dsm_segment_address(piece.0).cast::<u8>();
        base.cast::<u64>().write(len as u64);
        std::slice::from_raw_parts_mut(base.add(PREFIX), len)
    };
    file.read_exact(bytes).map_err(|why| why.to_string())?;
    check(bytes)?;
    // SAFETY: attached.
    unsafe {
        pg_sys::dsm_pin_segment(piece.0);
        Ok(pg_sys::dsm_segment_handle(piece.0))
    }
}

/// Creates a segment. Running out of shared memory must not end a worker.
fn allocate(size: usize) -> Result<*mut pg_sys::dsm_segment, String> {
    PgTryBuilder::new(|| {
        // SAFETY: a worker outside of a transaction, attached to shared memory.
        Ok(unsafe { pg_sys::dsm_create(size, 0) })
    })
    .catch_others(|error| {
        // SAFETY: what PostgreSQL does after an error, for a process that held no locks before.
        unsafe { pg_sys::LWLockReleaseAll() };
        match error {
            pgrx::pg_sys::panic::CaughtError::PostgresError(report)
            | pgrx::pg_sys::panic::CaughtError::ErrorReport(report) => {
                Err(report.message().to_owned())
            }
            pgrx::pg_sys::panic::CaughtError::RustPanic { .. } => {
                Err("no shared memory".to_owned())
            }
        }
    })
    .execute()
}

/// Calls `look` with a segment's content. `None` if the segment no longer exists.
pub fn with<T>(handle: Handle, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
    // SAFETY: a session in a transaction, which has not attached the segment already: `look` calls
    // no PostgreSQL function.
    let piece = unsafe { pg_sys::dsm_attach(handle) };
    (!piece.is_null()).then(|| look(Attached(piece).bytes()))
}

/// Frees a segment once its last reader has detached. No process may look for it afterwards.
pub fn release(handle: Handle) {
    // SAFETY: pinned by `make`, and released once, by the process that took its handle out of
    // shared memory.
    unsafe { pg_sys::dsm_unpin_segment(handle) };
}
