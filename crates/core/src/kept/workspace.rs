//! The workspace of one hash: its memory and its code path.

use password_verify_argon2::{Arena, Inputs, Params, Path, hash_on};

use crate::rules::cost::Cost;

/// Memory for a hash. It is released on drop, so that its contents cannot be read afterwards.
pub struct Workspace {
    /// `None`: this workspace has no memory and computes no Argon2id.
    arena: Option<Arena>,
    path: Path,
}

/// The operating system refused the memory for a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl Workspace {
    /// Allocates memory for hashes of `cost`, which are computed on `path`.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the system refuses it.
    pub fn new(cost: Cost, path: Path) -> Result<Self, OutOfMemory> {
        let arena = Arena::new(params(cost)?.blocks()).map_err(|_| OutOfMemory)?;
        Ok(Self { arena: Some(arena), path })
    }

    /// A workspace for hashes that need no memory of ours.
    pub fn none() -> Self {
        Self { arena: None, path: Path::Portable }
    }

    /// Whether huge pages can be expected. Without them a hash takes about twice as long.
    pub fn expects_huge_pages(&self) -> bool {
        self.arena.as_ref().is_none_or(Arena::expects_huge_pages)
    }

    /// Computes Argon2id version 1.3 (RFC 9106) into `tag`.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the workspace was made for a smaller cost.
    pub(crate) fn argon2id(
        &mut self,
        cost: Cost,
        password: &[u8],
        salt: &[u8],
        tag: &mut [u8],
    ) -> Result<(), OutOfMemory> {
        let inputs = Inputs { password, salt, ..Inputs::default() };
        // Too little memory is the only possible error: a cost is computable, passwords, salts and
        // tags are bounded, and the path was tested at server start.
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
