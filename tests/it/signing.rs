//! The gateway's signatures against botocore's, URL by URL.
//!
//! The test makes random requests and signs them as the actions do, through [`ObjectStore`]. botocore,
//! which shares no code with the gateway, gets bucket, key and promises of the same requests, and
//! builds and signs its URLs from scratch.
//!
//! Compared is the complete URL, byte for byte, except for the order of the query's parameters: the
//! gateway sends them in the order in which they are signed, botocore sends its own additions last.
//! No server sees a difference, because what is signed is always the sorted query.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use safelight::domain::{MediaType, Secret, Source, StoragePath};
use safelight::storage::{
    AccessKey, MultipartId, ObjectStore as _, PartGrant, Provider, PutGrant, S3Config,
    S3Credentials, S3Store, S3Timeouts, SignedRequest,
};
use serde_json::json;
use url::Url;

use crate::harness::python;
use crate::harness::seaweed::open;

/// Servers and credentials; botocore takes some milliseconds for each.
const ACCOUNTS: usize = 60;

/// Requests for each of them.
const REQUESTS: usize = 50;

/// A server, and who we are there.
#[derive(Debug, Clone)]
struct Account {
    bucket: String,
    region: String,
    endpoint: String,
    path_style: bool,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// A request to be signed.
#[derive(Debug, Clone)]
struct Wanted {
    key: String,
    what: What,
    /// Seconds since 1970.
    now: u64,
    /// Seconds.
    expires_in: u64,
}

#[derive(Debug, Clone)]
enum What {
    Put { media_type: MediaType, size: Option<u64>, sha256: Option<[u8; 32]>, create_once: bool },
    Part { number: u16, upload: String, size: u64, sha256: Option<[u8; 32]> },
}

/// Amazon's endpoints, and others with and without a port.
fn endpoint(region: &str) -> impl Strategy<Value = String> + use<> {
    prop_oneof![
        Just(format!("https://s3.{region}.amazonaws.com")),
        "https://[a-z][a-z0-9-]{0,20}[a-z]\\.example\\.(com|org)",
        (1024u16..).prop_map(|port| format!("http://storage.example.net:{port}")),
    ]
}

fn account() -> impl Strategy<Value = Account> {
    let region = prop_oneof![
        Just("us-east-1"),
        Just("eu-central-1"),
        Just("ap-southeast-2"),
        Just("auto"),
        Just("garage")
    ];
    let place = region.prop_flat_map(|region| (Just(region), endpoint(region), any::<bool>()));
    // No character that Secret resolving would refuse; all others.
    let credentials = ("[A-Za-z0-9]{4,32}", "[!-~]{1,64}", proptest::option::of("[!-~]{1,900}"));
    ("[a-z][a-z0-9-]{1,40}[a-z0-9]", place, credentials).prop_map(
        |(bucket, (region, endpoint, path_style), (id, secret, token))| Account {
            // No "--": some such ends are other kinds of buckets.
            bucket: bucket.replace("--", "-x"),
            region: region.to_owned(),
            endpoint,
            path_style,
            access_key_id: id,
            secret_access_key: secret,
            session_token: token,
        },
    )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let key = prop_oneof![
        // As minted.
        "[a-z]{1,9}/[0-9a-hjkmnp-tv-z]{26}-[a-z0-9_-]{1,64}\\.(jpg|png|webp)",
        // What a URL, a query or a shell would trip over.
        "[a-zA-Z0-9 !\"#$%&'()*+,./:;<=>?@\\[\\\\\\]^_`{|}~-]{1,60}",
        // All of Unicode, controls included.
        proptest::collection::vec(any::<char>(), 1..40).prop_map(String::from_iter),
    ];
    let put = (
        proptest::sample::select(MediaType::ALL.to_vec()),
        proptest::option::of(0..=5_u64 << 40),
        proptest::option::of(any::<[u8; 32]>()),
        any::<bool>(),
    );
    let put = put.prop_map(|(media_type, size, sha256, create_once)| What::Put {
        media_type,
        size,
        sha256,
        create_once,
    });
    let part = (
        1..=10_000_u16,
        prop_oneof!["[A-Za-z0-9._~+/=-]{1,200}", "\\PC{1,40}"],
        0..=5_u64 << 30,
        proptest::option::of(any::<[u8; 32]>()),
    );
    let part =
        part.prop_map(|(number, upload, size, sha256)| What::Part { number, upload, size, sha256 });
    // To the year 2100.
    let moment = 0..4_102_444_800_u64;
    (key, prop_oneof![2 => put, 1 => part], moment, 1..=604_800_u64)
        .prop_map(|(key, what, now, expires_in)| Wanted { key, what, now, expires_in })
}

impl Account {
    fn store(&self) -> S3Store {
        open(S3Config {
            bucket: self.bucket.clone(),
            provider: Provider::Aws,
            region: self.region.clone(),
            endpoint: Some(Url::parse(&self.endpoint).unwrap()),
            path_style: self.path_style,
            credentials: S3Credentials::Key(AccessKey {
                access_key_id: self.access_key_id.clone(),
                secret_access_key: Secret::new(self.secret_access_key.as_str()),
                session_token: self.session_token.as_deref().map(Secret::new),
            }),
            source: Source::S3,
            timeouts: S3Timeouts::default(),
        })
    }

