//! Moto: S3 that tells of what happens through SQS. It verifies no signature, so it proves nothing of
//! ours; it speaks the protocols. Its events encode `/` in keys, have no sequencer, and come twice for
//! a multipart upload.

use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use safelight::domain::{Secret, Source};
use safelight::storage::{AccessKey, Provider, S3Config, S3Credentials, S3Timeouts};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::peers::{free_address, listens_in_time, started, until_input_ends};
use super::plain_client::Plain;

/// A loaded machine takes tens of seconds where an idle one takes two.
const START_LIMIT: Duration = Duration::from_secs(90);

/// What stands for a signature.
const SCOPE: &str = "AWS4-HMAC-SHA256 Credential=AKIDANYBODY/20261121/us-east-1/sqs/aws4_request, \
                     SignedHeaders=host, Signature=0";

/// A running server.
pub struct Moto {
    base: String,
    /// Its standard input is the life line of the server.
    process: Child,
}

/// A bucket that tells a queue of every object.
pub struct ToldBucket {
    server: &'static Moto,
    pub name: String,
    pub queue_url: String,
}

impl Moto {
    /// The server of this test process.
    ///
    /// # Panics
    /// If Moto is not installed, or does not start.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Moto> = OnceCell::const_new();
        SHARED.get_or_init(|| started("moto", Self::start)).await
    }

    async fn start() -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/venv/bin/moto_server");
        assert!(
            program.is_file(),
            "these tests need moto, and there is none at {}: run tests/peers",
            program.display()
        );
        let dir = tempfile::tempdir().expect("a temporary directory").keep();
        let log = dir.join("log");
        let address = free_address();
        let process = until_input_ends(&program, &dir, &log)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .spawn()
            .expect("sh starts");
        let mut started = Self { base: format!("http://{address}"), process };
        if listens_in_time(&mut started.process, address, START_LIMIT).await {
            return Some(started);
        }
        eprintln!("{}", std::fs::read_to_string(&log).unwrap_or_default());
        None
    }

    /// A bucket and a queue of one's own.
    pub async fn told_bucket(&'static self) -> ToldBucket {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("told-{}", MADE.fetch_add(1, Ordering::SeqCst));
        let made = self.sqs("CreateQueue", json!({"QueueName": name})).await;
        let queue_url = made["QueueUrl"].as_str().expect("a queue has a URL").to_owned();
        let put = |query: &str, body: String| {
            Plain::new(Method::PUT, format!("{}/{name}{query}", self.base)).with_body(body).send()
        };
        put("", String::new()).await.assert_success();
        let notification = format!(
            "<NotificationConfiguration><QueueConfiguration>\
             <Queue>arn:aws:sqs:us-east-1:123456789012:{name}</Queue>\
             <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>\
             </QueueConfiguration></NotificationConfiguration>"
        );
        put("?notification", notification).await.assert_success();
        ToldBucket { server: self, name, queue_url }
    }

    /// A call of the SQS protocol. Which service is asked stands in the signature, and nothing of the
    /// signature is verified.
    async fn sqs(&self, action: &str, input: Value) -> Value {
        let answer = Plain::new(Method::POST, format!("{}/", self.base))
            .with_header("X-Amz-Target", Some(&format!("AmazonSQS.{action}")))
            .with_header("Content-Type", Some("application/x-amz-json-1.0"))
            .with_header("Authorization", Some(SCOPE))
            .with_body(input.to_string())
            .send()
            .await;
        answer.assert_success();
        match answer.body.is_empty() {
            true => Value::Null,
            false => answer.json(),
        }
    }
}

impl ToldBucket {
    /// The settings of the bucket.
    pub fn config(&self) -> S3Config {
        S3Config {
            bucket: self.name.clone(),
            region: "us-east-1".into(),
            endpoint: Some(self.server.base.parse().expect("a URL")),
            path_style: true,
            credentials: S3Credentials::Key(AccessKey {
                access_key_id: "AKIDANYBODY".into(),
                secret_access_key: Secret::new("any-secret"),
                session_token: None,
            }),
            source: Source::S3,
            provider: Provider::Other,
            timeouts: S3Timeouts::default(),
        }
    }

    /// The settings of a gateway that asks the queue.
    pub fn settings(&self) -> String {
        format!(
            "[Events]\nSQSQueueURL = \"{}\"\nSQSRegion = \"us-east-1\"\n\
             SQSVisibilityTimeout = \"2s\"\n",
            self.queue_url
        )
    }

    /// Lays aside what was received so often and not deleted; gives the queue that it goes to.
    pub async fn with_dead_letters(&self, max_receives: u32) -> Self {
        let name = format!("{}-dead", self.name);
        let made = self.server.sqs("CreateQueue", json!({"QueueName": name})).await;
        let queue_url = made["QueueUrl"].as_str().expect("a queue has a URL").to_owned();
        let policy = json!({"maxReceiveCount": max_receives,
            "deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:123456789012:{name}")});
        let attributes = json!({"RedrivePolicy": policy.to_string()});
        let input = json!({"QueueUrl": self.queue_url, "Attributes": attributes});
        self.server.sqs("SetQueueAttributes", input).await;
        Self { server: self.server, name, queue_url }
    }

    /// Puts a message into the queue.
    pub async fn send(&self, body: &str) {
        let input = json!({"QueueUrl": self.queue_url, "MessageBody": body});
        self.server.sqs("SendMessage", input).await;
    }

    /// Takes a message, if there is one.
    pub async fn receive(&self) -> Option<String> {
        let input = json!({"QueueUrl": self.queue_url});
        let answer = self.server.sqs("ReceiveMessage", input).await;
        Some(answer["Messages"][0]["Body"].as_str()?.to_owned())
    }

    /// Takes every message out of the queue, so that nobody gets it.
    pub async fn purge(&self) {
        self.server.sqs("PurgeQueue", json!({"QueueUrl": self.queue_url})).await;
    }

    /// How many messages the queue has, hidden ones included.
    pub async fn messages(&self) -> u32 {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let input = json!({"QueueUrl": self.queue_url, "AttributeNames": names});
        let answer = self.server.sqs("GetQueueAttributes", input).await;
        let count = |name: &str| answer["Attributes"][name].as_str()?.parse::<u32>().ok();
        names.iter().map(|name| count(name).expect("a number")).sum()
    }
}
