//! Ports for servers that are killed and started again.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Shutdown, TcpListener, UdpSocket};

use socket2::SockRef;

/// A port of this machine that no other test gets while this lives, whether a server listens or not.
pub(crate) struct Port {
    pub number: u16,
    /// Of the same number, and of no use but that it can be had once.
    _held: UdpSocket,
}

impl Port {
    pub fn free() -> Self {
        // Below those from which connections go out: one of them could have it while the server is down.
        let candidates = (0..10_000u32).map(|_| 10_000 + (random() % 20_000) as u16);
        candidates.into_iter().find_map(Self::of).expect("a free port")
    }

    fn of(number: u16) -> Option<Self> {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        close(TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?);
        Some(Self { number, _held: held })
    }
}

/// Nobody listens any more, even where a process that is just being started holds it for a moment still.
pub(crate) fn close(listener: TcpListener) {
    let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
}

/// What the hash tables of the standard library start from, which is another each time.
fn random() -> u64 {
    RandomState::new().hash_one(())
}
