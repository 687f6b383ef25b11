//! Where a request comes from: the address of the client, through the proxies that the operator trusts.
//!
//! Every proxy appends to `Forwarded` (RFC 7239) or `X-Forwarded-For` whom it was asked by, so the
//! header is read from its end. As long as an address is that of a trusted proxy, the entry before it is
//! that proxy's word. The first address that is none is the client; what stands before it the client
//! may have written itself, and is not looked at.
//!
//! `X-Forwarded-Host`, `X-Forwarded-Proto`, `X-Original-URL` and the like are never read: nothing here
//! depends on what they say.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::domain::{ClientNetwork, TrustedProxies, Unbelieved};
use crate::metrics::Metrics;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How many entries are looked at. Nobody has so many proxies of his own.
const MAX_HOPS: usize = 32;

/// The network of the client, where the operator has said who stands in front of the gateway. Counts
/// what was said about clients and not believed.
pub(super) fn network(
    peer: SocketAddr,
    headers: &HeaderMap,
    proxies: Option<&TrustedProxies>,
    metrics: &Metrics,
) -> Option<ClientNetwork> {
    let nobody = TrustedProxies::default();
    let client = locate(peer.ip(), headers, proxies.unwrap_or(&nobody));
    if let Some(reason) = client.unbelieved {
        metrics.untrusted_forwarded.with_label_values(&[reason.label()]).inc();
    }
    // Without proxies that are known of, the peer may be one that everybody comes through.
    proxies.map(|_| ClientNetwork::of(client.address))
}

/// The address nearest to the client that can be believed: for the fuzzer.
#[doc(hidden)]
#[must_use]
pub fn believed_address(peer: IpAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> IpAddr {
    locate(peer, headers, proxies).address
}

/// What is known of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Client {
    /// The address nearest to it that can be believed.
    address: IpAddr,
    /// Why more was said than is believed.
    unbelieved: Option<Unbelieved>,
}

/// What an entry says of whom a proxy was asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hop {
    Address(IpAddr),
    /// `unknown`, or a name that stands for an address: the proxy does not say.
    Withheld,
    Malformed,
}

fn locate(peer: IpAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> Client {
    let peer = peer.to_canonical();
    let [has_forwarded, has_legacy] =
        [FORWARDED, X_FORWARDED_FOR].map(|name| headers.contains_key(name));
    if !proxies.contains(peer) {
        let unbelieved = (has_forwarded || has_legacy).then_some(Unbelieved::UntrustedPeer);
        return Client { address: peer, unbelieved };
    }
    let standard = || follow(peer, forwarded(headers), proxies);
    let legacy = || follow(peer, forwarded_for(headers), proxies);
    match (has_forwarded, has_legacy) {
        (false, false) => Client { address: peer, unbelieved: None },
        (true, false) => standard(),
        (false, true) => legacy(),
        (true, true) => {
            let (one, other) = (standard(), legacy());
            // Which of the two the proxies write, only the operator knows; the other one is the client's
            // own. Whoever sends both gets no address of his choice.
            let contradictory =
                Client { address: peer, unbelieved: Some(Unbelieved::Contradictory) };
            if one.address == other.address { one } else { contradictory }
        }
    }
}

/// Goes from one proxy to the one before it, for as long as they are trusted.
fn follow(peer: IpAddr, hops: impl Iterator<Item = Hop>, proxies: &TrustedProxies) -> Client {
    let mut address = peer;
    for hop in hops.take(MAX_HOPS) {
        match hop {
            Hop::Address(next) => address = next,
            Hop::Withheld => break,
            Hop::Malformed => {
                return Client { address, unbelieved: Some(Unbelieved::Malformed) };
            }
        }
        if !proxies.contains(address) {
            break;
        }
    }
    Client { address, unbelieved: None }
}

/// The entries of `X-Forwarded-For`, the last one first. Repeated headers are one list.
fn forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Hop> {
    from_the_end(headers, X_FORWARDED_FOR).flat_map(|value| {
        let entries = value.as_bytes().rsplit(|byte| *byte == b',').map(std::str::from_utf8);
        entries.map(|entry| entry.map_or(Hop::Malformed, |entry| hop(entry.trim_matches(OWS))))
    })
}

/// The elements of `Forwarded`, the last one first. Repeated headers are one list, but what is wrong
/// with one does not spoil those after it: they are what later proxies have added.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Hop> {
    from_the_end(headers, FORWARDED).flat_map(|value| {
        let text = value.to_str().ok();
        let hops = match text.and_then(|text| outside_quotes(text, ',')) {
            Some(elements) => elements.iter().rev().take(MAX_HOPS).map(|e| element(e)).collect(),
            None => vec![Hop::Malformed],
        };
        hops.into_iter()
    })
}

fn from_the_end(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &HeaderValue> {
    let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    values.into_iter().rev()
}

/// Optional white space (RFC 9110 §5.6.3).
const OWS: [char; 2] = [' ', '\t'];

/// The parts of a text between separators that stand in no quoted string; `None` if a quote is never
/// closed.
fn outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                parts.push(&text[begin..at]);
                begin = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    (!quoted).then_some(parts)
}

/// One element of `Forwarded`: pairs of names and values, of which `for` counts.
fn element(text: &str) -> Hop {
    let mut found = None;
    for pair in outside_quotes(text, ';').unwrap_or_default() {
        let pair = pair.trim_matches(OWS);
        if pair.is_empty() {
            continue;
        }
        let Some((name, value)) = pair.split_once('=') else { return Hop::Malformed };
        if !name.eq_ignore_ascii_case("for") {
            continue;
        }
        match unquoted(value).map(|node| hop(&node)) {
            Some(hop) if found.is_none() => found = Some(hop),
            _ => return Hop::Malformed,
        }
    }
    match found {
        Some(hop) => hop,
        // Nothing at all is no element. One that has only other names withholds this one.
        None if text.trim_matches(OWS).is_empty() => Hop::Malformed,
        None => Hop::Withheld,
    }
}

/// The value of a token or of a quoted string.
fn unquoted(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let mut text = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(text),
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
}

/// What names a node: `192.0.2.1`, `[2001:db8::1]`, each perhaps with a port, `2001:db8::1`, `unknown`,
/// or `_` and a name that stands for it.
fn hop(node: &str) -> Hop {
    if let Ok(address) = node.parse::<Ipv6Addr>() {
        return Hop::Address(IpAddr::V6(address).to_canonical());
    }
    let (name, port) = match node.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None => return Hop::Malformed,
        },
        None => match node.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (node, None),
        },
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Hop::Malformed;
    }
    if node.starts_with('[') {
        let address = name.parse::<Ipv6Addr>();
        return address.map_or(Hop::Malformed, |v6| Hop::Address(IpAddr::V6(v6).to_canonical()));
    }
    match name.parse() {
        Ok(address) => Hop::Address(IpAddr::V4(address)),
        Err(_) if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) => Hop::Withheld,
        Err(_) => Hop::Malformed,
    }
}

fn is_port(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (digits && text.parse::<u16>().is_ok()) || is_obfuscated(text)
}

/// RFC 7239 §6.3.
fn is_obfuscated(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    text.strip_prefix('_').is_some_and(|name| !name.is_empty() && name.bytes().all(allowed))
}

#[cfg(test)]
mod tests;
