//! Events from a queue, through the real program: its own credentials, its own consumer, and a server
//! that speaks S3 and SQS.

use http::Method;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::{counted, series, state_of};
use crate::harness::gateway::{Setup, TestGateway, app_file, eventually, offline_app_file};
use crate::harness::moto::{Moto, ToldBucket};
use crate::harness::photos::{self, JPEG};
use crate::harness::plain_client::Plain;

/// What the process finds in its environment.
const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIDPROCESS"), ("AWS_SECRET_ACCESS_KEY", "secret-of-the-process")];

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
