//! Events from a queue, through the real program: its own credentials, its own consumer, and a server
//! that speaks S3 and SQS.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{counted, series, state_of};
use crate::harness::gateway::{Setup, TestGateway, app_file, eventually, offline_app_file};
use crate::harness::moto::{Moto, ToldBucket};
use crate::harness::photos::{self, JPEG};
use crate::harness::plain_client::Plain;

/// What the process finds in its environment.
const CREDENTIALS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "AKIDPROCESS"),
    ("AWS_SECRET_ACCESS_KEY", "secret-of-the-process"),
    // No test asks a cloud who it is.
    ("AWS_EC2_METADATA_DISABLED", "true"),
    ("AWS_REGION", "us-east-1"),
];

/// A gateway with an app on the bucket, which asks the bucket's queue.
fn shop(bucket: &ToldBucket) -> TestGateway {
    Setup::with_app("shop", app_file(&bucket.config(), "", ""))
        .and_settings(&bucket.settings())
        .serve(&CREDENTIALS)
}

async fn until_empty(bucket: &ToldBucket) {
    eventually("an empty queue", async || (bucket.messages().await == 0).then_some(())).await;
}

#[tokio::test]
async fn without_a_finalize_uploads_are_ready() {
    let bucket = Moto::shared().await.told_bucket().await;
    let gateway = shop(&bucket);
    for photo in photos::ALL {
        let grant = gateway.uploaded("shop", photo.file, photo.bytes).await;
        let status = gateway.until_state("shop", &grant, "ready").await;
        assert_eq!(status["contentType"], photo.content_type);
        let read = gateway.get(grant.public_url()).await;
        assert!(read.status == 200 && read.body == photo.bytes);
    }
    let refused = gateway.uploaded("shop", "a.jpg", b"no photo").await;
    gateway.until_state("shop", &refused, "failed").await;
    // With the one that tells of the refused object's removal, and the test that S3 makes.
    until_empty(&bucket).await;
    let metrics = gateway.metrics().await;
    assert!(metrics.value(&series("sqs", "verified")) >= 4.0);
    assert_eq!(metrics.value(&series("sqs", "retry")), 0.0);
    assert_eq!(metrics.value(&series("sqs", "malformed")), 0.0);
    assert_eq!(metrics.value("safelight_event_polls_total{outcome=\"failed\"}"), 0.0);
    let lag = metrics.value("safelight_event_lag_seconds_count{source=\"sqs\"}");
    assert!(lag >= 4.0, "{lag} events with a lag");
}

/// A long poll lasts its 20 s, as the protocol has it, and is then asked again.
#[tokio::test]
async fn an_empty_queue_is_no_failure() {
    let bucket = Moto::shared().await.told_bucket().await;
    bucket.purge().await;
    let gateway = shop(&bucket);
    gateway.until_counted("safelight_event_polls_total{outcome=\"ok\"}", 4.0).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value("safelight_event_polls_total{outcome=\"failed\"}"), 0.0);
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    gateway.until_state("shop", &grant, "ready").await;
}

/// What lay in the queue while no gateway ran.
#[tokio::test]
async fn late_and_doubled_events_converge() {
    let bucket = Moto::shared().await.told_bucket().await;
    let app = app_file(&bucket.config(), "", "");
    let gateway = Setup::with_app("shop", app).and_settings(&bucket.settings()).serve(&CREDENTIALS);
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    gateway.until_state("shop", &grant, "ready").await;
    until_empty(&bucket).await;
    let etag = gateway.status("shop", &grant).await["etag"].clone();
    let key = format!("images%2F{}", grant.key());
    let event = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
        "bucket": {"name": bucket.name}, "object": {"key": key,
        "eTag": etag.as_str().unwrap().trim_matches('"')}}}]})
    .to_string();
    let wrapped = json!({"Type": "Notification", "Message": event}).to_string();
    let before = counted(&gateway, "sqs", "duplicate").await;
    for message in [&event, &wrapped, &event] {
        bucket.send(message).await;
    }
    gateway.until_counted(&series("sqs", "duplicate"), before + 3.0).await;
    until_empty(&bucket).await;
    assert_eq!(state_of(&gateway, &grant).await, "ready");
}

