//! Every form, as its sender documents it or was seen to send it; and what is none.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// From "Event message structure", Amazon S3 User Guide, with a key that needs encoding.
const S3: &str = r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-west-2",
"eventTime":"1970-01-01T00:00:01.500Z","eventName":"ObjectCreated:Put",
"userIdentity":{"principalId":"AIDAJDPLRKLG7UEXAMPLE"},
"requestParameters":{"sourceIPAddress":"172.16.0.1"},
"responseElements":{"x-amz-request-id":"C3D13FE58DE4C810"},
"s3":{"s3SchemaVersion":"1.0","configurationId":"testConfigRule",
"bucket":{"name":"amzn-s3-demo-bucket","ownerIdentity":{"principalId":"A3NL1KOZZKExample"},
"arn":"arn:aws:s3:::amzn-s3-demo-bucket"},
"object":{"key":"images/Happy+Face%2B%C3%BC.jpg","size":1024,
"eTag":"d41d8cd98f00b204e9800998ecf8427e","versionId":"096fKKXTRTtl3on89fVO.nfljtsv6qko",
"sequencer":"0055AED6DCD90281E5"}}}]}"#;

/// From "Amazon S3 events", EventBridge reference.
const BRIDGE: &str = r#"{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103",
"detail-type":"Object Created","source":"aws.s3","account":"111122223333",
"time":"1970-01-01T00:00:02Z","region":"ca-central-1",
"resources":["arn:aws:s3:::amzn-s3-demo-bucket1"],
"detail":{"version":"0","bucket":{"name":"amzn-s3-demo-bucket1"},
"object":{"key":"a+b%2B.jpg","size":5,"etag":"b1946ac92492d2347c6235b4d2611184",
"version-id":"IYV3p45BT0ac8hjHg1houSdS1a.Mro8e","sequencer":"617f08299329d189"},
"request-id":"N4N7GDK58NMKJ12R","requester":"123456789012","source-ip-address":"1.2.3.4",
"reason":"PutObject"}}"#;

/// From "Pub/Sub notifications for Cloud Storage", wrapped as a push subscription wraps it.
const PUBSUB: &str = r#"{"message":{"attributes":{"bucketId":"my-bucket",
"eventTime":"1970-01-01T00:00:03.000000Z","eventType":"OBJECT_FINALIZE",
"notificationConfig":"projects/_/buckets/my-bucket/notificationConfigs/1",
"objectGeneration":"1565296541012345","objectId":"images/a+b%2B.jpg",
"overwroteGeneration":"1565296540000000","payloadFormat":"JSON_API_V1"},
"data":"eyJraW5kIjoic3RvcmFnZSNvYmplY3QifQ==","messageId":"2070443601311540",
"message_id":"2070443601311540","publishTime":"2021-02-26T19:13:55.749Z"},
"subscription":"projects/myproject/subscriptions/mysubscription","deliveryAttempt":3}"#;

/// What SeaweedFS 4.48 was seen to send for a PUT, shortened.
const SEAWEED: &str = r#"{"event_type":"create","key":"/buckets/media/images/a b+c.jpg",
"message":{"new_entry":{"name":"a b+c.jpg","chunks":[{"size":5,"e_tag":"XUFAKrxLKna5cZ2REBfFkg=="}],
"attributes":{"file_size":5,"mtime":1795273278,"file_mode":432,"mime":"image/jpeg"}},
"delete_chunks":true,"new_parent_path":"/buckets/media/images","signatures":[1588402636]}}"#;

/// The answer of `aws s3api put-bucket-notification-configuration`.
const TEST_EVENT: &str = r#"{"Service":"Amazon S3","Event":"s3:TestEvent",
"Time":"2014-10-13T15:57:02.089Z","Bucket":"amzn-s3-demo-bucket","RequestId":"5582815E1AEA5ADF",
"HostId":"8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR"}"#;

fn wrapped(message: &str) -> String {
    json!({"Type": "Notification", "MessageId": "22b80b92", "TopicArn": "arn:aws:sns:…",
        "Subject": "Amazon S3 Notification", "Message": message, "SignatureVersion": "1"})
    .to_string()
}

fn one(source: EventSource, document: &str) -> ObjectNotice {
    let mut notices = parse(source, document.as_bytes()).unwrap();
    assert_eq!(notices.len(), 1, "{document}");
    notices.remove(0)
}

