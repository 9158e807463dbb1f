//! Pieces of dynamic shared memory for whole files: made by one process, read by all, freed when the last who
//! reads one is done with it. PostgreSQL removes them with the server, however it ends.

use std::fs::File;
use std::io::Read;

use pgrx::{PgTryBuilder, pg_sys};

/// The length of the file lies before it: a piece may be longer than was asked for.
const PREFIX: usize = size_of::<u64>();

/// How others find a piece.
pub type Handle = pg_sys::dsm_handle;

/// A piece that this process reads.
struct Attached(*mut pg_sys::dsm_segment);

impl Attached {
    fn bytes(&self) -> &[u8] {
        // SAFETY: attached until this is dropped, and written by nobody since it was published; `make`
        // has put the length before as many bytes.
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

/// A copy of the file, which stays until [`release`], if it is as it should be.
///
/// # Errors
/// Why not; nothing is left behind then.
pub fn make(
    file: &mut File,
    check: impl FnOnce(&[u8]) -> Result<(), String>,
) -> Result<Handle, String> {
    let len = file.metadata().map_err(|why| why.to_string())?.len() as usize;
    let piece = Attached(allocate(PREFIX + len)?);
    // SAFETY: as long as was asked for, and nobody else knows of it yet.
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

/// A worker goes on where there is no room for it.
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

/// Looks at a piece. `None` if it is not there any more.
pub fn with<T>(handle: Handle, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
    // SAFETY: a session in a transaction, which this session has not attached already: `look` calls nothing
    // of PostgreSQL.
    let piece = unsafe { pg_sys::dsm_attach(handle) };
    (!piece.is_null()).then(|| look(Attached(piece).bytes()))
}

/// Nobody will look for it any more.
pub fn release(handle: Handle) {
    // SAFETY: pinned by `make`, and released once, by whoever took its handle out of shared memory.
    unsafe { pg_sys::dsm_unpin_segment(handle) };
}
