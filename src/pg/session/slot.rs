//! The hash slot that this session holds, or its place in the queue for one. It is released
//! whatever happens to the session, as an [`Attempt`](super::attempt::Attempt) is.

use std::cell::Cell;
use std::time::Instant;

use password_verify_core::kept::workspace::Workspace;
use password_verify_core::rules::cost::Cost;
use pgrx::pg_sys;

use crate::error::Error;
use crate::kernel;
use crate::pg::server::callbacks;
use crate::pg::server::callbacks::Registered;
use crate::pg::shared::slots;
use crate::pg::shared::slots::Entered;

#[derive(Clone, Copy)]
enum Hold {
    Nothing,
    Queue(u32),
    Slot,
}

thread_local! {
    static HOLD: Cell<Hold> = const { Cell::new(Hold::Nothing) };
}

/// The right to compute one hash at a time. Its holder waits neither for a lock nor for another
/// session.
#[must_use]
pub struct HashSlot(());

impl HashSlot {
    /// Waits for a slot, first come, first served. `None` if the queue is full or the deadline has
    /// passed. Cancellation, `statement_timeout` and termination end the wait.
    pub fn take(deadline: Instant) -> Option<Self> {
        callbacks::at_exit(&REGISTERED, on_exit);
        let entered = slots::enter();
        let place = match entered {
            Entered::Slot => {
                HOLD.set(Hold::Slot);
                return Some(Self(()));
            }
            Entered::Full => return None,
            Entered::Queue(place) => place,
        };
        HOLD.set(Hold::Queue(place));
        // From here on an error frees the place in the queue.
        let slot = Self(());
        let look = || slots::granted(place).then_some(());
        let _ = slots::ready(place).wait(deadline, look);
        HOLD.set(Hold::Nothing);
        if slots::leave(place) {
            HOLD.set(Hold::Slot);
            Some(slot)
        } else {
            None
        }
    }

    /// Memory for a hash of that cost, in huge pages where available. A hash without a cost is one
    /// of another system, whose implementation allocates its own memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the operating system refuses it.
    pub fn workspace(&mut self, cost: Option<Cost>) -> Result<Workspace, Error> {
        let Some(cost) = cost else { return Ok(Workspace::none()) };
        let workspace = Workspace::new(cost, kernel::path())?;
        if !workspace.expects_huge_pages() {
            slots::count_small_pages();
        }
        Ok(workspace)
    }
}

impl Drop for HashSlot {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    match HOLD.replace(Hold::Nothing) {
        Hold::Slot => slots::give_back(),
        Hold::Queue(place) if slots::leave(place) => slots::give_back(),
        Hold::Queue(_) | Hold::Nothing => {}
    }
}

static REGISTERED: Registered = Registered::new(false);

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    give_back();
}
