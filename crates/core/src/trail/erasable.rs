//! User ids that can be erased from the rows of a chain, which holds all the same.
//!
//! The chain covers a commitment to the id: a hash of it and of a nonce, which is kept beside it. Erasing removes both and
//! leaves the commitment. Without the nonce, 128 random bits of its own for each row, nobody can find out by guessing ids
//! whose it was, nor which rows had the same one.

use blake2::Blake2b;
use blake2::digest::{Digest, consts::U32};

pub const NONCE_BYTES: usize = 16;
pub const COMMITMENT_BYTES: usize = 32;

/// No other hash of this project begins like this.
const PURPOSE: &[u8] = b"password_verify user of an event v1";

/// What the chain covers of a user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment([u8; COMMITMENT_BYTES]);

impl Commitment {
    fn to(user_id: &str, nonce: &[u8; NONCE_BYTES]) -> Self {
        // The parts before the id have fixed lengths.
        Self(
            Blake2b::<U32>::new()
                .chain_update(PURPOSE)
                .chain_update(nonce)
                .chain_update(user_id)
                .finalize()
                .into(),
        )
    }

    pub(crate) const fn bytes(&self) -> &[u8; COMMITMENT_BYTES] {
        &self.0
    }
}

/// What a row keeps beside the id of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Nothing: it is about nobody.
    Nobody,
    /// The nonce of the commitment.
    Somebody([u8; NONCE_BYTES]),
    /// The commitment itself: the id is erased.
    Erased(Commitment),
}

impl Named {
    /// For a new row.
    pub fn new(user_id: Option<&str>, nonce: [u8; NONCE_BYTES]) -> Self {
        user_id.map_or(Self::Nobody, |_| Self::Somebody(nonce))
    }

    /// As it is stored: its length says which it is.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Nobody => None,
            Self::Somebody(nonce) => Some(nonce),
            Self::Erased(commitment) => Some(commitment.bytes()),
        }
    }

    /// What is stored. `None` if it is none of them.
    pub fn from_bytes(stored: Option<&[u8]>) -> Option<Self> {
        let Some(stored) = stored else { return Some(Self::Nobody) };
        let nonce = stored.try_into().ok().map(Self::Somebody);
        nonce.or_else(|| stored.try_into().ok().map(|bytes| Self::Erased(Commitment(bytes))))
    }

    /// What the chain covers of a row with that id.
    ///
    /// # Errors
    /// [`Mismatch`] if there is an id without a nonce, or one that should be erased.
    pub fn commitment(&self, user_id: Option<&str>) -> Result<Option<Commitment>, Mismatch> {
        match (self, user_id) {
            (Self::Nobody, None) => Ok(None),
            (Self::Somebody(nonce), Some(id)) => Ok(Some(Commitment::to(id, nonce))),
            (Self::Erased(commitment), None) => Ok(Some(*commitment)),
            _ => Err(Mismatch),
        }
    }

    /// The same without the id.
    ///
    /// # Errors
    /// Those of [`Named::commitment`].
    pub fn erased(&self, user_id: Option<&str>) -> Result<Self, Mismatch> {
        Ok(self.commitment(user_id)?.map_or(Self::Nobody, Self::Erased))
    }
}

/// A row has an id and something beside it that do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erased_id_leaves_what_the_chain_covers() {
        let named = Named::new(Some("alice"), [7; NONCE_BYTES]);
        let erased = named.erased(Some("alice")).unwrap_or(Named::Nobody);
        assert_eq!(erased.commitment(None), named.commitment(Some("alice")));
        assert!(erased.commitment(None).is_ok_and(|it| it.is_some()));
        assert_eq!(erased.erased(None), Ok(erased));
        assert_eq!(Named::Nobody.erased(None), Ok(Named::Nobody));
    }

    #[test]
    fn a_commitment_is_to_one_id_and_one_nonce() {
        let of = |id: &str, nonce: u8| Named::Somebody([nonce; NONCE_BYTES]).commitment(Some(id));
        assert_eq!(of("alice", 1), of("alice", 1));
        assert_ne!(of("alice", 1), of("alice", 2));
        assert_ne!(of("alice", 1), of("alicf", 1));
        assert_ne!(of("alice", 1), of("", 1));
    }

    #[test]
    fn what_is_stored_says_which_it_is() {
        let erased = Named::Somebody([3; NONCE_BYTES]).erased(Some("a")).unwrap_or(Named::Nobody);
        for named in [Named::Nobody, Named::Somebody([9; NONCE_BYTES]), erased] {
            assert_eq!(Named::from_bytes(named.bytes()), Some(named));
        }
        for length in
            [0, 1, NONCE_BYTES - 1, NONCE_BYTES + 1, COMMITMENT_BYTES - 1, COMMITMENT_BYTES + 1]
        {
            assert_eq!(Named::from_bytes(Some(&vec![1; length])), None, "{length}");
        }
    }

    #[test]
    fn an_id_needs_its_nonce_and_an_erased_one_is_gone() {
        let erased = Named::Somebody([3; NONCE_BYTES]).erased(Some("a")).unwrap_or(Named::Nobody);
        for (named, user_id) in [
            (Named::Nobody, Some("a")),
            (Named::Somebody([3; NONCE_BYTES]), None),
            (erased, Some("a")),
        ] {
            assert_eq!(named.commitment(user_id), Err(Mismatch), "{named:?}");
            assert_eq!(named.erased(user_id), Err(Mismatch), "{named:?}");
        }
    }
}
