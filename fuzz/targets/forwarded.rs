//! What proxies say of their clients: nobody chooses the address that he is taken for.
//!
//! The first byte chooses the peer and the headers; the rest is their values, one a line.

#![no_main]

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use safelight::domain::TrustedProxies;
use safelight::http::believed_address;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let proxies = TrustedProxies::new(
        ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network")).to_vec(),
    );
    let peer: IpAddr = ["10.0.0.1", "::ffff:10.0.0.2", "fd00::1", "203.0.113.9"]
        [usize::from(choice % 4)]
    .parse()
    .expect("an address");
    let [legacy, standard] = [choice & 4 != 0, choice & 8 != 0];
    let lines: Vec<_> = rest.split(|byte| *byte == b'\n').take(8).collect();
    let mut headers = HeaderMap::new();
    for (at, line) in lines.iter().enumerate() {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        match (legacy, standard) {
            (true, true) if at % 2 == 0 => headers.append(FORWARDED, value),
            (false, true) => headers.append(FORWARDED, value),
            _ => headers.append(X_FORWARDED_FOR, value),
        };
    }
    let address = believed_address(peer, &headers, &proxies);
    assert_eq!(address, address.to_canonical(), "one address has one form");
    if !proxies.contains(peer) {
        assert_eq!(address, peer.to_canonical(), "a stranger is believed nothing");
    }
    let both = headers.contains_key(FORWARDED) && headers.contains_key(X_FORWARDED_FOR);
    if proxies.contains(address) || both {
        return;
    }
    // Where a stranger was found, what he wrote himself changes nothing, whatever it is.
    for (name, own) in [(X_FORWARDED_FOR, "198.51.100.66"), (FORWARDED, "for=198.51.100.66")] {
        if !headers.contains_key(&name) {
            continue;
        }
        let mut more = HeaderMap::new();
        more.append(&name, HeaderValue::from_static(own));
        more.extend(headers.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
        assert_eq!(believed_address(peer, &more, &proxies), address);
    }
});
