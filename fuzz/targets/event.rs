//! What storage tells of an object, as it comes from a queue or a push. The first byte chooses the
//! sender.

#![no_main]

use libfuzzer_sys::fuzz_target;
use safelight::background::events::{MAX_DOCUMENT_BYTES, parse};
use safelight::domain::EventSource;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Some((choice, document)) = data.split_first() else { return };
    let source = EventSource::ALL[usize::from(*choice) % EventSource::ALL.len()];
    let Ok(notices) = parse(source, document) else { return };

    // What the document means does not hang on how it is written.
    let value: Option<Value> = serde_json::from_slice(document).ok();
    if let Some(value) = &value {
        assert_eq!(parse(source, value.to_string().as_bytes()).as_ref(), Ok(&notices));
    }
    match source {
        EventSource::Sqs => {
            let text = str::from_utf8(document).expect("JSON is UTF-8");
            let wrapped = json!({"Type": "Notification", "Message": text}).to_string();
            let through_sns = parse(EventSource::Sqs, wrapped.as_bytes());
            let is_wrapped = value.as_ref().is_some_and(|value| {
                value.get("Records").is_none_or(Value::is_null) && value.get("Message").is_some()
            });
            if !is_wrapped && wrapped.len() <= MAX_DOCUMENT_BYTES {
                assert_eq!(through_sns.as_ref(), Ok(&notices));
            }
        }
        EventSource::PubSub => assert_eq!(notices.len(), 1),
        EventSource::Webhook => {}
    }
    for notice in notices {
        assert_ne!(notice.version.as_deref(), Some("null"));
        assert_ne!(notice.version.as_deref(), Some(""));
    }
});
