//! An audit event as it lies in the queue, before the worker makes a row of it.

use password_verify_core::rules::throttle::Payer;
use password_verify_core::rules::user_id::UserId;

use crate::pg::server::caller::{Caller, RawAddr};

/// The longest name of a secret, in bytes.
pub const MAX_NAME: usize = 128;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct QueuedEvent {
    pub at: i64,
    /// The full transaction id of a change; zero for an event outside of any transaction.
    pub xid: u64,
    /// The top-level transaction, which is the same outside of savepoints.
    pub top_xid: u64,
    pub caller: Caller,
    pub action: u8,
    pub outcome: u8,
    pub alert: u8,
    /// Did the event cost a password hash?
    pub hashed: bool,
    /// The user's budgets to clear when the transaction commits: one bit for each payer.
    pub clears: u8,
    /// What the change adds to the sum of all credentials, big-endian.
    pub share: [u8; 16],
    pub client_addr: RawAddr,
    pub user_len: u8,
    /// UTF-8.
    pub user: [u8; 255],
    /// The number of the job, or zero.
    pub job: i64,
    pub name_len: u8,
    /// The name of the secret, in UTF-8.
    pub name: [u8; MAX_NAME],
}

impl QueuedEvent {
    /// The user's budgets to clear when the transaction commits.
    pub fn cleared(&self) -> impl Iterator<Item = Payer> {
        let clears = self.clears;
        Payer::ALL.into_iter().filter(move |payer| clears & payer.bit() != 0)
    }

    pub fn name_user(&mut self, user: &UserId) {
        self.put_text(user.as_str());
    }

    /// Names what it is about: a secret, of at most [`MAX_NAME`] bytes, and a job, or neither.
    pub fn name_secret(&mut self, name: &str, job: i64) {
        let bytes = &name.as_bytes()[..name.len().min(MAX_NAME)];
        (self.job, self.name_len, self.name) = (job, bytes.len() as u8, [0; MAX_NAME]);
        self.name[..bytes.len()].copy_from_slice(bytes);
    }

    /// Puts a text of at most 255 bytes in the place of the user.
    pub fn put_text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        // Invariant: a user id has at most 255 bytes, and so has any other text.
        (self.user_len, self.user) = (bytes.len() as u8, [0; 255]);
        self.user[..bytes.len()].copy_from_slice(bytes);
    }
}
