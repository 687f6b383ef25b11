//! The process's own credentials: the real program, with an environment as a container has it, and
//! an endpoint that hands credentials out and takes its time over nothing.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::plain_client::{Answer, Plain};

/// A server on loopback that answers every request in one way, and shows the requests.
struct Server {
    address: String,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// `None`: the connection is closed without an answer.
    async fn start(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                if let Some(answer) = answer(&request) {
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
                let _ = seen.send(request);
            }
        });
        Self { address, requests }
    }
}

/// What opens the metadata service of an instance.
const INSTANCE_TOKEN: &str = "the-token-of-the-instance==";

/// What the endpoint of credentials hands out: an id, and for how many seconds.
type Offer = Arc<Mutex<Option<(&'static str, u64)>>>;

fn credentials(offer: &Offer) -> Option<String> {
    let (id, life) = (*offer.lock().unwrap())?;
    let body = json!({
        "AccessKeyId": id,
        "SecretAccessKey": format!("secret-of-{id}"),
        "Token": format!("token-of-{id}"),
        "Expiration": time_in(life),
    })
    .to_string();
    Some(answer("200 OK\r\nContent-Type: application/json", &body))
}

fn answer(head: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The metadata service of an instance with a role, as Amazon's documentation shows it: a token
/// first, then the role's name, then its credentials. Whoever has no token is refused.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
fn instance_metadata(request: &str, offer: &Offer) -> Option<String> {
    let lower = request.to_ascii_lowercase();
    let plain = "200 OK\r\nContent-Type: text/plain";
    if request.starts_with("PUT /latest/api/token ") {
        assert!(lower.contains("x-aws-ec2-metadata-token-ttl-seconds: "), "{request}");
        let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
        return Some(answer(&format!("{plain}\r\n{ttl}"), INSTANCE_TOKEN));
    }
    if !lower.contains(&format!("x-aws-ec2-metadata-token: {}\r\n", INSTANCE_TOKEN.to_lowercase()))
    {
        return Some(answer("401 Unauthorized", ""));
    }
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    match path.unwrap_or_default() {
        "/latest/meta-data/iam/security-credentials/" => Some(answer(plain, "safelight-role")),
        "/latest/meta-data/iam/security-credentials/safelight-role" => {
            let (id, life) = (*offer.lock().unwrap())?;
            let body = json!({
                "Code": "Success",
                "LastUpdated": time_in(0),
                "Type": "AWS-HMAC",
                "AccessKeyId": id,
                "SecretAccessKey": format!("secret-of-{id}"),
                "Token": format!("token-of-{id}"),
                "Expiration": time_in(life),
            });
            Some(answer(plain, &body.to_string()))
        }
        _ => Some(answer("404 Not Found", "")),
    }
}

fn time_in(seconds: u64) -> String {
    let time = SystemTime::now() + Duration::from_secs(seconds);
    jiff::Timestamp::try_from(time).unwrap().to_string()
}

/// Where a process finds who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Surroundings {
    /// ECS, EKS: an endpoint that the environment names.
    Container,
    /// EC2: the metadata service.
    Instance,
}

/// The program, with one app that has no key of its own.
struct Process {
    child: Child,
    log: mpsc::UnboundedReceiver<String>,
    base: String,
    storage: Server,
    endpoint: Server,
    _folder: TempDir,
}

impl Process {
    async fn start(offer: &Offer) -> Self {
        Self::start_in(Surroundings::Container, offer).await
    }

    async fn start_in(surroundings: Surroundings, offer: &Offer) -> Self {
        let offer = Arc::clone(offer);
        let endpoint = Server::start(move |request| match surroundings {
            Surroundings::Container => credentials(&offer),
            Surroundings::Instance => instance_metadata(request, &offer),
        });
        let endpoint = endpoint.await;
        let storage = Server::start(|_| Some(answer("404 Not Found", ""))).await;
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        fs::create_dir(folder.path().join("apps.d")).unwrap();
        let app = format!(
            "AllowPublicUpload = true\nAcceptForeignKeys = true\n[Storage]\nBucket = 'shop-media'\n\
             Endpoint = 'http://{}'\n",
            storage.address
        );
        fs::write(folder.path().join("apps.d/shop.toml"), app).unwrap();
        let settings = format!(
            "[Server]\nListen = '127.0.0.1:0'\nAdminListen = '127.0.0.1:0'\n\
             PublicBaseURL = 'https://media.example'\nAppsDir = '{at}/apps.d'\n\
             AllowLoopbackUpstreams = true\n[Records]\nURL = 'sqlite:{at}/safelight.db'\n\
             [Keys]\nMintSecrets = ['{secret}']\nSigningSecrets = ['{secret}']\n\
             [[Grants]]\nApp = 'shop'\nBucket = 'shop-media'\nEndpoint = 'http://{}'\n",
            storage.address,
            secret = "a-secret-of-the-tests-0123456789abcdef",
        );
        fs::write(folder.path().join("safelight.toml"), settings).unwrap();
        let own: &[(&str, String)] = match surroundings {
            Surroundings::Container => &[
                ("AWS_EC2_METADATA_DISABLED", "true".into()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the-token-of-the-container".into()),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/role", endpoint.address)),
            ],
            Surroundings::Instance => {
                &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", endpoint.address))]
            }
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_safelight"))
            .args(["serve", "--config"])
            .arg(folder.path().join("safelight.toml"))
            .env_clear()
            .env("HOME", folder.path())
            .env("AWS_REGION", "us-east-1")
            .envs(own.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (seen, log) = mpsc::unbounded_channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| seen.send(line))
        });
        let base = String::new();
        let mut process = Self { child, log, base, storage, endpoint, _folder: folder };
        let line = process.logged("listening").await;
        process.base = format!("http://{}", line["address"].as_str().unwrap());
        process
    }

    /// The next line of the log with this message. No line holds a secret.
    async fn logged(&mut self, message: &str) -> Value {
        loop {
            let line = self.log.recv().await;
            let line = line.unwrap_or_else(|| panic!("the log ended without {message:?}"));
            for secret in ["secret-of-", "token-of-", "the-token-of-the-container", INSTANCE_TOKEN]
            {
                assert!(!line.contains(secret), "{line}");
            }
            let parsed: Value = serde_json::from_str(&line).unwrap();
            if parsed["message"].as_str().is_some_and(|text| text.contains(message)) {
                return parsed;
            }
        }
    }

    async fn presign(&self) -> Answer {
        let url = format!("{}/darkroom/shop/v1/images/presigned-urls", self.base);
        let request = Plain::new(Method::POST, url).with_header("X_Owner_Id", Some("owner-1"));
        request.with_body(json!({"file": "a.jpg"}).to_string()).send().await
    }

    /// Who signed an upload URL, and for how many seconds; what the answer says of its end is true.
    async fn signed(&self) -> (String, u64) {
        let answer = self.presign().await;
        answer.assert_success();
        let data = &answer.json()["data"];
        let url = url::Url::parse(data["uploadURL"].as_str().unwrap()).unwrap();
        let query = |name: &str| {
            let found = url.query_pairs().find(|(key, _)| key == name);
            found.unwrap_or_else(|| panic!("{name} in {url}")).1.into_owned()
        };
        let id = query("X-Amz-Credential").split('/').next().unwrap().to_owned();
        assert_eq!(query("X-Amz-Security-Token"), format!("token-of-{id}"));
        let life: u64 = query("X-Amz-Expires").parse().unwrap();
        let begins: jiff::Timestamp = query("X-Amz-Date").parse().unwrap();
        let ends = begins + Duration::from_secs(life);
        assert_eq!(data["expiresAt"], ends.to_string());
        (id, life)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn credentials_are_renewed_without_a_restart() {
    let offer: Offer = Arc::new(Mutex::new(Some(("AKIDONE", 8))));
    let mut process = Process::start(&offer).await;
    let asked = process.endpoint.requests.recv().await.unwrap();
    assert!(asked.starts_with("GET /role "), "{asked}");
    assert!(asked.contains("authorization: the-token-of-the-container\r\n"), "{asked}");
    let (id, life) = process.signed().await;
    assert!(id == "AKIDONE" && life <= 8, "{id} for {life} s, longer than the credentials live");

    *offer.lock().unwrap() = Some(("AKIDTWO", 3_600));
    process.logged("new credentials").await;
    assert_eq!(process.signed().await, ("AKIDTWO".to_owned(), 900));

    // The calls of the gateway's own go with them too.
    let image = format!("{}/darkroom/shop/v2/images/some/photo.jpg", process.base);
    assert_eq!(Plain::new(Method::GET, image).send().await.status, 404);
    let asked = process.storage.requests.recv().await.unwrap();
    assert!(asked.contains("Credential=AKIDTWO/"), "{asked}");
    assert!(asked.contains("x-amz-security-token: token-of-AKIDTWO\r\n"), "{asked}");
}

#[tokio::test]
async fn an_instance_is_its_role() {
    let offer: Offer = Arc::new(Mutex::new(Some(("AKIDONE", 8))));
    let mut process = Process::start_in(Surroundings::Instance, &offer).await;
    let asked = process.endpoint.requests.recv().await.unwrap();
    assert!(asked.starts_with("PUT /latest/api/token "), "{asked}");
    let (id, life) = process.signed().await;
    assert!(id == "AKIDONE" && life <= 8, "{id} for {life} s, longer than the credentials live");

    *offer.lock().unwrap() = Some(("AKIDTWO", 3_600));
    process.logged("new credentials").await;
    assert_eq!(process.signed().await, ("AKIDTWO".to_owned(), 900));
}

#[tokio::test]
async fn while_the_endpoint_is_down_the_last_credentials_sign() {
    let offer: Offer = Arc::new(Mutex::new(Some(("AKIDONE", 20))));
    let mut process = Process::start(&offer).await;
    *offer.lock().unwrap() = None;
    process.logged("cannot be renewed").await;
    let (id, life) = process.signed().await;
    assert!(id == "AKIDONE" && life <= 20);
}

#[tokio::test]
async fn a_process_without_credentials_starts_and_gets_them_later() {
    let offer: Offer = Arc::new(Mutex::new(None));
    let mut process = Process::start(&offer).await;
    process.presign().await.assert_problem(502, "storage_failed");
    *offer.lock().unwrap() = Some(("AKIDONE", 3_600));
    process.logged("new credentials").await;
    assert_eq!(process.signed().await, ("AKIDONE".to_owned(), 900));
}
