//! Listing: the second version of the XML API's `GET` of a bucket.

use http::Method;
use serde::Deserialize;
use url::form_urlencoded;

use super::GcsStore;
use super::transport::Call;
use crate::domain::ETag;
use crate::storage::call::{self, MAX_KEYS, listed_name, nonsense};
use crate::storage::server::document;
use crate::storage::{ListPage, Listed, StorageError};

/// A page, as it comes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    encoding_type: Option<String>,
    is_truncated: Option<bool>,
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
    last_modified: Option<String>,
}

impl GcsStore {
    pub(super) async fn list_objects(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError> {
        let target = format!("{}?{}", self.address.bucket_path, query(prefix, from, limit));
        let call = Call::new(Method::GET, target);
        let response = self.api.send(call).await?;
        parse(&document(response.into_body()).await?)
    }
}

fn query(prefix: &str, from: Option<&str>, limit: u16) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("list-type", "2");
    // XML cannot carry every character that a name can.
    query.append_pair("encoding-type", "url");
    query.append_pair("max-keys", &limit.clamp(1, MAX_KEYS).to_string());
    query.append_pair("prefix", prefix);
    if let Some(from) = from {
        query.append_pair("continuation-token", from);
    }
    // A `+` is a space in forms only.
    query.finish().replace('+', "%20")
}

fn parse(document: &[u8]) -> Result<ListPage, StorageError> {
    let text = std::str::from_utf8(document).map_err(|_| nonsense("a listing that is no text"))?;
    let page: Page = quick_xml::de::from_str(text)
        .map_err(|error| nonsense(&format!("a listing that cannot be read: {error}")))?;
    let encoded = page.encoding_type.as_deref() == Some("url");
    let listed = |object: Contents| {
        Ok(Listed {
            path: listed_name(&object.key, encoded)?,
            size: object.size,
            etag: object.e_tag.as_deref().and_then(ETag::parse),
            last_modified: object
                .last_modified
                .and_then(|time| time.parse::<jiff::Timestamp>().ok())
                .map(Into::into),
        })
    };
    let objects = page.contents.into_iter().map(listed).collect::<Result<_, StorageError>>()?;
    call::page(objects, page.is_truncated.unwrap_or(false), page.next_continuation_token)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_as_google_sends_it() {
        let page = parse(
            b"<?xml version='1.0' encoding='UTF-8'?>\
              <ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>\
              <Name>media</Name><Prefix>a/</Prefix><EncodingType>url</EncodingType>\
              <KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>\
              <NextContinuationToken>abc=</NextContinuationToken>\
              <Contents><Key>a/b%20c%2Bd.jpg</Key><Generation>1460397436345000</Generation>\
              <MetaGeneration>1</MetaGeneration><LastModified>2016-04-11T17:57:16.307Z</LastModified>\
              <ETag>&quot;5d41402abc4b2a76b9719d911017c592&quot;</ETag><Size>5</Size></Contents>\
              <Contents><Key>a/e+f</Key><Size>0</Size></Contents></ListBucketResult>",
        );
        let page = page.unwrap();
        assert_eq!(page.next.as_deref(), Some("abc="));
        let paths: Vec<_> = page.objects.iter().map(|object| object.path.as_str()).collect();
        assert_eq!(paths, ["a/b c+d.jpg", "a/e f"]);
        assert_eq!(page.objects[0].etag, ETag::parse("\"5d41402abc4b2a76b9719d911017c592\""));
        let written = page.objects[0].last_modified.unwrap();
        let since = written.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_millis(), 1_460_397_436_307);
    }

    #[test]
    fn pages_that_make_no_sense_are_refused() {
        let head = "<ListBucketResult><IsTruncated>true</IsTruncated>";
        for text in [
            format!("{head}</ListBucketResult>"),
            format!("{head}<Contents><Size>1</Size></Contents></ListBucketResult>"),
            "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>"
                .to_owned(),
            "<html>no<p>".to_owned(),
            String::new(),
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let empty = parse(b"<ListBucketResult><Name>media</Name></ListBucketResult>").unwrap();
        assert_eq!(empty, ListPage::default());
    }

    proptest! {
        #[test]
        fn no_document_is_too_strange(text in "(<ListBucketResult>)?[<>/&;a-zA-Z%+ ]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
