//! Where and how one hash is computed.

use password_verify_argon2::{Arena, Inputs, Params, Path, hash_on};

use crate::rules::cost::Cost;

/// Memory for a hash, gone when this is dropped: nobody can read then what was in it.
pub struct Workspace {
    /// `None`: nothing is computed in it.
    arena: Option<Arena>,
    path: Path,
}

/// The memory for a hash was refused by the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl Workspace {
    /// Memory for hashes of that cost, computed on that path.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(cost: Cost, path: Path) -> Result<Self, OutOfMemory> {
        let arena = Arena::new(params(cost)?.blocks()).map_err(|_| OutOfMemory)?;
        Ok(Self { arena: Some(arena), path })
    }

    /// For what needs no memory of ours.
    pub fn none() -> Self {
        Self { arena: None, path: Path::Portable }
    }

    /// Without huge pages a hash takes about twice as long.
    pub fn expects_huge_pages(&self) -> bool {
        self.arena.as_ref().is_none_or(Arena::expects_huge_pages)
    }

    /// Argon2id v1.3 (RFC 9106).
    ///
    /// # Errors
    /// [`OutOfMemory`] when this was made for less.
    pub(crate) fn argon2id(
        &mut self,
        cost: Cost,
        password: &[u8],
        salt: &[u8],
        tag: &mut [u8],
    ) -> Result<(), OutOfMemory> {
        let inputs = Inputs { password, salt, ..Inputs::default() };
        // Too little memory is the only error there can be: a cost is computable, passwords, salts and
        // tags have their bounds, and the path was tested when the server started.
        let arena = self.arena.as_mut().ok_or(OutOfMemory)?;
        hash_on(self.path, arena.blocks(), params(cost)?, &inputs, tag).map_err(|_| OutOfMemory)
    }
}

fn params(cost: Cost) -> Result<Params, OutOfMemory> {
    // A cost is computable by construction.
    Params::new(cost.memory_kib(), cost.iterations(), cost.parallelism()).map_err(|_| OutOfMemory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_less_is_refused() {
        let (small, large) = (Cost::new(32, 1, 1).unwrap(), Cost::new(64, 1, 1).unwrap());
        let mut workspace = Workspace::new(small, Path::best()).unwrap();
        let mut tag = [0; 32];
        assert_eq!(workspace.argon2id(small, b"x", &[1; 16], &mut tag), Ok(()));
        assert_eq!(workspace.argon2id(large, b"x", &[1; 16], &mut tag), Err(OutOfMemory));
    }
}
