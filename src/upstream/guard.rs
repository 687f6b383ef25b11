//! Which addresses the gateway may talk to on behalf of a tenant's file.
//!
//! A tenant names hosts (its CDN, its storage endpoint), and the gateway connects to them from
//! inside of the operator's network. So that no file can reach what only that network should, the
//! policy is asked twice: when the file is read ([`AddressPolicy::check_url`]: for an early word to
//! its author), and again for every address that a socket is about to connect to
//! ([`AddressPolicy::check`], and [`AddressPolicy::check_plaintext`] for plain http), because a name
//! may resolve to anything at any time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// What the operator allows beyond the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Whether this machine itself may be an upstream. For development and tests.
    pub allow_loopback: bool,
    /// The networks that are not public and may hold upstreams all the same.
    pub allowed_networks: Vec<IpNet>,
}

/// An address that the policy forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {class}")]
pub struct ForbiddenAddress {
    /// The address.
    pub address: IpAddr,
    /// Why it is forbidden.
    pub class: AddressClass,
}

/// What kind of address is not simply allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressClass {
    /// Where clouds hand out credentials: never allowed.
    #[error("a cloud's metadata address, which is never allowed")]
    Metadata,
    /// This machine: a loopback address, or the unspecified one, at which a connection ends here too.
    #[error("a loopback address, which needs Server.AllowLoopbackUpstreams = true")]
    Loopback,
    /// Private, link-local, multicast, unspecified, reserved, for documentation …
    #[error("not a public address: it must lie in Server.AllowedUpstreamNetworks")]
    NotPublic,
    /// A public address, asked for plain http.
    #[error("outside of Server.AllowedUpstreamNetworks, where only https is allowed")]
    PlaintextToPublic,
}

/// Where clouds serve credentials and instance data to whoever asks from the right machine.
const METADATA: [IpAddr; 15] = [
    // AWS, Google Cloud, Azure, Oracle, DigitalOcean, Hetzner, OpenStack; and OpenStack over IPv6.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    // GKE's own server, behind the one above.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 252)),
    // AWS: ECS task credentials; EKS Pod Identity.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Azure's WireServer, a public address that only a machine in Azure reaches.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Alibaba Cloud; Oracle Cloud (older images).
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // Tencent Cloud; Scaleway, also over IPv6; Linode over IPv6.
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)),
    // AWS over IPv6: instance metadata; EKS Pod Identity.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google Cloud over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Names that resolve to those addresses inside of a cloud. The addresses are what counts; the
/// names only give an earlier and clearer message.
const METADATA_NAMES: [&str; 6] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
];

/// IPv4 networks that are not globally reachable, from the IANA IPv4 Special-Purpose Address
/// Registry, multicast (RFC 5771) and the reserved class E included. Loopback is a class of its own.
const NOT_PUBLIC_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),       // "this network"
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // shared, behind carriers' NAT
    v4(169, 254, 0, 0, 16),  // link-local
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 31, 196, 0, 24), // AS112
    v4(192, 52, 193, 0, 24), // AMT
    v4(192, 88, 99, 0, 24),  // 6to4 relays, deprecated
    v4(192, 168, 0, 0, 16),  // private
    v4(198, 18, 0, 0, 15),   // benchmarks
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 3),     // multicast and reserved
];

/// All of IPv6 that is handed out as global unicast (IANA IPv6 Global Unicast Address Assignments):
/// what lies outside is not public, whatever it will be called one day.
const GLOBAL_UNICAST_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What inside of it is not globally reachable, or reaches IPv4 hosts by a detour (Teredo).
const NOT_PUBLIC_V6: [Ipv6Net; 3] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments, Teredo
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

/// The well-known prefix of NAT64 (RFC 6052): the IPv4 address is the last 32 bits.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
/// NAT64 prefixes of local use (RFC 8215); the IPv4 address is mostly in the last 32 bits.
const NAT64_LOCAL: Ipv6Net = v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
/// IPv4-translated addresses of stateless translation (RFC 2765): the last 32 bits.
const TRANSLATED: Ipv6Net = v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96);
/// 6to4 (RFC 3056): the IPv4 address follows the first 16 bits.
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

impl AddressPolicy {
    /// Whether a socket may connect to the address over TLS.
    ///
    /// An address that carries another one (IPv4-mapped, NAT64, 6to4) must be allowed as both.
    ///
    /// # Errors
    /// [`ForbiddenAddress`], with the address that is meant in the end.
    pub fn check(&self, ip: IpAddr) -> Result<(), ForbiddenAddress> {
        let (ip, carried) = unwrap(ip);
        self.check_one(ip)?;
        carried.map_or(Ok(()), |carried| self.check_one(IpAddr::V4(carried)))
    }

