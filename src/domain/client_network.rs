//! Who counts as one client where clients are told apart by their addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// How many bits of an IPv6 address name its network. One host has all the rest to itself: it may send
/// each of its requests from another address.
const IPV6_PREFIX: u32 = 64;

/// The network of a client: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// The network of this address. An IPv4 address that came over an IPv6 socket is the IPv4 address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX));
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        })
    }
}

/// An address may name a person: it is not for logs.
impl fmt::Debug for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientNetwork(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> ClientNetwork {
        ClientNetwork::of(address.parse().unwrap())
    }

    #[test]
    fn what_is_one_client() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            assert_eq!(of(one) == of(other), same, "{one} and {other}");
        }
    }

    #[test]
    fn debug_output_hides_the_address() {
        assert!(!format!("{:?}", of("192.0.2.1")).contains("192"));
    }
}
