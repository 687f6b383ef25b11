//! What surrounds a process at Google: the metadata server, the API that signs, and the two calls
//! by which somebody from elsewhere becomes an account. Tokens are good for what was asked for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use safelight::storage::GcsSurroundings;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::signatures::{Account, decoded};

/// The account that the process is.
pub const EMAIL: &str = "gateway@safelight-tests.iam.gserviceaccount.com";

/// What every token begins with, which no log may hold.
pub const TOKEN: &str = "token-of-google-";

const OF_STORAGE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
const OF_IAM: &str = "https://www.googleapis.com/auth/iam";

/// How the signing API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    Works,
    /// 403, as for an account that may not sign as itself.
    Denied,
    /// Takes requests, and never says anything.
    Silent,
}

/// The servers, at one address.
pub struct Google {
    /// `http://127.0.0.1:port`
    pub base: String,
    account: Account,
    state: Mutex<State>,
}

struct State {
    signing: Signing,
    /// For how many seconds tokens are handed out.
    life: u64,
    /// What is handed out, and what it is good for.
    tokens: HashMap<String, String>,
    /// Methods and paths, in the order in which they were asked for.
    asked: Vec<String>,
}

impl Google {
    /// Serves until the runtime ends.
    pub async fn start(key_file: &str) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = State {
            signing: Signing::Works,
            life: 3_600,
            tokens: HashMap::new(),
            asked: Vec::new(),
        };
        let account = Account::of(key_file);
        let google = Arc::new(Self { base, account, state: Mutex::new(state) });
        let serving = Arc::clone(&google);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let google = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let google = Arc::clone(&google);
                    async move { Ok::<_, Infallible>(google.answer(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        });
        google
    }

    /// What a process is told that has no file of credentials.
    pub fn surroundings(&self) -> GcsSurroundings {
        let here: url::Url = self.base.parse().expect("a URL");
        GcsSurroundings {
            file: None,
            well_known_file: None,
            metadata: here.clone(),
            iam_credentials: here,
        }
    }

    /// Credentials of a workload from elsewhere, which may act as the account. Its own token is
    /// the content of `subject`.
    pub fn external_account(&self, subject: &std::path::Path) -> String {
        json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/v1/token", self.base),
            "service_account_impersonation_url":
                format!("{}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken", self.base),
            "credential_source": {"file": subject},
        })
        .to_string()
    }

    pub fn set_signing(&self, signing: Signing) {
        self.state.lock().unwrap().signing = signing;
    }

    /// Every token from now on ends after so many seconds.
    pub fn set_life(&self, seconds: u64) {
        self.state.lock().unwrap().life = seconds;
    }

    /// How often a path was asked for that ends so.
    pub fn asked(&self, end: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|path| path.ends_with(end)).count()
    }

    /// Whether an `Authorization` is a token for the objects of storage.
    pub fn lets_in(&self, authorization: &str) -> bool {
        self.is_good_for(authorization, OF_STORAGE)
    }

    fn is_good_for(&self, authorization: &str, scope: &str) -> bool {
        let Some(token) = authorization.strip_prefix("Bearer ") else { return false };
        let scopes = self.state.lock().unwrap().tokens.get(token).cloned().unwrap_or_default();
        scopes.split([',', ' ']).any(|given| given == scope)
    }

    fn hand_out(&self, scopes: &str) -> (String, u64) {
        let mut state = self.state.lock().unwrap();
        let token = format!("{TOKEN}{}", state.tokens.len());
        state.tokens.insert(token.clone(), scopes.to_owned());
        (token, state.life)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let header = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let path = head.uri.path();
        self.state.lock().unwrap().asked.push(path.to_owned());
        let authorization = header("authorization");
        if let Some(what) =
            path.strip_prefix("/computeMetadata/v1/instance/service-accounts/default/")
        {
            if header("metadata-flavor") != "Google" {
                return refusal(403, "PERMISSION_DENIED");
            }
            let scopes = decoded(head.uri.query().unwrap_or_default()).remove("scopes");
            return self.metadata(what, &scopes.unwrap_or_default());
        }
        let account = format!("/v1/projects/-/serviceAccounts/{EMAIL}:");
        match (&head.method, path.strip_prefix(&account)) {
            (&Method::POST, Some("signBlob")) => self.sign(&authorization, &body).await,
            (&Method::POST, Some("generateAccessToken")) => self.impersonate(&authorization, &body),
            (&Method::POST, None) if path == "/v1/token" => self.exchange(&body),
            _ => refusal(404, "NOT_FOUND"),
        }
    }

    fn metadata(&self, what: &str, scopes: &str) -> Response<Full<Bytes>> {
        let body = match what {
            "email" => EMAIL.to_owned(),
            "token" => {
                let (token, life) = self.hand_out(scopes);
                json!({"access_token": token, "expires_in": life, "token_type": "Bearer"})
                    .to_string()
            }
            _ => return refusal(404, "NOT_FOUND"),
        };
        Response::builder().header("Metadata-Flavor", "Google").body(Full::from(body)).unwrap()
    }

    async fn sign(&self, authorization: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let signing = self.state.lock().unwrap().signing;
        match signing {
            Signing::Silent => return std::future::pending().await,
            Signing::Denied => return refusal(403, "PERMISSION_DENIED"),
            Signing::Works if !self.is_good_for(authorization, OF_IAM) => {
                return refusal(401, "UNAUTHENTICATED");
            }
            Signing::Works => {}
        }
        let asked: Value = serde_json::from_slice(body).unwrap();
        let content = aws_smithy_types::base64::decode(asked["payload"].as_str().unwrap()).unwrap();
        let signature = aws_smithy_types::base64::encode(self.account.sign(&content));
        answer(json!({"keyId": "1", "signedBlob": signature}))
    }

    /// A token of somewhere else for one of Google's.
    fn exchange(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let form = decoded(std::str::from_utf8(body).unwrap());
        if form.get("subject_token").map(|token| token.trim()) != Some("subject-of-elsewhere") {
            return refusal(400, "INVALID_ARGUMENT");
        }
        let scope = form.get("scope").cloned().unwrap_or_default().replace('+', " ");
        let (token, life) = self.hand_out(&scope);
        answer(json!({
            "access_token": token,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": life,
        }))
    }

    /// One of Google's tokens for one of the account's.
    fn impersonate(&self, authorization: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let is_iam = self.is_good_for(authorization, OF_IAM);
        if !is_iam
            && !self.is_good_for(authorization, "https://www.googleapis.com/auth/cloud-platform")
        {
            return refusal(403, "PERMISSION_DENIED");
        }
        let asked: Value = serde_json::from_slice(body).unwrap();
        let scopes: Vec<_> =
            asked["scope"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
        let (token, life) = self.hand_out(&scopes.join(" "));
        let ends = SystemTime::now() + Duration::from_secs(life);
        let ends = jiff::Timestamp::try_from(ends).unwrap();
        answer(json!({"accessToken": token, "expireTime": ends.to_string()}))
    }
}

fn answer(body: Value) -> Response<Full<Bytes>> {
    let response = Response::builder().header("Content-Type", "application/json");
    response.body(Full::from(body.to_string())).unwrap()
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let error = json!({"code": status, "status": code, "message": "What happened."});
    let mut response = answer(json!({ "error": error }));
    *response.status_mut() = status.try_into().unwrap();
    response
}
