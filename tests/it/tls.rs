//! TLS on the public listener: what is agreed on, which certificate is served, and that a bad one
//! never replaces a good one.

mod reloading;

use std::sync::Arc;

use http::{Method, StatusCode, Version};
use rustls::{HandshakeKind, ProtocolVersion};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::certificates::{Authority, Issued, NAME, ServerFiles};
use crate::harness::embedded;
use crate::harness::gateway::{Grant, Setup, TestGateway, offline_app_file};
use crate::harness::http2_client::{Http2Client, tcp, tls, trusting};
use crate::harness::photos;
use crate::harness::program::run;
use crate::harness::tools::{self, Said};

/// A gateway with a certificate, and who has issued it.
struct Scene {
    authority: Authority,
    files: ServerFiles,
    gateway: TestGateway,
}

impl Scene {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(settings: &str) -> Self {
        let authority = Authority::new();
        let files = ServerFiles::new(&authority.issue(2090));
        let setup = Setup::with_app("shop", offline_app_file("", ""));
        let setup = setup.and_settings(&(files.settings() + settings));
        Self { authority, gateway: setup.start().await, files }
    }

    fn port(&self) -> String {
        self.gateway.base.rsplit(':').next().unwrap().to_owned()
    }

    /// Runs openssl as a client, until it has shaken hands.
    async fn openssl(&self, arguments: &[&str]) -> Said {
        let address = format!("127.0.0.1:{}", self.port());
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, self.authority.pem()).unwrap();
        let authority = authority.to_str().unwrap();
        let mut all = vec!["s_client", "-connect", &address, "-servername", NAME];
        all.extend(["-CAfile", authority, "-verify_return_error"]);
        all.extend(arguments);
        tools::run("openssl", &all).await
    }

    async fn handshakes(&self, outcome: &str) -> f64 {
        let series = format!("safelight_tls_handshakes_total{{outcome=\"{outcome}\"}}");
        self.gateway.metrics().await.value(&series)
    }
}

/// What curl does with a path or a public URL of a gateway, over TLS.
struct Curl {
    folder: tempfile::TempDir,
    port: String,
}

impl Curl {
    fn new(scene_port: String, authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, port: scene_port }
    }

    /// Version and status, and the body.
    async fn run(&self, arguments: &[&str], path: &str) -> (String, Vec<u8>) {
        let path = path.strip_prefix("https://media.test").unwrap_or(path);
        let url = format!("https://{NAME}:{}{path}", self.port);
        let resolve = format!("{NAME}:{}:127.0.0.1", self.port);
        let file = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (authority, body) = (file("ca.pem"), file("body"));
        let mut all = vec!["-sS", "--resolve", &resolve, "--cacert", &authority, "-o", &body];
        all.extend(["-w", "%{http_version} %{http_code}"]);
        all.extend(arguments);
        all.push(&url);
        let said = tools::run("curl", &all).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        (said.stdout, std::fs::read(body).unwrap_or_default())
    }
}

#[tokio::test]
async fn a_photo_goes_up_and_comes_back_over_either_version() {
    let storage = embedded::start().await;
    let file = format!(
        "AllowPublicUpload = true\n[Storage]\nKind = \"embedded\"\nBucket = \"{}\"\n",
        embedded::BUCKET
    );
    let authority = Authority::new();
    let files = ServerFiles::new(&authority.issue(2090));
    let setup = Setup::with_app("shop", file).and_embedded(embedded::access(&storage));
    let gateway = setup.and_settings(&files.settings()).start().await;
    let curl = Curl::new(gateway.base.rsplit(':').next().unwrap().to_owned(), &authority);
    for (version, told) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let photo = photos::JPEG;
        let body = json!({ "file": photo.file }).to_string();
        let presign = "/darkroom/shop/v1/images/presigned-urls";
        let post = [version, "-H", "X_Owner_Id: owner-1", "--data-binary", &body];
        let (status, answer) = curl.run(&post, presign).await;
        assert_eq!(status, format!("{told} 200"));
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let grant = Grant(answer["data"].clone());
        grant.put(photo.bytes).send().await.assert_success();
        let (status, body) = curl.run(&[version], grant.public_url()).await;
        assert_eq!(status, format!("{told} 200"));
        assert!(body == photo.bytes, "it came back changed");
        let (status, body) = curl.run(&[version, "-r", "5-9"], grant.public_url()).await;
        assert_eq!((status, body), (format!("{told} 206"), photo.bytes[5..10].to_vec()));
    }
}

