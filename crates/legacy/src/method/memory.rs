//! Checks for memory before a crate allocates it.

use std::hint::black_box;

use crate::OutOfMemory;

/// Fails if there is no room for this many bytes now.
///
/// The crates of scrypt and yescrypt allocate infallibly. If that fails, Rust aborts the process,
/// and PostgreSQL then restarts all backends. So the same amount is reserved and released first. A
/// backend has one thread, so nothing can take the memory in between.
pub fn ask_for(bytes: u64) -> Result<(), OutOfMemory> {
    let bytes = usize::try_from(bytes).map_err(|_| OutOfMemory)?;
    let mut room: Vec<u8> = Vec::new();
    room.try_reserve_exact(bytes).map_err(|_| OutOfMemory)?;
    // The compiler may remove an allocation that is never observed.
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
