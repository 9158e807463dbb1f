//! The canonical form of a client address, under which attempts are counted.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// Bits of an IPv6 address that its holder cannot choose: a site gets at least a /64.
const IPV6_PREFIX: u32 = 64;

/// A client address: IPv4 as it is, IPv6 that embeds IPv4 as that, other IPv6 by its /64.
///
/// The holder of a /64 has 2^64 addresses, and would otherwise have as many budgets. A translator,
/// in contrast, puts all of IPv4 into one /64, and its users would share one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddr(IpAddr);

impl From<IpAddr> for ClientAddr {
    fn from(addr: IpAddr) -> Self {
        Self(match addr {
            IpAddr::V6(addr) => match ipv4_in(addr) {
                Some(v4) => v4.into(),
                None => {
                    Ipv6Addr::from_bits(addr.to_bits() & (u128::MAX << (128 - IPV6_PREFIX))).into()
                }
            },
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The IPv4 address whose holder controls this IPv6 address:
///
/// - `::ffff:0:0/96`, IPv4-mapped (RFC 4291);
/// - `64:ff9b::/96`, NAT64 (RFC 6052), and `64:ff9b:1::/48`, its prefixes for local use (RFC 8215),
///   but only in the usual form, with the IPv4 address at the end and zeros before it;
/// - `2002::/16`, 6to4 (RFC 3056): each IPv4 address has a /48 with 65,536 /64s.
///
/// Teredo and IPv4-compatible addresses are left out, because anyone can make them up.
fn ipv4_in(addr: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 =
        |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match addr.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

impl ClientAddr {
    /// 4 or 6, then the address in network order, then zeros. Unique for each client.
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

/// Writes `192.0.2.1` or `2001:db8:1:2::/64`.
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
        assert_eq!(client("::ffff:0:192.0.2.1").to_string(), "::/64");
        assert_eq!(client("64:ff9c::192.0.2.1").to_string(), "64:ff9c::/64");
        assert_eq!(client("64:ff9b:0:0:1::192.0.2.1").to_string(), "64:ff9b::/64");
        assert_eq!(client("64:ff9b:2::192.0.2.1").to_string(), "64:ff9b:2::/64");
        // Teredo embeds a server's address and one that is not checked.
        assert_eq!(client("2001:0:c000:201::1").to_string(), "2001:0:c000:201::/64");
    }

    #[test]
    fn behind_nat64_every_ipv4_address_counts_for_itself() {
        for prefix in ["64:ff9b::", "64:ff9b:1::", "64:ff9b:1:fffe::"] {
            let translated = |v4| client(&format!("{prefix}{v4}"));
            assert_eq!(translated("192.0.2.1"), client("192.0.2.1"));
            assert_ne!(translated("192.0.2.1"), translated("192.0.2.2"));
        }
        // In the other forms of the prefixes for local use, the IPv4 address is not at the end.
        assert_eq!(client("64:ff9b:1:2:c0:2:100::").to_string(), "64:ff9b:1:2::/64");
    }

    #[test]
    fn an_ipv4_address_has_no_65536_budgets_by_6to4() {
        assert_eq!(client("2002:c000:201::1"), client("192.0.2.1"));
        assert_eq!(client("2002:c000:201:ffff:1:2:3:4"), client("192.0.2.1"));
        assert_ne!(client("2002:c000:202::1"), client("192.0.2.1"));
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