fn at(seconds: f64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

fn s3_notice() -> ObjectNotice {
    ObjectNotice {
        bucket: "amzn-s3-demo-bucket".into(),
        key: "images/Happy Face+ü.jpg".into(),
        kind: Kind::Created,
        etag: ETag::parse("\"d41d8cd98f00b204e9800998ecf8427e\""),
        size: Some(1024),
        version: Some("096fKKXTRTtl3on89fVO.nfljtsv6qko".into()),
        sequencer: Some("0055AED6DCD90281E5".into()),
        at: at(1.5),
    }
}

#[test]
fn events_of_s3_raw_and_through_sns() {
    assert_eq!(one(EventSource::Sqs, S3), s3_notice());
    assert_eq!(one(EventSource::Sqs, &wrapped(S3)), s3_notice());
    assert_eq!(one(EventSource::Webhook, S3), s3_notice());
    for test in [TEST_EVENT.to_owned(), wrapped(TEST_EVENT), r#"{"Records":[]}"#.to_owned()] {
        assert_eq!(parse(EventSource::Sqs, test.as_bytes()), Ok(vec![]), "{test}");
    }
}

#[test]
fn events_of_minio_have_more_around_them() {
    let mut document: Value = serde_json::from_str(S3).unwrap();
    document["EventName"] = "s3:ObjectCreated:Put".into();
    document["Key"] = "amzn-s3-demo-bucket/images/Happy Face.jpg".into();
    document["Records"][0]["eventName"] = "s3:ObjectCreated:CompleteMultipartUpload".into();
    assert_eq!(one(EventSource::Webhook, &document.to_string()), s3_notice());
}

#[test]
fn events_of_eventbridge_raw_and_through_sns() {
    let expected = ObjectNotice {
        bucket: "amzn-s3-demo-bucket1".into(),
        key: "a+b%2B.jpg".into(),
        kind: Kind::Created,
        etag: ETag::parse("\"b1946ac92492d2347c6235b4d2611184\""),
        size: Some(5),
        version: Some("IYV3p45BT0ac8hjHg1houSdS1a.Mro8e".into()),
        sequencer: Some("617f08299329d189".into()),
        at: at(2.0),
    };
    assert_eq!(one(EventSource::Sqs, BRIDGE), expected, "keys are plain");
    assert_eq!(one(EventSource::Sqs, &wrapped(BRIDGE)), expected);
}

#[test]
fn events_of_cloud_storage() {
    let expected = ObjectNotice {
        bucket: "my-bucket".into(),
        key: "images/a+b%2B.jpg".into(),
        kind: Kind::Created,
        etag: None,
        size: None,
        version: Some("1565296541012345".into()),
        sequencer: None,
        at: at(3.0),
    };
    assert_eq!(one(EventSource::PubSub, PUBSUB), expected, "keys are plain");
    let mut bare: Value = serde_json::from_str(PUBSUB).unwrap();
    bare["message"].as_object_mut().unwrap().remove("data");
    assert_eq!(one(EventSource::PubSub, &bare.to_string()), expected, "payloadFormat NONE");
}

#[test]
fn events_of_seaweed() {
    let notice = one(EventSource::Webhook, SEAWEED);
    assert_eq!((notice.bucket.as_str(), notice.key.as_str()), ("media", "images/a b+c.jpg"));
    assert_eq!(notice.kind, Kind::Created);
    let folder = r#"{"event_type":"create","key":"/buckets/media/images",
        "message":{"new_entry":{"name":"images","is_directory":true}}}"#;
    let system = r#"{"event_type":"create","key":"/etc/iam/x","message":{}}"#;
    let bucket = r#"{"event_type":"create","key":"/buckets/media","message":{}}"#;
    for none in [folder, system, bucket] {
        assert_eq!(parse(EventSource::Webhook, none.as_bytes()), Ok(vec![]), "{none}");
    }
}

#[test]
fn what_happened() {
    let edit = |document: &str, from: &str, to: &str| {
        assert!(document.contains(from));
        document.replace(from, to)
    };
    let (sqs, pubsub, webhook) = (EventSource::Sqs, EventSource::PubSub, EventSource::Webhook);
    for (source, document, from, to, kind) in [
        (sqs, S3, "ObjectCreated:Put", "ObjectCreated:Post", Kind::Created),
        (sqs, S3, "ObjectCreated:Put", "ObjectCreated:Copy", Kind::Created),
        (sqs, S3, "ObjectCreated:Put", "ObjectRemoved:Delete", Kind::Removed),
        (sqs, S3, "ObjectCreated:Put", "ObjectRemoved:DeleteMarkerCreated", Kind::Removed),
        (sqs, S3, "ObjectCreated:Put", "LifecycleExpiration:Delete", Kind::Removed),
        (sqs, S3, "ObjectCreated:Put", "ObjectTagging:Put", Kind::Other),
        (sqs, S3, "ObjectCreated:Put", "ObjectCreatedLately", Kind::Other),
        (sqs, BRIDGE, "Object Created", "Object Deleted", Kind::Removed),
        (sqs, BRIDGE, "Object Created", "Object Tags Added", Kind::Other),
        (pubsub, PUBSUB, "OBJECT_FINALIZE", "OBJECT_DELETE", Kind::Removed),
        (pubsub, PUBSUB, "OBJECT_FINALIZE", "OBJECT_ARCHIVE", Kind::Removed),
        (pubsub, PUBSUB, "OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE", Kind::Other),
        (webhook, SEAWEED, "\"create\"", "\"update\"", Kind::Created),
        (webhook, SEAWEED, "\"create\"", "\"delete\"", Kind::Removed),
        (webhook, SEAWEED, "\"create\"", "\"rename\"", Kind::Other),
    ] {
        assert_eq!(one(source, &edit(document, from, to)).kind, kind, "{to}");
    }
}

