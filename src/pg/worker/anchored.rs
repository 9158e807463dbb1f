//! The anchor as the worker holds it: what it has written last, sealed in the database.

use password_verify_core::trail::anchor::{Anchor, Sums};
use password_verify_core::trail::chain::Head;

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::tables::anchors::Anchors;

#[derive(Clone)]
pub struct Anchored {
    /// That of the row; 0 if there is none yet.
    pub number: i64,
    pub anchor: Anchor,
}

/// What a transaction of the worker changes of the anchor.
#[derive(Default)]
pub struct Moves {
    /// The last row of the audit trail, if it is another one.
    pub head: Option<Head>,
    /// Epochs before this one may be removed, if that has been announced.
    pub first: Option<i64>,
    pub sums: Sums,
    /// Shares of transactions of which nobody knows how they ended.
    pub unknown: Vec<u128>,
    /// Is everything sealed now?
    pub sealed: bool,
    /// A restore is accepted: the epoch that says so, and what the sums are to be corrected by.
    pub accepted: Option<(i64, Sums)>,
}

impl Anchored {
    /// Writes the anchor after these changes, as part of the transaction. The result holds once that is
    /// committed.
    ///
    /// # Errors
    /// Those of [`Anchors::replace`].
    pub fn moved(&self, moves: Moves) -> Result<Self, Error> {
        let Moves { head, first, sums, unknown, sealed, accepted } = moves;
        let mut anchor = self.anchor.clone();
        anchor.head = head.unwrap_or(anchor.head);
        anchor.first = first.unwrap_or(anchor.first);
        anchor.sums = anchor.sums.plus(sums);
        anchor.sealed |= sealed;
        if let Some((epoch, correction)) = accepted {
            (anchor.accepted, anchor.broken) = (epoch, 0);
            (anchor.unknown, anchor.lost) = (Vec::new(), false);
            anchor.sums = anchor.sums.plus(correction);
        }
        anchor.add_unknown(unknown);
        Anchors::open(Access::Write)?.replace(self.number, &anchor)?;
        Ok(Self { number: self.number + 1, anchor })
    }

    /// Adds to the sums as part of the transaction.
    ///
    /// # Errors
    /// Those of [`Anchors::replace`].
    pub fn add(&self, sums: Sums) -> Result<Self, Error> {
        self.moved(Moves { sums, ..Moves::default() })
    }

    /// The same, if there is an anchor, and anything to add; `None` if nothing was written.
    ///
    /// # Errors
    /// Those of [`Anchors::replace`].
    pub fn add_any(anchored: Option<&Self>, sums: Sums) -> Result<Option<Self>, Error> {
        anchored.filter(|_| sums != Sums::default()).map(|anchored| anchored.add(sums)).transpose()
    }
}
