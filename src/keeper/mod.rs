//! The keeper: secrets go in, and only a job opens them.
//!
//! The depositor, which is the application, stores secrets and asks for what is to be done with them; the connector,
//! which is the keeper's own login, does it. Neither can read a secret: the depositor never, and the connector only
//! that of a job that it has leased. `docs/keeper.md` says what each of them can do if it is in other hands.
//!
//! | file | who calls it |
//! | --- | --- |
//! | [`secrets`], [`requests`], [`vault`] | the depositor |
//! | [`work`] | the connector |

use password_verify_core::rules::reason::Reason;

use crate::answer::Stop;
use crate::error::Error;

pub mod requests;
pub mod secrets;
pub mod vault;
pub mod work;

/// Turns [`Error::Held`] into an answer, for functions that have a `reason`. Only right where nothing has been written.
fn or_busy(why: Error) -> Stop {
    if why == Error::Held { Reason::Busy.into() } else { why.into() }
}