#[tokio::test]
async fn protocols() {
    let scene = Scene::new().await;
    for (offered, agreed) in [
        (&["-alpn", "h2,http/1.1"][..], "ALPN protocol: h2"),
        (&["-alpn", "http/1.1,h2"], "ALPN protocol: h2"),
        (&["-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
        (&[], "No ALPN negotiated"),
    ] {
        let said = scene.openssl(offered).await;
        assert!(said.stdout.contains(agreed), "{offered:?}: {said:?}");
        assert!(said.stdout.contains("Verify return code: 0 (ok)"), "{said:?}");
    }
    // Nothing that both speak: the handshake fails, rather than that each takes the other for
    // something else (RFC 7301 §3.2).
    let said = scene.openssl(&["-alpn", "imap"]).await;
    assert!(said.stderr.contains("no application protocol"), "{said:?}");
}

#[tokio::test]
async fn versions() {
    let scene = Scene::new().await;
    for (offered, agreed) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = scene.openssl(&[offered]).await;
        let told = format!("New, {agreed}, Cipher is");
        assert!(said.code == Some(0) && said.stdout.contains(&told), "{said:?}");
    }
    assert_eq!(scene.handshakes("failed").await, 0.0);
    // The library would not offer them at its usual level.
    for offered in ["-tls1", "-tls1_1"] {
        let said = scene.openssl(&[offered, "-cipher", "DEFAULT:@SECLEVEL=0"]).await;
        assert_ne!(said.code, Some(0), "{said:?}");
        // By the server, whatever it calls it.
        assert!(said.stderr.contains("SSL alert number"), "{said:?}");
    }
    assert_eq!(scene.handshakes("failed").await, 2.0);
}

/// A second connection shakes hands by what the first one was given.
#[tokio::test]
async fn sessions_are_resumed() {
    let scene = Scene::new().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = Arc::unwrap_or_clone(trusting(&scene.authority.pem(), &["http/1.1"]));
        let provider = Arc::clone(config.crypto_provider());
        let mut roots = rustls::RootCertStore::empty();
        let pem = scene.authority.pem();
        let der = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(der).unwrap();
        config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = tls(&scene.gateway, &config).await.unwrap();
            let ask = b"GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            stream.write_all(ask).await.unwrap();
            // Tickets come with the first bytes.
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            let (_, session) = stream.get_ref();
            assert_eq!(session.handshake_kind(), Some(kind), "{version:?}");
        }
    }
    let early = tls(&scene.gateway, &trusting(&scene.authority.pem(), &[])).await.unwrap();
    assert_eq!(early.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

/// Who does not shake hands holds its own connection, and nobody else's.
#[tokio::test]
async fn handshakes_that_do_not_end_keep_nobody_waiting() {
    let scene = Scene::with("[Limits]\nMaxConnections = 20\n").await;
    let mut silent = Vec::new();
    for _ in 0..19 {
        silent.push(tcp(&scene.gateway).await);
    }
    let config = trusting(&scene.authority.pem(), &["h2"]);
    let client = Http2Client::connect_tls(&scene.gateway, &config).await;
    client.get("/nowhere").await.assert_problem(404, "unknown_route");
    // They count as connections: one more is closed.
    let mut beyond = tcp(&scene.gateway).await;
    assert!(
        !matches!(beyond.read(&mut [0]).await, Ok(read) if read > 0),
        "not a word in the clear"
    );
    let closed = r#"safelight_overloaded_total{cap="connections"}"#;
    assert_eq!(scene.gateway.metrics().await.value(closed), 1.0);
    // And are not waited for at the end.
    drop(client);
    let Scene { gateway, .. } = scene;
    gateway.stop().await;
    drop(silent);
}

/// HTTP in the clear is no handshake: it is dropped, and no request is made of it.
#[tokio::test]
async fn nothing_is_served_in_the_clear() {
    let scene = Scene::new().await;
    for bytes in [
        &b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x16, 0x03, 0x01, 0xff, 0xff],
        &[0; 600],
    ] {
        let mut stream = tcp(&scene.gateway).await;
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        // At most an alert (RFC 8446 §6).
        assert!(answer.len() <= 7 && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert_eq!(scene.handshakes("failed").await, 4.0);
    let config = trusting(&scene.authority.pem(), &["h2"]);
    let client = Http2Client::connect_tls(&scene.gateway, &config).await;
    let response = client.begin(client.request(Method::GET, "/nowhere")).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::NOT_FOUND, Version::HTTP_2));
    assert_eq!(scene.handshakes("ok").await, 1.0);
}

/// Both commands refuse a bad pair, with the file and what to change, and exit with 78.
#[test]
fn a_bad_pair_at_the_start() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(2090), authority.issue(2090));
    let mismatched = Issued { certificate: one.certificate.clone(), key: other.key };
    let no_key = Issued { certificate: one.certificate.clone(), key: "nothing".into() };
    let no_certificate = Issued { certificate: one.key.clone(), key: one.key.clone() };
    for (issued, file, told) in [
        (&mismatched, "tls.key", "TLS.KeyFile: "),
        (&no_key, "tls.key", "holds no private key: write it in PEM"),
        (&no_certificate, "tls.crt", "TLS.CertificateFile: "),
    ] {
        let files = ServerFiles::new(issued);
        let setup = Setup::with_app("shop", offline_app_file("", ""));
        let (_folder, settings) = setup.and_settings(&files.settings()).files();
        for command in ["check", "serve"] {
            let ended = run(&[command, "--config", settings.to_str().unwrap()]);
            assert_eq!(ended.code, Some(78), "{command}: {ended:?}");
            let is_told = ended.stderr.contains(told) && ended.stderr.contains(file);
            assert!(is_told, "{command}: {}", ended.stderr);
            let secret = issued.key.lines().nth(1).unwrap_or("no secret");
            assert!(!ended.stderr.contains(secret), "{command} repeats the key");
        }
    }
    // And a good one is found good, by what would serve it.
    let files = ServerFiles::new(&one);
    let setup = Setup::with_app("shop", offline_app_file("", ""));
    let (_folder, settings) = setup.and_settings(&files.settings()).files();
    let ended = run(&["check", "--config", settings.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