#[test]
fn each_source_takes_its_own_forms_only() {
    for (source, document) in [
        (EventSource::Sqs, PUBSUB),
        (EventSource::Sqs, SEAWEED),
        (EventSource::PubSub, S3),
        (EventSource::PubSub, SEAWEED),
        (EventSource::Webhook, PUBSUB),
        // Nobody's word is believed twice.
        (EventSource::Webhook, &wrapped(S3)),
        (EventSource::Sqs, &wrapped(&wrapped(S3))),
        (EventSource::Sqs, "{}"),
        (EventSource::Sqs, r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#),
        (EventSource::Sqs, r#"{"source":"aws.ec2","detail-type":"x"}"#),
        (EventSource::PubSub, r#"{"message":{"attributes":{"bucketId":"a"}}}"#),
        (EventSource::PubSub, r#"{"message":{"attributes":null}}"#),
    ] {
        let parsed = parse(source, document.as_bytes());
        assert_eq!(parsed, Err(Malformed::UnknownForm), "{source:?} {document}");
    }
}

#[test]
fn what_is_no_json_of_the_form() {
    for document in
        ["", "[]", "null", "7", "{\"Records\":7}", "{\"Records\":[{\"s3\":{}}]}", "\u{0}"]
    {
        let parsed = parse(EventSource::Sqs, document.as_bytes());
        assert!(matches!(parsed, Err(Malformed::NotJson { .. })), "{document}: {parsed:?}");
    }
    let deep = "[".repeat(MAX_DOCUMENT_BYTES);
    assert!(matches!(parse(EventSource::Sqs, deep.as_bytes()), Err(Malformed::NotJson { .. })));
    let large = format!("{{}}{}", " ".repeat(MAX_DOCUMENT_BYTES - 1));
    assert_eq!(parse(EventSource::Sqs, large.as_bytes()), Err(Malformed::TooLarge));
    let negative = S3.replace("1024", "-1");
    assert!(parse(EventSource::Sqs, negative.as_bytes()).is_err());
}

#[test]
fn what_is_no_utf8_is_no_json_even_where_nobody_looks() {
    for (source, document) in [(EventSource::Sqs, TEST_EVENT), (EventSource::PubSub, PUBSUB)] {
        let at = document.rfind("Id\":\"").unwrap() + 5;
        let mut bytes = document.as_bytes().to_vec();
        bytes[at] = 0xb5;
        let line = document[..at].lines().count();
        let column = document[..at].lines().last().unwrap().len() + 1;
        assert_eq!(parse(source, &bytes), Err(Malformed::NotJson { line, column }));
    }
}

#[test]
fn no_part_of_a_document_is_a_document() {
    for (source, document) in [
        (EventSource::Sqs, S3.to_owned()),
        (EventSource::Sqs, wrapped(S3)),
        (EventSource::Sqs, BRIDGE.to_owned()),
        (EventSource::PubSub, PUBSUB.to_owned()),
        (EventSource::Webhook, SEAWEED.to_owned()),
    ] {
        for cut in 0..document.len() {
            assert!(parse(source, &document.as_bytes()[..cut]).is_err(), "{cut} of {document}");
        }
    }
    let inner_cut = wrapped(&S3[..S3.len() - 1]);
    assert!(matches!(
        parse(EventSource::Sqs, inner_cut.as_bytes()),
        Err(Malformed::NotJson { .. })
    ));
}

/// The two ways in which senders encode a key.
fn encoded(key: &str, slash: bool) -> String {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*') || (b == b'/' && !slash)
    };
    key.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b' ' => text.push('+'),
            byte if plain(byte) => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

proptest! {
    #[test]
    fn keys_come_back(key in "\\PC{0,40}", slash: bool) {
        let document = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
            "bucket": {"name": "media"}, "object": {"key": encoded(&key, slash)}}}]});
        prop_assert_eq!(one(EventSource::Sqs, &document.to_string()).key, key);
    }

    #[test]
    fn whatever_comes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for source in EventSource::ALL {
            let _ = parse(source, &bytes);
        }
    }

    #[test]
    fn nor_does_a_damaged_document(at in 0usize..1000, byte: u8) {
        for (source, document) in [
            (EventSource::Sqs, S3), (EventSource::Sqs, BRIDGE),
            (EventSource::PubSub, PUBSUB), (EventSource::Webhook, SEAWEED),
        ] {
            let mut bytes = document.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse(source, &bytes);
        }
    }

    #[test]
    fn encoded_keys_of_any_bytes_are_text(key in "[%+a-fA-F0-9]{0,30}") {
        let _ = form_decoded(&key);
    }
}
