//! How the keeper gets to other machines. All jobs share it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::hosts::Hosts;
use crate::net::dial::Dialer;
use crate::net::tls::Trust;

/// How many renewals of tokens are in progress at most.
pub const RENEWALS: u32 = 1000;

/// How connections are made.
pub struct Ways {
    pub dialer: Dialer,
    pub trust: Trust,
    /// The longest wait for one byte.
    pub silence: Duration,
    /// Whose turn it is at mail servers.
    pub hosts: Arc<Hosts>,
    /// Whose turn it is at token endpoints. Apart, because whoever waits here has a turn there.
    pub providers: Arc<Hosts>,
    /// A renewal of a token must not be cut off: whoever stops the keeper takes all of these.
    pub renewals: Arc<Semaphore>,
    /// How long one takes at most.
    pub renewal: Duration,
}