    /// Whether a socket may connect to the address without TLS: as [`check`](Self::check), but
    /// never to a public address.
    ///
    /// # Errors
    /// [`ForbiddenAddress`].
    pub fn check_plaintext(&self, ip: IpAddr) -> Result<(), ForbiddenAddress> {
        self.check(ip)?;
        let (ip, carried) = unwrap(ip);
        let address = carried.map_or(ip, IpAddr::V4);
        if is_this_machine(address) || self.is_listed(ip) || self.is_listed(address) {
            return Ok(());
        }
        Err(ForbiddenAddress { address, class: AddressClass::PlaintextToPublic })
    }

    /// Reads the URL of a host that the gateway is to talk to: scheme, host and port.
    ///
    /// # Errors
    /// A text for the author of the file. It does not repeat the URL.
    pub fn parse_url(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text).map_err(|error| {
            format!("this is not a URL ({error}); write it like \"https://host.example\"")
        })?;
        self.check_url(&url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the URL must not have a query or a fragment".to_owned());
        }
        if url.path() != "/" {
            return Err("the URL must not have a path: prefixes have keys of their own".to_owned());
        }
        Ok(url)
    }

    /// Whether a file may name the URL as an upstream: https without user info, to a host that is
    /// not known to be forbidden. Plain http is for loopback and for the allowed networks; to a
    /// *name* it is accepted here only if there are allowed networks, and decided by
    /// [`check_plaintext`](Self::check_plaintext) when the name is resolved.
    ///
    /// # Errors
    /// A text for the author of the file. It does not repeat the URL.
    pub fn check_url(&self, url: &Url) -> Result<(), String> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL must not hold a user name or a password".to_owned());
        }
        let plaintext = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err("the URL must begin with https://".to_owned()),
        };
        // The parser has read every spelling of an IPv4 address by now: 127.1, 0x7f000001, 2130706433.
        let ip = match url.host() {
            None => return Err("the URL has no host".to_owned()),
            Some(Host::Domain(name)) => return self.check_name(name, plaintext),
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        };
        let verdict = if plaintext { self.check_plaintext(ip) } else { self.check(ip) };
        verdict.map_err(|forbidden| forbidden.to_string())
    }

    fn check_name(&self, name: &str, plaintext: bool) -> Result<(), String> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if METADATA_NAMES.contains(&name.as_str()) {
            return Err(format!("{name} is {}", AddressClass::Metadata));
        }
        // All of `localhost` is loopback (RFC 6761 §6.3).
        if name == "localhost" || name.ends_with(".localhost") {
            return if self.allow_loopback {
                Ok(())
            } else {
                Err(format!("{name} is {}", AddressClass::Loopback))
            };
        }
        if plaintext && self.allowed_networks.is_empty() {
            return Err("the URL must begin with https:// (plain http is for hosts in \
                        Server.AllowedUpstreamNetworks)"
                .to_owned());
        }
        Ok(())
    }

    fn check_one(&self, address: IpAddr) -> Result<(), ForbiddenAddress> {
        let class = if METADATA.contains(&address) {
            AddressClass::Metadata
        } else if is_this_machine(address) {
            if self.allow_loopback {
                return Ok(());
            }
            AddressClass::Loopback
        } else if is_public(address) || self.is_listed(address) {
            return Ok(());
        } else {
            AddressClass::NotPublic
        };
        Err(ForbiddenAddress { address, class })
    }

    fn is_listed(&self, address: IpAddr) -> bool {
        self.allowed_networks.iter().any(|network| network.contains(&address))
    }
}

/// The address itself, in IPv4 where it is IPv4 in disguise, and the IPv4 address that a gateway on
/// the way would turn it into.
fn unwrap(ip: IpAddr) -> (IpAddr, Option<Ipv4Addr>) {
    let IpAddr::V6(v6) = ip else { return (ip, None) };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return (IpAddr::V4(v4), None);
    }
    let [first, second, third, .., seventh, eighth] = v6.segments();
    let carried =
        |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    let is_compatible = first == 0 && v6.to_ipv4().is_some() && !v6.is_loopback();
    let is_translated = TRANSLATED.contains(&v6);
    if NAT64.contains(&v6) || NAT64_LOCAL.contains(&v6) || is_translated || is_compatible {
        (ip, carried(seventh, eighth))
    } else if SIX_TO_FOUR.contains(&v6) {
        (ip, carried(second, third))
    } else {
        (ip, None)
    }
}