/// Nobody is told, and the client's own finalize does it.
#[tokio::test]
async fn a_lost_event_is_made_good_by_the_client() {
    let bucket = Moto::shared().await.told_bucket().await;
    let setup = Setup::with_app("shop", app_file(&bucket.config(), "", ""));
    let gateway = setup.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    bucket.purge().await;
    let finalized = gateway.request(Method::POST, grant.text("finalizeURL")).send().await;
    finalized.assert_success();
    assert_eq!(state_of(&gateway, &grant).await, "ready");
}

/// What cannot be read stays, for the queue's own redrive policy, and stands in nobody's way.
#[tokio::test]
async fn poison_stays_in_the_queue_and_stops_nobody() {
    let bucket = Moto::shared().await.told_bucket().await;
    bucket.purge().await;
    let gateway = shop(&bucket);
    bucket.send("this is no event").await;
    bucket.send("{\"Records\":[{\"eventName\":\"Object").await;
    let stranger = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
        "bucket": {"name": "somebody-elses"}, "object": {"key": "x.jpg"}}}]});
    bucket.send(&stranger.to_string()).await;
    gateway.until_counted(&series("sqs", "malformed"), 2.0).await;
    gateway.until_counted(&series("sqs", "unknown"), 1.0).await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    gateway.until_state("shop", &grant, "ready").await;
    // Each comes again, and what is unknown does not.
    gateway.until_counted(&series("sqs", "malformed"), 4.0).await;
    eventually("only what is poison", async || (bucket.messages().await == 2).then_some(())).await;
    assert_eq!(counted(&gateway, "sqs", "unknown").await, 1.0);
}

#[tokio::test]
async fn the_queues_own_policy_lays_poison_aside() {
    let bucket = Moto::shared().await.told_bucket().await;
    bucket.purge().await;
    let dead = bucket.with_dead_letters(2).await;
    let gateway = shop(&bucket);
    bucket.send("this is no event").await;
    eventually("the message among the dead", async || (dead.messages().await == 1).then_some(()))
        .await;
    until_empty(&bucket).await;
    assert_eq!(counted(&gateway, "sqs", "malformed").await, 2.0);
    assert_eq!(dead.receive().await.as_deref(), Some("this is no event"));
}

/// A message that failed is not deleted: when its visibility timeout is over it comes again.
#[tokio::test]
async fn what_failed_comes_again() {
    let bucket = Moto::shared().await.told_bucket().await;
    let gateway = shop(&bucket);
    let grant = gateway.granted("shop", JPEG.file).await;
    let holder = rusqlite::Connection::open(gateway.records_file()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    grant.put(JPEG.bytes).send().await.assert_success();
    gateway.until_counted(&series("sqs", "retry"), 1.0).await;
    assert!(bucket.messages().await >= 1, "it was deleted");
    holder.execute_batch("ROLLBACK").unwrap();
    gateway.until_state("shop", &grant, "ready").await;
    until_empty(&bucket).await;
}

#[tokio::test]
async fn a_queue_that_cannot_be_asked_is_told_of_and_asked_again() {
    let queue = "http://127.0.0.1:1/123456789012/media-events";
    let settings = format!("[Events]\nSQSQueueURL = \"{queue}\"\nSQSRegion = \"us-east-1\"\n");
    let gateway = Setup::with_app("shop", offline_app_file("", ""))
        .and_settings(&settings)
        .serve(&CREDENTIALS);
    gateway.until_counted("safelight_event_polls_total{outcome=\"failed\"}", 5.0).await;
    gateway.granted("shop", "a.jpg").await;
    let ended = gateway.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("the queue of storage events does not answer"));
    assert!(!ended.stderr.contains("secret-of-the-process"), "{}", ended.stderr);
}

