//! Who is taken for the client: tables, and properties over whatever a header may hold.

use proptest::prelude::*;

use super::*;

/// The proxies of the tests.
fn proxies() -> TrustedProxies {
    TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
}

/// Headers from `Name: value` lines.
fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    headers
}

#[track_caller]
fn assert_client(peer: &str, lines: &[&str], address: &str, unbelieved: Option<Unbelieved>) {
    let client = locate(peer.parse().unwrap(), &headers(lines), &proxies());
    let expected = Client { address: address.parse().unwrap(), unbelieved };
    assert_eq!(client, expected, "{peer} {lines:?}");
}

#[test]
fn the_first_address_from_the_end_that_is_no_proxy() {
    for (peer, lines, address) in [
        ("192.0.2.9", &[][..], "192.0.2.9"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("::ffff:10.0.0.1", &["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 6.6.6.6,192.0.2.1, 10.9.9.9 ,\t10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 192.0.2.1:4711"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", &["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", &["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", &["X-Forwarded-For: ::ffff:192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 192.0.2.1, [::ffff:10.0.0.2]:80"], "192.0.2.1"),
        ("fd00::1", &["X-Forwarded-For: 192.0.2.1, fd00::2"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: 6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["Forwarded: for=192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["Forwarded: for=6.6.6.6, For=192.0.2.1; proto=https;by=_a"], "192.0.2.1"),
        ("10.0.0.1", &["Forwarded: for=6.6.6.6", "Forwarded: for=192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["Forwarded: for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        ("10.0.0.1", &["Forwarded: for=\"192.0.2.1:_port\""], "192.0.2.1"),
        ("10.0.0.1", &["Forwarded: for=\"192\\.0.2.1\""], "192.0.2.1"),
        ("10.0.0.1", &["Forwarded: host=\"a,b;for=6.6.6.6\";for=192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["Forwarded: for=192.0.2.1, for=\"[fd00::7]\""], "192.0.2.1"),
        ("10.0.0.1", &["Forwarded: for=6.6.6.6, for=unknown"], "10.0.0.1"),
        ("10.0.0.1", &["Forwarded: for=6.6.6.6, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["Forwarded: for=6.6.6.6, proto=https"], "10.0.0.1"),
        // What stands before the client is not looked at.
        ("10.0.0.1", &["Forwarded: for=\"open", "Forwarded: for=192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: jörg, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["X-Forwarded-For: rubbish, 192.0.2.1"], "192.0.2.1"),
        // Both, in agreement.
        ("10.0.0.1", &["Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        // Nothing depends on these.
        ("10.0.0.1", &["X-Forwarded-Host: evil.example", "X-Original-URL: /admin"], "10.0.0.1"),
        ("10.0.0.1", &["X-Real-IP: 6.6.6.6", "X-Forwarded-Proto: https"], "10.0.0.1"),
    ] {
        assert_client(peer, lines, address, None);
    }
}

#[test]
fn what_is_said_and_not_believed() {
    use Unbelieved::{Contradictory, Malformed, UntrustedPeer};
    for (peer, lines, address, reason) in [
        ("192.0.2.9", &["X-Forwarded-For: 10.0.0.1"][..], "192.0.2.9", UntrustedPeer),
        ("192.0.2.9", &["Forwarded: for=10.0.0.1"], "192.0.2.9", UntrustedPeer),
        ("::ffff:192.0.2.9", &["X-Forwarded-For: 6.6.6.6"], "192.0.2.9", UntrustedPeer),
        ("10.0.0.1", &["X-Forwarded-For: "], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: 6.6.6.6,"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: 6.6.6.6, unix:, 10.0.0.2"], "10.0.0.2", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: 010.0.0.1"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: 192.0.2.1:"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: 192.0.2.1:65536"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: 192.0.2.1 192.0.2.2"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: [192.0.2.1]"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: [2001:db8::1"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: [2001:db8::1]x"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: fe80::1%eth0"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: www.example"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["X-Forwarded-For: jörg"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["Forwarded: "], "10.0.0.1", Malformed),
        ("10.0.0.1", &["Forwarded: for"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["Forwarded: for=192.0.2.1;for=192.0.2.2"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["Forwarded: for=\"192.0.2.1"], "10.0.0.1", Malformed),
        ("10.0.0.1", &["Forwarded: for=\"192.0.2.1\"0"], "10.0.0.1", Malformed),
        // A client that opens a quote does not swallow what the proxy adds to it.
        ("10.0.0.1", &["Forwarded: for=6.6.6.6;x=\", for=192.0.2.1"], "10.0.0.1", Malformed),
        (
            "10.0.0.1",
            &["Forwarded: for=6.6.6.6;x=\", for=\"[2001:db8::1]\""],
            "10.0.0.1",
            Malformed,
        ),
        (
            "10.0.0.1",
            &["Forwarded: for=6.6.6.6", "X-Forwarded-For: 192.0.2.1"],
            "10.0.0.1",
            Contradictory,
        ),
        (
            "10.0.0.1",
            &["Forwarded: proto=https", "X-Forwarded-For: 6.6.6.6"],
            "10.0.0.1",
            Contradictory,
        ),
    ] {
        assert_client(peer, lines, address, Some(reason));
    }
}

#[test]
fn only_so_many_proxies_are_followed() {
    let proxies = vec!["10.0.0.2"; MAX_HOPS];
    for header in ["X-Forwarded-For: ", "Forwarded: for="] {
        let between = if header.starts_with('F') { ", for=" } else { ", " };
        let chain = |length: usize| proxies[..length].join(between);
        let near = format!("{header}192.0.2.1{between}{}", chain(MAX_HOPS - 1));
        assert_client("10.0.0.1", &[&near], "192.0.2.1", None);
        let far = format!("{header}192.0.2.1{between}{}", chain(MAX_HOPS));
        assert_client("10.0.0.1", &[&far], "10.0.0.2", None);
    }
}

#[test]
fn where_nobody_is_named_nobody_is_told_apart() {
    let metrics = Metrics::new();
    let peer = "192.0.2.9:4711".parse().unwrap();
    let said = headers(&["X-Forwarded-For: 192.0.2.1"]);
    assert_eq!(network(peer, &said, None, &metrics), None);
    let counted = metrics.untrusted_forwarded.with_label_values(&["untrusted_peer"]);
    assert_eq!(counted.get(), 1, "so that the operator sees that there are proxies");
    let direct = network(peer, &said, Some(&TrustedProxies::default()), &metrics);
    assert_eq!(direct, Some(ClientNetwork::of(peer.ip())));
    assert_eq!(counted.get(), 2);
}

/// Addresses of the proxies and others, and what is no address.
fn entry() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..=255_u8).prop_map(|last| format!("10.0.0.{last}")),
        (0..=255_u8).prop_map(|last| format!("192.0.2.{last}")),
        Just("fd00::7".to_owned()),
        Just("[2001:db8::1]:80".to_owned()),
        Just("unknown".to_owned()),
        Just("_hidden".to_owned()),
        Just(String::new()),
        "[0-9a-f:.\\[\\]\" ]{0,12}",
    ]
}

proptest! {
    #[test]
    fn whatever_is_said_never_panics_and_no_stranger_is_believed(
        peer: [u8; 4],
        forwarded in prop::collection::vec("[ -~\\t]{0,60}", 0..3),
        legacy in prop::collection::vec("[ -~\\t]{0,60}", 0..3),
    ) {
        let mut headers = HeaderMap::new();
        for (name, values) in [(FORWARDED, forwarded), (X_FORWARDED_FOR, legacy)] {
            for value in values {
                headers.append(name.clone(), HeaderValue::from_str(&value).unwrap());
            }
        }
        let peer = IpAddr::from(peer);
        let client = locate(peer, &headers, &proxies());
        if !proxies().contains(peer) {
            prop_assert_eq!(client.address, peer);
        }
    }

    /// Nothing that stands left of an address that is no proxy's changes the result: a client decides
    /// nothing about who it is.
    #[test]
    fn what_a_client_wrote_itself_changes_nothing(
        written in prop::collection::vec(entry(), 0..40),
        client in (0..=255_u8).prop_map(|last| format!("198.51.100.{last}")),
        trusted in prop::collection::vec((0..=255_u8).prop_map(|last| format!("10.1.1.{last}")), 0..8),
    ) {
        let honest: Vec<_> = [client.clone()].into_iter().chain(trusted).collect();
        let all: Vec<_> = written.iter().cloned().chain(honest.iter().cloned()).collect();
        for list in [&honest, &all] {
            let line = format!("X-Forwarded-For: {}", list.join(", "));
            let found = locate("10.0.0.1".parse().unwrap(), &headers(&[&line]), &proxies());
            prop_assert_eq!(found.address.to_string(), client.clone());
            prop_assert_eq!(found.unbelieved, None);
        }
        // The same of lines that proxies have added, whatever the client's own line looks like.
        let own = format!("Forwarded: {}", written.join("; for="));
        let added = format!("Forwarded: for={}", honest.join(", for="));
        let found = locate("10.0.0.1".parse().unwrap(), &headers(&[&own, &added]), &proxies());
        prop_assert_eq!(found.address.to_string(), client);
    }

    /// What is found is the peer or was said, and everything between it and the end is a proxy.
    #[test]
    fn what_is_found_is_reached_through_proxies_only(list in prop::collection::vec(entry(), 0..40)) {
        let line = format!("X-Forwarded-For: {}", list.join(","));
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let found = locate(peer, &headers(&[&line]), &proxies());
        let mut reached = peer;
        for text in line["X-Forwarded-For: ".len()..].rsplit(',').take(MAX_HOPS) {
            if found.address == reached || !proxies().contains(reached) {
                break;
            }
            match hop(text.trim_matches(OWS)) {
                Hop::Address(address) => reached = address,
                Hop::Withheld | Hop::Malformed => break,
            }
        }
        prop_assert_eq!(found.address, reached);
    }
}