/// Whether a connection to the address ends on this machine.
fn is_this_machine(address: IpAddr) -> bool {
    // The systems take a connection to the unspecified address for one to loopback.
    address.is_loopback() || address.is_unspecified()
}

/// Whether the address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !NOT_PUBLIC_V4.iter().any(|network| network.contains(&v4)),
        // NAT64 leads to the public internet if the address that it carries does.
        IpAddr::V6(v6) if NAT64.contains(&v6) => true,
        IpAddr::V6(v6) => {
            GLOBAL_UNICAST_V6.contains(&v6)
                && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&v6))
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(s: [u16; 8], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(allow_loopback: bool, networks: &[&str]) -> AddressPolicy {
        let allowed_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        AddressPolicy { allow_loopback, allowed_networks }
    }

    fn told(policy: &AddressPolicy, url: &str) -> String {
        policy.check_url(&Url::parse(url).unwrap()).err().unwrap_or_default()
    }

    #[test]
    fn loopback_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "127.255.255.254",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "0.0.0.0",
            "0",
            "0x0",
            "[::]",
            "[::ffff:0.0.0.0]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
        ] {
            for (scheme, port) in [("https", ""), ("http", ":8080")] {
                let url = format!("{scheme}://{host}{port}/");
                let refused = told(&policy(false, &["0.0.0.0/0", "::/0"]), &url);
                assert!(
                    refused.contains("needs Server.AllowLoopbackUpstreams"),
                    "{url}: {refused}"
                );
                assert_eq!(told(&policy(true, &[]), &url), "", "{url}");
            }
        }
    }

    #[test]
    fn metadata_is_never_allowed() {
        for host in [
            "169.254.169.254",
            "169.254.43518",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[::169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b:1::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "169.254.170.2",
            "169.254.170.23",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "[::ffff:0:169.254.169.254]",
            "[fe80::a9fe:a9fe]",
            "169.254.169.252",
            "169.254.0.23",
            "169.254.42.42",
            "[fd00:42::42]",
            "[fd00:a9fe:a9fe::1]",
            "[fd00:ec2::23]",
            "metadata.tencentyun.com",
            "metadata.google.internal...",
            "[fd00:ec2::254]",
            "[fd00:ec2:0::0:254]",
            "[fd20:ce::254]",
            "metadata.google.internal",
            "Metadata.Google.Internal.",
            "metadata",
        ] {
            let url = format!("https://{host}/");
            let refused = told(&policy(true, &["0.0.0.0/0", "::/0"]), &url);
            assert!(refused.contains("never allowed"), "{url}: {refused}");
        }
    }

    #[test]
    fn what_is_not_public_must_be_listed() {
        for (host, network) in [
            ("10.1.2.3", "10.0.0.0/8"),
            ("10.66051", "10.0.0.0/8"),
            ("172.16.0.1", "172.16.0.0/12"),
            ("172.31.255.255", "172.16.0.0/12"),
            ("192.168.1.1", "192.168.1.0/24"),
            ("[::ffff:192.168.1.1]", "192.168.1.0/24"),
            ("100.64.0.1", "100.64.0.0/10"),
            ("169.254.1.1", "169.254.0.0/16"),
            ("0.0.0.1", "0.0.0.0/8"),
            ("1", "0.0.0.0/8"),
            ("100.127.255.255", "100.64.0.0/10"),
            ("192.0.0.1", "192.0.0.0/24"),
            ("239.255.255.250", "224.0.0.0/4"),
            ("240.0.0.1", "240.0.0.0/4"),
            ("224.0.0.1", "224.0.0.0/4"),
            ("255.255.255.255", "255.255.255.255/32"),
            ("198.19.0.1", "198.18.0.0/15"),
            ("203.0.113.9", "203.0.113.0/24"),
            ("[fe80::1]", "fe80::/10"),
            ("[fec0::1]", "fec0::/10"),
            ("[fc00::1]", "fc00::/7"),
            ("[fd12:3456::1]", "fd00::/8"),
            ("[ff02::1]", "ff00::/8"),
            ("[2001:db8::1]", "2001:db8::/32"),
            ("[2001::1]", "2001::/23"),
            ("[100::1]", "100::/64"),
            ("[4000::1]", "4000::/3"),
            ("[5f00::1]", "5f00::/16"),
            ("[2001:0:a00:1::1]", "2001::/23"),
            ("[ff0e::1]", "ff00::/8"),
            ("[64:ff9b::10.0.0.1]", "10.0.0.0/8"),
            ("[2002:a00:1::]", "10.0.0.0/8"),
        ] {
            for scheme in ["https", "http"] {
                let url = format!("{scheme}://{host}/");
                let refused = told(&policy(true, &["10.99.0.0/16"]), &url);
                assert!(refused.contains("AllowedUpstreamNetworks"), "{url}: {refused}");
                assert_eq!(told(&policy(false, &[network]), &url), "", "{url} in {network}");
            }
        }
    }

    #[test]
    fn the_public_internet_is_allowed_over_tls_only() {
        for host in [
            "1.1.1.1",
            "172.32.0.1",
            "192.169.0.1",
            "[2606:4700::1111]",
            "[64:ff9b::1.1.1.1]",
            "[2002:101:101::]",
        ] {
            let strict = policy(false, &["10.0.0.0/8"]);
            assert_eq!(told(&strict, &format!("https://{host}/")), "", "{host}");
            assert!(told(&strict, &format!("http://{host}/")).contains("only https"), "{host}");
        }
        let name = "d111111abcdef8.cloudfront.net";
        assert_eq!(told(&policy(false, &[]), &format!("https://{name}")), "");
        assert!(
            told(&policy(true, &[]), &format!("http://{name}")).contains("must begin with https")
        );
        // Decided when the name is resolved.
        assert_eq!(told(&policy(false, &["10.0.0.0/8"]), "http://garage.internal:3900"), "");
    }

    /// What another address is carried in must be allowed as well as what is carried.
    #[test]
    fn a_listed_tunnel_leads_nowhere_by_itself() {
        for (host, tunnel) in [
            ("[64:ff9b:1::10.0.0.1]", "64:ff9b:1::/48"),
            ("[::ffff:0:10.0.0.1]", "::ffff:0:0:0/96"),
            ("[::10.0.0.1]", "::/96"),
            ("[2002:a00:1::1]", "2002::/16"),
        ] {
            let url = format!("https://{host}/");
            let refused = told(&policy(false, &[tunnel]), &url);
            assert!(refused.starts_with("10.0.0.1 is not a public"), "{url}: {refused}");
            assert_eq!(told(&policy(false, &[tunnel, "10.0.0.0/8"]), &url), "", "{url}");
        }
    }

    /// No spelling that one parser takes for a host and another for something else.
    #[test]
    fn hosts_that_are_none() {
        for url in [
            "https://[fe80::1%25eth0]/",
            "https://[fe80::1%eth0]/",
            "https://[::1/",
            "https://127.0.0.1.1.1/",
            "https://256.0.0.1/",
            "https://0x100000000/",
            "https://127.0.0.0x/",
            "https://a b.example/",
            "https://a%00.example/",
            "https://a%2f@b.example/",
            "https://a\\@127.0.0.1/",
            "https:///",
            "https://:443/",
        ] {
            assert!(policy(false, &[]).parse_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn no_user_info_and_no_other_scheme() {
        for url in
            ["https://user@a.example", "https://:secret@a.example", "https://127.0.0.1@a.example"]
        {
            let refused = told(&policy(true, &[]), url);
            assert_eq!(refused, "the URL must not hold a user name or a password");
        }
        for url in ["ftp://a.example", "file:///etc/passwd", "gopher://127.0.0.1", "data:,x"] {
            assert_eq!(told(&policy(true, &[]), url), "the URL must begin with https://");
        }
    }

    proptest! {
        /// However an IPv4 address travels, it is judged as itself.
        #[test]
        fn disguises_change_nothing(bits: u32, allow_loopback: bool) {
            let v4 = Ipv4Addr::from_bits(bits);
            let policy = policy(allow_loopback, &["10.0.0.0/8"]);
            let plain = policy.check(IpAddr::V4(v4));
            prop_assert_eq!(policy.check(IpAddr::V6(v4.to_ipv6_mapped())), plain);
            let [a, b, c, d] = v4.octets();
            let nat64 = Ipv6Addr::from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
            prop_assert_eq!(policy.check(IpAddr::V6(nat64)), plain);
        }

        /// Plain http is never allowed where TLS is not.
        #[test]
        fn plaintext_is_stricter(bits: u128) {
            let policy = policy(false, &["fd00::/8"]);
            let ip = IpAddr::V6(Ipv6Addr::from_bits(bits));
            prop_assert!(policy.check(ip).is_ok() || policy.check_plaintext(ip).is_err());
        }
    }
}
