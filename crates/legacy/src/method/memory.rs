//! Asking for memory before a crate takes it.

use std::hint::black_box;

use crate::OutOfMemory;

/// Is there room for this many bytes, now?
///
/// The crates of scrypt and yescrypt allocate without asking. When that fails, Rust aborts the process,
/// and in PostgreSQL a process that aborts takes every session of the server down with it. So the same
/// amount is reserved and given back first. A backend has one thread: nobody takes it in between.
pub fn ask_for(bytes: u64) -> Result<(), OutOfMemory> {
    let bytes = usize::try_from(bytes).map_err(|_| OutOfMemory)?;
    let mut room: Vec<u8> = Vec::new();
    room.try_reserve_exact(bytes).map_err(|_| OutOfMemory)?;
    // An allocation that nobody looks at is one that the compiler may leave out.
    black_box(&mut room);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_refused() {
        assert_eq!(ask_for(1 << 20), Ok(()));
        assert_eq!(ask_for(1 << 50), Err(OutOfMemory));
        assert_eq!(ask_for(u64::MAX), Err(OutOfMemory));
    }
}
