//! What a connection must be for a secret to cross it.

use core::net::IpAddr;

/// The connection of a session, as the server knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// A Unix socket, or a loopback address: nothing leaves the machine.
    pub local: bool,
    /// By TLS, or by GSS encryption.
    pub encrypted: bool,
    /// The client has shown a certificate, and the server has verified it.
    pub certified: bool,
}

/// What a site demands of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    pub encryption: bool,
    pub client_certificate: bool,
}

/// What a connection lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Encryption,
    ClientCertificate,
}

impl Demands {
    /// What the connection lacks, if anything. A local one needs no encryption, but it is no
    /// certificate.
    pub const fn unmet_by(self, connection: Connection) -> Option<Lack> {
        let Connection { local, encrypted, certified } = connection;
        if self.encryption && !local && !encrypted {
            Some(Lack::Encryption)
        } else if self.client_certificate && !certified {
            Some(Lack::ClientCertificate)
        } else {
            None
        }
    }
}

/// Is it an address of this machine's loopback: 127.0.0.0/8, `::1`, or an IPv6 spelling of the former
/// (`::ffff:127.0.0.1`)?
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_and_every_demand() {
        use Lack::{ClientCertificate, Encryption};
        for case in 0..32_u8 {
            let bit = |n: u8| case >> n & 1 == 1;
            let (local, encrypted, certified) = (bit(0), bit(1), bit(2));
            let demands = Demands { encryption: bit(3), client_certificate: bit(4) };
            let expected = match (demands.encryption, demands.client_certificate) {
                (true, _) if !(local || encrypted) => Some(Encryption),
                (_, true) if !certified => Some(ClientCertificate),
                _ => None,
            };
            let connection = Connection { local, encrypted, certified };
            assert_eq!(demands.unmet_by(connection), expected, "{connection:?} {demands:?}");
        }
    }

    #[test]
    fn a_certificate_is_demanded_of_local_connections_too() {
        let demands = Demands { encryption: true, client_certificate: true };
        let socket = Connection { local: true, encrypted: false, certified: false };
        assert_eq!(demands.unmet_by(socket), Some(Lack::ClientCertificate));
        let remote = Connection { local: false, ..socket };
        assert_eq!(demands.unmet_by(remote), Some(Lack::Encryption));
        let all = Connection { local: false, encrypted: true, certified: true };
        assert_eq!(demands.unmet_by(all), None);
    }

    #[test]
    fn only_loopback_is_loopback() {
        for text in ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:127.9.9.9"]
        {
            assert!(is_loopback(text.parse().unwrap()), "{text}");
        }
        for text in [
            "128.0.0.1",
            "126.255.255.255",
            "10.0.0.1",
            "192.168.1.1",
            "0.0.0.0",
            "::",
            "::2",
            "::127.0.0.1",
            "fe80::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_loopback(text.parse().unwrap()), "{text}");
        }
    }
}
