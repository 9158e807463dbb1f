//! From a name to a connection: the list, the resolver, the check of each address, and the connection to the very
//! address that was checked.

use core::net::{IpAddr, SocketAddr};
use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::address;
use super::allowed::Domain;
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
    /// [`Trouble::AddressRefused`], [`Trouble::Dns`], [`Trouble::Timeout`], [`Trouble::Unavailable`].
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Trouble> {
        self.is_listed(host, port)?;
        let found = timeout(self.patience, lookup_host((host, port))).await;
        let found: Vec<SocketAddr> =
            found.map_err(|_| Trouble::Dns)?.map_err(|_| Trouble::Dns)?.collect();
        let mut trouble = Trouble::Dns;
        for place in found.into_iter().take(TRIES) {
            trouble = match self.try_one(place).await {
                Ok(stream) => return Ok(stream),
                Err(why) => why,
            };
        }
        Err(trouble)
    }

    async fn try_one(&self, place: SocketAddr) -> Result<TcpStream, Trouble> {
        let loopback = self.permit_loopback && address::unmapped(place.ip()).is_loopback();
        if !loopback && (address::check(place.ip()).is_err() || is_own(place).await) {
            return Err(Trouble::AddressRefused);
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

/// Is it an address of this machine? The system routes to itself from the address itself. Nothing is sent.
async fn is_own(place: SocketAddr) -> bool {
    let any: IpAddr = if place.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let Ok(socket) = UdpSocket::bind((any, 0)).await else { return false };
    let connected = socket.connect(place).await.is_ok();
    connected && socket.local_addr().is_ok_and(|own| own.ip() == place.ip())
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
        assert!(is_own("127.0.0.1:9".parse().unwrap()).await);
        assert!(
            is_own("[::1]:9".parse().unwrap()).await || UdpSocket::bind("[::1]:0").await.is_err()
        );
        assert!(!is_own("198.51.100.1:9".parse().unwrap()).await);
    }
}
