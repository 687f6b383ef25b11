//! Google as far as Pub/Sub needs it: an account that signs tokens, and the keys to verify them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::fake_gcs::KEY_FILE;

const SECOND_KEY: &str = include_str!("../../keys/second.pem");

/// A key that signs tokens, and its id.
pub struct SigningKey {
    pub id: &'static str,
    pair: RsaKeyPair,
}

impl SigningKey {
    /// The key that is published at first.
    pub fn first() -> Self {
        let file: Value = serde_json::from_str(KEY_FILE).unwrap();
        Self::of("first", file["private_key"].as_str().unwrap())
    }

    /// The key after a rotation.
    pub fn second() -> Self {
        Self::of("second", SECOND_KEY)
    }

    fn of(id: &'static str, pem: &str) -> Self {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        Self { id, pair: RsaKeyPair::from_pkcs8(der.secret_der()).unwrap() }
    }

    /// The public half, as it is published.
    pub fn jwk(&self) -> Value {
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(self.pair.public_key());
        let number = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.id,
            "n": number(public.n), "e": number(public.e)})
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let signed = unsigned(&json!({"alg": "RS256", "kid": self.id, "typ": "JWT"}), claims);
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let message = signed.as_bytes();
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What a signature is made over.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Where keys are published.
pub struct KeyServer {
    pub url: String,
    /// `None`: it fails.
    published: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    /// Starts with the first key; it ends with the runtime of the test.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/certs", listener.local_addr().expect("a bound socket"));
        let published = Arc::new(Mutex::new(Some(json!({"keys": [SigningKey::first().jwk()]}))));
        let asked = Arc::<AtomicUsize>::default();
        let (shown, counted) = (Arc::clone(&published), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shown, counted) = (Arc::clone(&shown), Arc::clone(&counted));
                let service = service_fn(move |_| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let keys = shown.lock().unwrap().clone();
                    let status = keys.as_ref().map_or(StatusCode::BAD_GATEWAY, |_| StatusCode::OK);
                    let body = keys.unwrap_or_default().to_string();
                    let mut answer = Response::new(Full::new(Bytes::from(body)));
                    *answer.status_mut() = status;
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, published, asked }
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: &[SigningKey]) {
        let keys: Vec<_> = keys.iter().map(SigningKey::jwk).collect();
        *self.published.lock().unwrap() = Some(json!({"keys": keys}));
    }

    /// Publishes this document.
    pub fn publish_set(&self, set: Value) {
        *self.published.lock().unwrap() = Some(set);
    }

    /// Answers nobody any more.
    pub fn fail(&self) {
        *self.published.lock().unwrap() = None;
    }

    /// How often the keys were asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
