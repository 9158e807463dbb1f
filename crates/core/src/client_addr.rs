//! One client, one address: the form in which attempts are counted.

use core::net::{IpAddr, Ipv6Addr};
use std::fmt;

/// Bits of an IPv6 address that its holder cannot choose: a site is given at least a /64.
const IPV6_PREFIX: u32 = 64;

/// IPv4 as it is, IPv4-mapped IPv6 as IPv4, other IPv6 by its /64.
///
/// Whoever has one IPv6 address has 2^64 of them and would otherwise have as many budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddr(IpAddr);

impl From<IpAddr> for ClientAddr {
    fn from(addr: IpAddr) -> Self {
        Self(match addr.to_canonical() {
            IpAddr::V6(addr) => {
                Ipv6Addr::from_bits(addr.to_bits() & (u128::MAX << (128 - IPV6_PREFIX))).into()
            }
            v4 => v4,
        })
    }
}

impl ClientAddr {
    /// 4 or 6, then the address in network order, then zeroes. Different for different clients.
    pub fn to_bytes(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self.0 {
            IpAddr::V4(addr) => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&addr.octets());
            }
            IpAddr::V6(addr) => {
                bytes[0] = 6;
                bytes[1..].copy_from_slice(&addr.octets());
            }
        }
        bytes
    }
}

/// `192.0.2.1` or `2001:db8:1:2::/64`.
impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(addr) => write!(f, "{addr}"),
            IpAddr::V6(addr) => write!(f, "{addr}/{IPV6_PREFIX}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddr {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn ipv4_is_counted_as_it_is() {
        assert_eq!(client("192.0.2.1").to_string(), "192.0.2.1");
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }

    #[test]
    fn ipv4_mapped_ipv6_is_ipv4() {
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_eq!(client("::ffff:192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn other_ipv6_is_counted_by_its_64() {
        let here = client("2001:db8:1:2::");
        assert_eq!(here, client("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(here, client("2001:db8:1:3::"));
        assert_eq!(here.to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn what_only_looks_like_ipv4_is_ipv6() {
        assert_eq!(client("::1").to_string(), "::/64");
        assert_eq!(client("::192.0.2.1"), client("::1"));
        assert_eq!(client("64:ff9b::192.0.2.1").to_string(), "64:ff9b::/64");
    }

    #[test]
    fn the_bytes_are_the_family_and_the_address() {
        let mut v4 = [0; 17];
        v4[..5].copy_from_slice(&[4, 192, 0, 2, 1]);
        assert_eq!(client("::ffff:192.0.2.1").to_bytes(), v4);
        let mut v6 = [0; 17];
        v6[..9].copy_from_slice(&[6, 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2]);
        assert_eq!(client("2001:db8:1:2::5").to_bytes(), v6);
    }

    #[test]
    fn the_families_do_not_meet() {
        assert_ne!(client("32.1.13.184").to_bytes(), client("2001:db8::").to_bytes());
        assert_ne!(client("0.0.0.0").to_bytes(), client("::").to_bytes());
    }
}
