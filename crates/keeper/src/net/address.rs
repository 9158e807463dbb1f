//! Which addresses the keeper connects to: those of the public internet, and no others.
//!
//! Whoever stores a secret names the host, and the host's DNS names the address. Without this check a
//! kept secret would be a way to reach what only the keeper's machine can reach (CWE-918).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Unspecified,
    Loopback,
    /// RFC 1918, and unique local addresses (RFC 4193).
    Private,
    LinkLocal,
    /// Carrier-grade NAT (RFC 6598).
    SharedSpace,
    Multicast,
    /// Reserved, for documentation, for benchmarks, or otherwise not globally reachable (RFC 6890).
    Special,
}

/// The address that is really reached: IPv4 inside of IPv6, as translators (RFC 6052) and 6to4 (RFC 3056) take it out.
pub fn unmapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        // ::ffff:0:0/96, and the older ::/96, except for :: and ::1.
        [0, 0, 0, 0, 0, 0xffff] => v4(g, h),
        [0, 0, 0, 0, 0, 0] if g != 0 || h > 1 => v4(g, h),
        // 64:ff9b::/96.
        [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        // 2002::/16.
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

/// Checks an address.
///
/// # Errors
/// [`Refused`], the first that applies.
pub fn check(address: IpAddr) -> Result<(), Refused> {
    match unmapped(address) {
        IpAddr::V4(v4) => check_v4(v4),
        IpAddr::V6(v6) => check_v6(v6),
    }
}

fn check_v4(v4: Ipv4Addr) -> Result<(), Refused> {
    match v4.octets() {
        [0, ..] => Err(Refused::Unspecified),
        [127, ..] => Err(Refused::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Err(Refused::Private),
        [169, 254, ..] => Err(Refused::LinkLocal),
        [100, 64..=127, ..] => Err(Refused::SharedSpace),
        [224..=239, ..] => Err(Refused::Multicast),
        // Protocol assignments and DS-Lite, documentation, 6to4 relays, AS112, benchmarks, reserved and broadcast.
        [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [192, 88, 99, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 175, 48, _]
        | [198, 18 | 19, ..]
        | [240..=255, ..] => Err(Refused::Special),
        _ => Ok(()),
    }
}

fn check_v6(v6: Ipv6Addr) -> Result<(), Refused> {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Err(Refused::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Err(Refused::Loopback),
        [0xfc00..=0xfdff, ..] => Err(Refused::Private),
        [0xfe80..=0xfebf, ..] => Err(Refused::LinkLocal),
        // Site-local (RFC 3879): was private, and is no more than that.
        [0xfec0..=0xfeff, ..] => Err(Refused::Private),
        [0xff00..=0xffff, ..] => Err(Refused::Multicast),
        // Protocol assignments with Teredo and ORCHID (2001::/23), documentation, AS112.
        [0x2001, 0..=0x1ff, ..]
        | [0x2001, 0xdb8, ..]
        | [0x3fff, 0..=0xfff, ..]
        | [0x2620, 0x4f, 0x8000, ..] => Err(Refused::Special),
        // Global unicast (RFC 4291 section 2.4) is 2000::/3, and nothing else has been given out.
        [0x2000..=0x3fff, ..] => Ok(()),
        _ => Err(Refused::Special),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Refused as R;

    fn of(text: &str) -> Result<(), Refused> {
        check(text.parse().unwrap())
    }

    #[test]
    fn every_sort_of_address() {
        for (text, why) in [
            ("0.0.0.0", R::Unspecified),
            ("0.1.2.3", R::Unspecified),
            ("127.0.0.1", R::Loopback),
            ("127.255.255.255", R::Loopback),
            ("10.0.0.1", R::Private),
            ("172.16.0.1", R::Private),
            ("172.31.255.255", R::Private),
            ("192.168.1.1", R::Private),
            ("169.254.169.254", R::LinkLocal),
            ("100.64.0.1", R::SharedSpace),
            ("100.127.255.255", R::SharedSpace),
            ("224.0.0.1", R::Multicast),
            ("239.255.255.255", R::Multicast),
            ("192.0.0.192", R::Special),
            ("192.0.2.1", R::Special),
            ("198.18.0.1", R::Special),
            ("198.51.100.7", R::Special),
            ("203.0.113.7", R::Special),
            ("192.88.99.1", R::Special),
            ("255.255.255.255", R::Special),
            ("240.0.0.1", R::Special),
            ("::", R::Unspecified),
            ("::1", R::Loopback),
            ("fc00::1", R::Private),
            ("fdff::1", R::Private),
            ("fec0::1", R::Private),
            ("fe80::1", R::LinkLocal),
            ("febf::1", R::LinkLocal),
            ("ff02::1", R::Multicast),
            ("2001::1", R::Special),
            ("2001:db8::1", R::Special),
            ("3fff::1", R::Special),
            ("2620:4f:8000::1", R::Special),
            ("100::1", R::Special),
            ("5f00::1", R::Special),
            ("4000::1", R::Special),
            ("64:ff9b:1::a00:1", R::Special),
        ] {
            assert_eq!(of(text), Err(why), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2001:4860::1",
        ] {
            assert_eq!(of(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_wrapped_in_ipv6_is_what_it_reaches() {
        for (inner, octets, why) in [
            ("127.0.0.1", "7f00:1", Err(R::Loopback)),
            ("10.0.0.1", "a00:1", Err(R::Private)),
            ("169.254.169.254", "a9fe:a9fe", Err(R::LinkLocal)),
            ("0.0.0.0", "0:0", Err(R::Unspecified)),
            ("1.1.1.1", "101:101", Ok(())),
        ] {
            assert_eq!(of(inner), why);
            for wrapped in [
                format!("::ffff:{octets}"),
                format!("64:ff9b::{octets}"),
                format!("2002:{octets}::1"),
            ] {
                assert_eq!(of(&wrapped), why, "{wrapped}");
            }
        }
        assert_eq!(of("::7f00:1"), Err(R::Loopback));
        assert_eq!(of("::2"), Err(R::Unspecified));
    }
}
