//! `[Identity]` in files, right and wrong.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::apps::read_app;
use crate::domain::{AppName, Grants, TrustedProxies};

const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ED25519: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Reads a file with this after its storage; the identity starts in line 5.
fn parse(identity: &str, proxies: Option<&[&str]>) -> Result<Option<IdentityConfig>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("shop")).unwrap();
    std::fs::write(folder.path().join("shop/keys.json"), ED25519).unwrap();
    parse_in(folder.path(), identity, proxies)
}

fn parse_in(
    secrets_dir: &Path,
    identity: &str,
    proxies: Option<&[&str]>,
) -> Result<Option<IdentityConfig>, Vec<String>> {
    let networks = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    let proxies = proxies.map(|list| TrustedProxies::new(networks(list)));
    let context = LoadContext {
        address_policy: &AddressPolicy::default(),
        max_url_expiry: Duration::from_secs(900),
        secrets_dir,
        env: &|_| None,
        grants: &Grants::default(),
        trusted_proxies: proxies.as_ref(),
    };
    let storage = "[Storage]\nBucket = 'media'\nAccessKeyID = 'a'\nSecretAccessKey = 's'\n";
    let name = AppName::parse("shop").unwrap();
    read_app(&name, "shop.toml", &format!("{storage}{identity}"), &[], &context)
        .map(|app| app.identity)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn right(identity: &str) -> IdentityConfig {
    parse(identity, Some(&["10.0.0.0/8"])).unwrap().unwrap()
}

const JWT: &str = "[Identity.Jwt]\nIssuer = 'https://auth.example.com/'\nAudience = 'media'\n";

#[test]
fn tokens() {
    assert_eq!(parse("", None), Ok(None), "nobody proves anything");
    let url = "https://auth.example.com/.well-known/jwks.json?p=b2c";
    let least = IdentityConfig::Jwt(JwtConfig {
        issuer: "https://auth.example.com/".into(),
        audience: "media".into(),
        algorithm: Algorithm::Rs256,
        owner_claim: "sub".into(),
        keys: KeySource::Url(url.parse().unwrap()),
    });
    assert_eq!(right(&format!("{JWT}JWKS = '{url}'")), least);
    let inline = format!(
        "[Identity]\nJwt = {{ Issuer = 'https://auth.example.com/', Audience = 'media', \
         JWKS = '{url}', OwnerClaim = 'sub', Algorithm = 'RS256' }}"
    );
    assert_eq!(right(&inline), least);
    let in_file =
        right(&format!("{JWT}JWKS = 'file:keys.json'\nAlgorithm = 'EdDSA'\nOwnerClaim = 'uid'"));
    let IdentityConfig::Jwt(JwtConfig { keys: KeySource::Here(keys), owner_claim, .. }) = in_file
    else {
        panic!("the keys are in the file");
    };
    assert!(keys.has("one") && owner_claim == "uid");
}

#[test]
fn keys() {
    let identity = format!(
        "[Identity]\nApiKeys = [\n{{ ID = 'backend', Hash = '{HASH}', Owners = 'any', MayDelete = \
         true }},\n{{ ID = 'device', Hash = '{}', Owner = 'u1' }},\n]",
        HASH.replace("ba78", "0000"),
    );
    let IdentityConfig::ApiKeys(keys) = right(&identity) else { panic!("they are keys") };
    let owner = Scope::Owner(OwnerId::parse(b"u1").unwrap());
    assert_eq!(keys[0].caller, Caller { scope: Scope::Application, may_delete: true });
    assert_eq!(keys[1].caller, Caller { scope: owner, may_delete: false });
    assert_eq!((&*keys[0].id, keys[0].hash), ("backend", KeyHash::of("abc")));
    let tables = format!("[[Identity.ApiKeys]]\nID = 'a'\nHash = '{HASH}'\nOwners = 'any'");
    assert!(matches!(right(&tables), IdentityConfig::ApiKeys(keys) if keys.len() == 1));
}

#[test]
fn a_proxy() {
    for (header, name) in [
        ("X-Owner-Id", "x-owner-id"),
        ("X_Owner_Id", "x_owner_id"),
        ("X-Auth-Request-User", "x-auth-request-user"),
    ] {
        let identity = right(&format!("[Identity]\nTrustedProxy = {{ Header = '{header}' }}"));
        assert_eq!(identity, IdentityConfig::TrustedProxy(HeaderName::from_static(name)));
    }
    let identity = "[Identity.TrustedProxy]\nHeader = 'X-Owner-Id'";
    let refused = "shop.toml:5: Identity.TrustedProxy needs proxies that are trusted, and the \
                   process has none; the operator names them in Server.TrustedProxies of the \
                   settings";
    for none in [None, Some(&[][..])] {
        assert_eq!(parse(identity, none), Err(vec![refused.to_owned()]));
    }
}

#[test]
fn what_is_wrong_is_told() {
    let key = |rest: &str| format!("[[Identity.ApiKeys]]\nID = 'a'\nHash = '{HASH}'\n{rest}\n");
    let jwt = |rest: &str| format!("{JWT}{rest}");
    let proxy = |header: &str| format!("[Identity.TrustedProxy]\nHeader = '{header}'");
    for (identity, told) in [
        (
            "[Identity]".to_owned(),
            ":5: Identity names no way to prove who one is; write one of Jwt",
        ),
        ("[Identity]\nApiKeys = []".into(), ":5: Identity names no way"),
        ("[Identity]\nApiKeys = ['secret']".into(), ":6: Identity.ApiKeys is a list of sections"),
        ("[Identity]\nOpenID = true".into(), "unknown key"),
        (jwt(""), ":5: Identity.Jwt.JWKS is missing: the public keys of the issuer"),
        (jwt("JWKS = 'http://auth.example.com/keys'"), "JWKS: "),
        (jwt("JWKS = 'https://169.254.169.254/keys'"), "a cloud's metadata address"),
        (jwt("JWKS = 'https://10.0.0.1/keys'"), "not a public address"),
        (jwt("JWKS = 'https://user@auth.example.com/keys'"), "a user name or a password"),
        (jwt("JWKS = 'https://auth.example.com/keys#one'"), "must not have a fragment"),
        (jwt("JWKS = 'keys.json'"), "this is not a URL"),
        (jwt("JWKS = 'file:../other/keys.json'"), "without '..'"),
        (jwt("JWKS = 'file:none.json'"), "cannot be read"),
        (jwt("JWKS = 'file:keys.json'"), "there is no key for RS256 signatures with an id (kid)"),
        (
            jwt("JWKS = 'https://auth.example.com/'\nAlgorithm = 'HS256'"),
            "unknown algorithm \"HS256\"; did you mean",
        ),
        (jwt("JWKS = 'https://auth.example.com/'\nAlgorithm = 'none'"), "unknown algorithm"),
        (
            jwt("JWKS = 'https://auth.example.com/'\nOwnerClaim = ''"),
            "OwnerClaim: the text is empty",
        ),
        (key(""), ":5: the key does not say for whom it is; write Owner"),
        (key("Owner = 'u1'\nOwners = 'any'"), ":5: Owner and Owners are both set"),
        (key("Owners = 'all'"), "Owners: write \"any\""),
        (key("Owner = 'a b'"), "Owner: an owner id is"),
        (key("Owners = 'any'").replace(HASH, "abc"), "Hash: write \"sha256:\""),
        (key("Owners = 'any'").replace("ID = 'a'", "ID = 'a b'"), "ID: write 1 to 64 letters"),
        (key("Owners = 'any'").replace("ID = 'a'\n", ""), "ID is missing"),
        (key("Owners = 'any'").repeat(2), ":9: there are two keys with the ID \"a\""),
        (
            key("Owners = 'any'") + &key("Owner = 'u'").replace("'a'", "'b'"),
            ":9: this is the key \"a\" once more",
        ),
        (proxy("Authorization"), "has a meaning of its own"),
        (proxy("X-Forwarded-For"), "has a meaning of its own"),
        (proxy("X Owner"), "write the name of a header"),
        ("[Identity.TrustedProxy]".into(), "Header is missing"),
        (
            key("Owners = 'any'") + &proxy("X-Owner-Id"),
            "Identity takes one of Jwt, ApiKeys and TrustedProxy, not several",
        ),
    ] {
        let errors = parse(&identity, Some(&["10.0.0.0/8"])).unwrap_err();
        assert!(errors.iter().any(|error| error.contains(told)), "{told}\n{errors:#?}\n{identity}");
    }
}

/// The sample shows each of the three ways, behind a `#`, in a line of its own.
#[test]
fn the_samples_are_right() {
    let sample = include_str!("../../../apps.d/example.toml.sample");
    let shown = |way: &str| {
        let line = sample.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(way));
        let line = line.unwrap_or_else(|| panic!("the sample shows no {way}"));
        right(&format!("[Identity]\n{way}{}", line.replace("sha256:…", HASH)))
    };
    assert!(matches!(shown("Jwt = "), IdentityConfig::Jwt(_)));
    assert!(matches!(shown("ApiKeys = "), IdentityConfig::ApiKeys(_)));
    assert!(matches!(shown("TrustedProxy = "), IdentityConfig::TrustedProxy(_)));
}

/// Whoever reads the errors, a log for example, learns no key from them.
#[test]
fn errors_repeat_no_hash() {
    let identity = format!("[[Identity.ApiKeys]]\nID = 'a'\nHash = '{HASH}ff'\nOwners = 'any'");
    let errors = parse(&identity, None).unwrap_err().join("\n");
    assert!(!errors.contains(&HASH[7..20]), "{errors}");
}
