//! Another certificate while the gateway runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Scene;
use crate::harness::certificates::{Authority, Issued};
use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::http2_client::{Http2Client, tls, trusting};

/// The certificate that a new connection is shown.
async fn shown(gateway: &TestGateway, authority: &Authority) -> CertificateDer<'static> {
    let stream = tls(gateway, &trusting(&authority.pem(), &[])).await.expect("a handshake");
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("it was shown one")[0].clone().into_owned()
}

fn certificate(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
}

async fn until_reloads(gateway: &TestGateway, outcome: &str, count: f64) {
    let series = format!("safelight_certificate_reloads_total{{outcome=\"{outcome}\"}}");
    gateway.until_counted(&series, count).await;
    assert_eq!(gateway.metrics().await.value(&series), count, "each is counted once");
}

async fn expiry(gateway: &TestGateway) -> f64 {
    let series = r#"safelight_certificate_expiry_seconds{listener="public"}"#;
    gateway.metrics().await.value(series)
}

/// Seconds since 1970 of the beginnings of years.
const OF_2090: f64 = 3_786_912_000.0;
const OF_2091: f64 = 3_818_448_000.0;

#[tokio::test]
async fn a_new_pair_is_served_to_new_connections() {
    let scene = Scene::new().await;
    let (gateway, authority) = (&scene.gateway, &scene.authority);
    let old = shown(gateway, authority).await;
    assert_eq!(expiry(gateway).await, OF_2090);
    let config = trusting(&authority.pem(), &["h2"]);
    let open = Http2Client::connect_tls(gateway, &config).await;
    open.get("/nowhere").await.assert_problem(404, "unknown_route");

    let new = authority.issue(2091);
    scene.files.replace(&new);
    until_reloads(gateway, "ok", 1.0).await;
    assert_eq!(expiry(gateway).await, OF_2091);
    let now = shown(gateway, authority).await;
    assert!(now != old && now == certificate(&new));
    // Who was there before goes on.
    open.get("/nowhere").await.assert_problem(404, "unknown_route");
    until_reloads(gateway, "ok", 1.0).await;
}

#[tokio::test]
async fn a_bad_pair_never_replaces_a_good_one() {
    let scene = Scene::new().await;
    let (gateway, authority) = (&scene.gateway, &scene.authority);
    let old = shown(gateway, authority).await;
    let (one, other) = (authority.issue(2091), authority.issue(2091));
    let mut failed = 0.0;
    for bad in [
        Issued { key: other.key.clone(), ..one.clone() },
        Issued { key: "nothing".into(), ..one.clone() },
        Issued { certificate: String::new(), ..one.clone() },
        authority.issue(2020),
    ] {
        scene.files.replace(&bad);
        failed += 1.0;
        until_reloads(gateway, "failed", failed).await;
        assert_eq!(shown(gateway, authority).await, old);
    }
    fs::remove_file(scene.files.key()).unwrap();
    until_reloads(gateway, "failed", failed + 1.0).await;
    assert_eq!((shown(gateway, authority).await, expiry(gateway).await), (old, OF_2090));
    // And when the right key comes, it is taken.
    scene.files.replace(&one);
    until_reloads(gateway, "ok", 1.0).await;
    assert_eq!(shown(gateway, authority).await, certificate(&one));
}

/// As Kubernetes replaces a secret: the files are links into a folder, whose own link is swapped.
#[tokio::test]
async fn a_folder_that_is_swapped() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let write = |version: &str, issued: &Issued| {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("tls.crt"), &issued.certificate).unwrap();
        fs::write(folder.path().join(version).join("tls.key"), &issued.key).unwrap();
        symlink(version, folder.path().join("..new")).unwrap();
        fs::rename(folder.path().join("..new"), folder.path().join("..data")).unwrap();
    };
    write("..2026_1", &authority.issue(2090));
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = format!(
        "[TLS]\nCertificateFile = \"{}\"\nKeyFile = \"{}\"\n",
        path("tls.crt"),
        path("tls.key")
    );
    let setup = Setup::with_app("shop", offline_app_file("", ""));
    let gateway = setup.and_settings(&settings).start().await;
    let new = authority.issue(2091);
    write("..2026_2", &new);
    until_reloads(&gateway, "ok", 1.0).await;
    assert_eq!(shown(&gateway, &authority).await, certificate(&new));
}