    /// The request as the script takes it: one line.
    fn line(&self, wanted: &Wanted) -> String {
        let mut line = json!({
            "account": {
                "region": self.region,
                "endpoint": self.endpoint,
                "path_style": self.path_style,
                "access_key_id": self.access_key_id,
                "secret_access_key": self.secret_access_key,
                "session_token": self.session_token,
            },
            "bucket": self.bucket,
            "key": wanted.key,
            "now": wanted.now,
            "expires_in": wanted.expires_in,
        });
        match &wanted.what {
            What::Put { media_type, size, sha256, create_once } => {
                line["put"] = json!({
                    "content_type": media_type.as_str(),
                    "size": size,
                    "sha256": sha256.map(aws_smithy_types::base64::encode),
                    "create_once": create_once,
                });
            }
            What::Part { number, upload, size, sha256 } => {
                line["part"] = json!({
                    "number": number,
                    "upload": upload,
                    "size": size,
                    "sha256": sha256.map(aws_smithy_types::base64::encode),
                });
            }
        }
        line.to_string()
    }
}

async fn sign(store: &S3Store, wanted: &Wanted) -> SignedRequest {
    let path = StoragePath::from_listing(&wanted.key);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(wanted.now);
    let expires_in = Duration::from_secs(wanted.expires_in);
    let signed = match &wanted.what {
        What::Put { media_type, size, sha256, create_once } => {
            let grant = PutGrant {
                path: &path,
                media_type: *media_type,
                size: *size,
                sha256: *sha256,
                prevent_overwrite: *create_once,
                expires_in,
            };
            store.sign_put(&grant, now).await
        }
        What::Part { number, upload, size, sha256 } => {
            let upload = MultipartId(upload.clone());
            let (number, size, sha256) = (*number, *size, *sha256);
            let path = &path;
            let grant = PartGrant { path, upload: &upload, number, size, sha256, expires_in };
            store.sign_part(&grant, now).await
        }
    };
    signed.expect("the request can be signed")
}

/// What botocore makes of the lines: a URL for each.
fn botocore(lines: Vec<String>) -> Vec<String> {
    let wanted = lines.len();
    let input = lines.into_iter().map(|line| line + "\n").collect();
    let output = python::run("signing/botocore_presign.py", input);
    let urls: Vec<_> = output.lines().map(str::to_owned).collect();
    assert_eq!(urls.len(), wanted, "one URL for each request");
    urls
}

/// A URL with its query's parameters in the order of their names, still encoded.
fn sorted(url: &str) -> (&str, Vec<&str>) {
    let (place, query) = url.split_once('?').expect("a signed URL has a query");
    let mut parameters: Vec<_> = query.split('&').collect();
    parameters.sort_unstable();
    (place, parameters)
}

#[tokio::test]
async fn every_url_is_the_one_that_botocore_signs() {
    let mut random = TestRunner::default();
    let (mut cases, mut lines, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ACCOUNTS {
        let account = account().new_tree(&mut random).unwrap().current();
        let store = account.store();
        for _ in 0..REQUESTS {
            let wanted = wanted().new_tree(&mut random).unwrap().current();
            lines.push(account.line(&wanted));
            ours.push(sign(&store, &wanted).await.url);
            cases.push((account.clone(), wanted));
        }
    }
    let theirs = botocore(lines);
    for ((ours, theirs), case) in ours.iter().zip(&theirs).zip(&cases) {
        assert_eq!(sorted(ours), sorted(theirs), "{case:#?}");
    }
}