/// The queue holds every question back. An end that waited for its answers would be overdue.
#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_long_poll() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let settings =
        format!("[Events]\nSQSQueueURL = \"{base}/1/media-events\"\nSQSRegion = \"us-east-1\"\n");
    let gateway = Setup::with_app("shop", offline_app_file("", ""))
        .and_settings(&settings)
        .serve(&CREDENTIALS);
    let mut asked = Vec::new();
    for _ in 0..4 {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.windows(16).any(|window| window == b"\"WaitTimeSeconds") {
            assert!(socket.read_buf(&mut request).await.unwrap() > 0, "it hung up");
        }
        asked.push((socket, request));
    }
    let ended = gateway.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("after the drain"), "{}", ended.stderr);
    for (_, request) in asked {
        let request = String::from_utf8_lossy(&request).into_owned();
        assert!(request.contains("Credential=AKIDPROCESS/"), "{request}");
        assert!(request.contains("/us-east-1/sqs/aws4_request"), "{request}");
        assert!(request.contains("\"WaitTimeSeconds\":20"), "{request}");
    }
}

/// Moto is no part of ours: what the tests take for granted of it.
#[tokio::test]
async fn events_of_moto_encode_slashes() {
    let bucket = Moto::shared().await.told_bucket().await;
    bucket.purge().await;
    let url = format!("{}{}/images/a.jpg", bucket.config().endpoint.unwrap(), bucket.name);
    Plain::new(Method::PUT, url).with_body("x").send().await.assert_success();
    let message = eventually("a message", async || bucket.receive().await).await;
    assert!(message.contains("images%2Fa.jpg"), "{message}");
}

/// A queue that answers its first question with these messages and holds every other back; and what
/// it was told to delete.
async fn scripted_queue(messages: Value) -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/1/media-events", listener.local_addr().unwrap());
    let (sender, deleted) = mpsc::unbounded_channel();
    let script = Arc::new(Mutex::new(Some(messages)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (sender, script) = (sender.clone(), Arc::clone(&script));
            let answer = service_fn(move |request: Request<Incoming>| {
                let (sender, script) = (sender.clone(), Arc::clone(&script));
                async move {
                    let is_delete =
                        request.headers()["x-amz-target"] == "AmazonSQS.DeleteMessageBatch";
                    let body = request.into_body().collect().await?.to_bytes();
                    let answer = if is_delete {
                        let _ = sender.send(serde_json::from_slice(&body).unwrap());
                        json!({"Successful": [], "Failed": []})
                    } else {
                        let messages = script.lock().unwrap().take();
                        match messages {
                            Some(messages) => json!({"Messages": messages}),
                            None => std::future::pending().await,
                        }
                    };
                    let mut answer = Response::new(Full::new(Bytes::from(answer.to_string())));
                    let json = HeaderValue::from_static("application/x-amz-json-1.0");
                    answer.headers_mut().insert("content-type", json);
                    Ok::<_, hyper::Error>(answer)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (url, deleted)
}

#[tokio::test]
async fn what_comes_again_and_again_is_told_of_and_kept() {
    let message = |id: &str, receives: &str, body: &str| {
        json!({"MessageId": id, "ReceiptHandle": id, "Body": body,
            "Attributes": {"ApproximateReceiveCount": receives}})
    };
    let (url, mut deleted) = scripted_queue(json!([
        message("poison", "10", "no event"),
        message("young-poison", "9", "no event"),
        message("good", "10", "{\"Records\":[]}"),
    ]))
    .await;
    let settings = format!("[Events]\nSQSQueueURL = \"{url}\"\nSQSRegion = \"us-east-1\"\n");
    let gateway = Setup::with_app("shop", offline_app_file("", ""))
        .and_settings(&settings)
        .serve(&CREDENTIALS);
    gateway.until_counted(&series("sqs", "ignored"), 1.0).await;
    gateway.until_counted(&series("sqs", "malformed"), 2.0).await;
    assert_eq!(counted(&gateway, "sqs", "dead_letter").await, 1.0);
    let deleted = deleted.recv().await.unwrap();
    assert_eq!(deleted["Entries"], json!([{"Id": "0", "ReceiptHandle": "good"}]));
    let ended = gateway.terminate();
    let named = |id: &str| {
        ended.stderr.lines().any(|line| {
            line.contains(&format!("\"id\":\"{id}\"")) && line.contains("needs a dead-letter queue")
        })
    };
    assert!(named("poison") && !named("young-poison") && !named("good"), "{}", ended.stderr);
}
