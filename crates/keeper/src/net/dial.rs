//! From a name to a connection: the list, the resolver, the check of each address, and the connection to the very
//! address that was checked.

use core::net::{IpAddr, SocketAddr};
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::address;
use super::allowed::Domain;
use crate::lock::lock;
use crate::trouble::Trouble;

/// Where to connect, and how long to wait.
#[derive(Debug, Clone)]
pub struct Dialer {
    pub domains: Vec<Domain>,
    pub ports: Vec<u16>,
    /// For tests, whose servers are on this machine: loopback is as good as any other address.
    pub permit_loopback: bool,
    /// For the name, and for each address.
    pub patience: Duration,
}

/// How many addresses of one name are tried.
const TRIES: usize = 4;

/// Names that are looked up at once: those that were found soon the last time, and others. The system's resolver keeps a
/// thread for as long as it likes, whoever has stopped waiting for it, and there is an end of threads.
static KNOWN: Semaphore = Semaphore::const_new(8);
static OTHERS: Semaphore = Semaphore::const_new(8);
/// The names that were found soon the last time, and how many are remembered.
static NAMES: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
const REMEMBERED: usize = 10_000;
const SOON: Duration = Duration::from_secs(1);

impl Dialer {
    /// Is it on the operator's list?
    ///
    /// # Errors
    /// [`Trouble::AddressRefused`].
    pub fn is_listed(&self, host: &str, port: u16) -> Result<(), Trouble> {
        let listed = self.domains.iter().any(|it| it.covers(host)) && self.ports.contains(&port);
        if listed { Ok(()) } else { Err(Trouble::AddressRefused) }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Trouble::AddressRefused`], [`Trouble::Limited`] if too many names are looked up already, [`Trouble::Dns`],
    /// [`Trouble::Timeout`], [`Trouble::Unavailable`].
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Trouble> {
        self.is_listed(host, port)?;
        let name = (host.to_owned(), port);
        let places = if is_known(host) { &KNOWN } else { &OTHERS };
        let found = self.look_up(places, move || {
            let begun = Instant::now();
            Ok((name.to_socket_addrs()?, begun.elapsed()))
        });
        let found = found.await;
        if !matches!(found, Err(Trouble::Limited)) {
            note(host, found.as_ref().is_ok_and(|(_, took)| *took < SOON));
        }
        let (found, _) = found?;
        let mut trouble = Trouble::Dns;
        for place in found.take(TRIES) {
            trouble = match self.try_one(place).await {
                Ok(stream) => return Ok(stream),
                Err(why) => why,
            };
        }
        Err(trouble)
    }

    /// Asks the resolver, on a thread of its own. Its place is free again when that has ended.
    async fn look_up<T: Send + 'static>(
        &self,
        places: &'static Semaphore,
        resolve: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Trouble> {
        // Others keep it waiting, and not this host.
        let place = timeout(self.patience, places.acquire()).await;
        let place = place.map_err(|_| Trouble::Limited)?.map_err(|_| Trouble::Internal)?;
        let resolving = spawn_blocking(move || {
            let _place = place;
            resolve()
        });
        let found = timeout(self.patience, resolving).await.map_err(|_| Trouble::Dns)?;
        found.map_err(|_| Trouble::Internal)?.map_err(|_| Trouble::Dns)
    }

    async fn try_one(&self, place: SocketAddr) -> Result<TcpStream, Trouble> {
        let loopback = self.permit_loopback && address::unmapped(place.ip()).is_loopback();
        if !loopback {
            address::check(place.ip()).map_err(|_| Trouble::AddressRefused)?;
            if is_own(place).await.map_err(|_| Trouble::Unavailable)? {
                return Err(Trouble::AddressRefused);
            }
        }
        let stream = timeout(self.patience, TcpStream::connect(place)).await;
        let stream = stream.map_err(|_| Trouble::Timeout)?.map_err(|why| match why.kind() {
            // It was there, and broke off before anybody here has noticed.
            ErrorKind::ConnectionReset => Trouble::Disconnected,
            _ => Trouble::Unavailable,
        })?;
        // A command is one small packet.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Was it found soon the last time?
fn is_known(host: &str) -> bool {
    lock(&NAMES).contains(host)
}

fn note(host: &str, was_soon: bool) {
    let mut names = lock(&NAMES);
    if !was_soon {
        names.remove(host);
    } else if !names.contains(host) {
        if names.len() >= REMEMBERED {
            names.clear();
        }
        names.insert(host.to_owned());
    }
}

/// Is it an address of this machine? The system routes to itself from the address itself. Nothing is sent.
///
/// # Errors
/// Nobody knows. Then it might be one, and there is no way to it at present in any case.
async fn is_own(place: SocketAddr) -> io::Result<bool> {
    let any: IpAddr = if place.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(place).await?;
    Ok(socket.local_addr()?.ip() == place.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(permit_loopback: bool) -> Dialer {
        let domains = vec![Domain::Any];
        Dialer { domains, ports: vec![9], permit_loopback, patience: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn only_what_is_listed_is_looked_up() {
        let of = |domains: Vec<Domain>, ports| Dialer { domains, ports, ..dialer(true) };
        let other = vec![Domain::One("mail.example".into())];
        assert_eq!(
            of(other, vec![9]).dial("localhost", 9).await.err(),
            Some(Trouble::AddressRefused)
        );
        assert_eq!(
            of(vec![Domain::Any], vec![993]).dial("localhost", 9).await.err(),
            Some(Trouble::AddressRefused)
        );
        // RFC 6761: `invalid` is no name.
        assert_eq!(dialer(true).dial("mail.invalid", 9).await.err(), Some(Trouble::Dns));
    }

    #[tokio::test]
    async fn loopback_is_refused_unless_a_test_permits_it() {
        assert_eq!(dialer(false).dial("localhost", 9).await.err(), Some(Trouble::AddressRefused));
        assert_eq!(dialer(true).dial("localhost", 9).await.err(), Some(Trouble::Unavailable));
    }

    #[tokio::test]
    async fn an_address_of_this_machine_is_its_own() {
        let is_own = async |text: &str| is_own(text.parse().unwrap()).await;
        assert!(is_own("127.0.0.1:9").await.unwrap());
        assert!(
            is_own("[::1]:9").await.is_ok_and(|own| own)
                || UdpSocket::bind("[::1]:0").await.is_err()
        );
        // Without a network there is no way.
        assert!(!is_own("198.51.100.1:9").await.unwrap_or(false));
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_checked_is_not_connected_to() {
        // Nobody may send to all: the system says no before it says from where.
        assert!(is_own("255.255.255.255:9".parse().unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn a_slow_resolver_keeps_no_more_threads_than_it_may() {
        static PLACES: Semaphore = Semaphore::const_new(2);
        let dialer = Dialer { patience: Duration::from_millis(50), ..dialer(true) };
        let slow = || {
            std::thread::sleep(Duration::from_millis(600));
            Ok(())
        };
        for _ in 0..2 {
            assert_eq!(dialer.look_up(&PLACES, slow).await, Err(Trouble::Dns));
        }
        // Nobody waits for them any more, and they go on.
        assert_eq!(dialer.look_up(&PLACES, || Ok(())).await, Err(Trouble::Limited));
        let patient = Dialer { patience: Duration::from_secs(5), ..dialer };
        assert_eq!(patient.look_up(&PLACES, || Ok(())).await, Ok(()));
    }

    #[test]
    fn a_name_is_known_as_long_as_it_is_found_soon() {
        assert!(!is_known("known.example"));
        note("known.example", true);
        assert!(is_known("known.example"));
        note("known.example", false);
        assert!(!is_known("known.example"));
    }
}
