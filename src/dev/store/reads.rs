//! Reading and listing objects.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::sync::Arc;

use aws_smithy_types::base64;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::HeaderMap;
use s3s::dto::{
    ChecksumMode, CommonPrefix, ETag, EncodingType, GetObjectInput, GetObjectOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass, Range, StreamingBlob, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, s3_error};
use tokio::io::AsyncReadExt as _;

use super::index::{Listed, StoredObject};
use super::writes::refuse_version;
use super::{Core, internal};
use crate::domain::{self, ContentRange, Precondition, RangeRequest, Validators};
use crate::http::conditions;

/// How much of a blob is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// The most keys of one page. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
const MAX_KEYS: i32 = 1000;

/// What a read is about to answer with.
struct Selected {
    object: StoredObject,
    part: Option<ContentRange>,
}

/// Describes an object in the answer to a GET or to a HEAD: two types that share these fields by
/// name only.
macro_rules! described {
    ($output:ident of $selected:expr, $with_checksum:expr $(, $field:ident: $value:expr)*) => {{
        let length = i64::try_from($selected.length()).map_err(internal)?;
        let Selected { object, part } = $selected;
        $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: object.headers.cache_control,
            checksum_sha256: object.sha256.filter(|_| $with_checksum && part.is_none()),
            content_disposition: object.headers.content_disposition,
            content_encoding: object.headers.content_encoding,
            content_language: object.headers.content_language,
            content_length: Some(length),
            content_range: part.map(|part| part.to_string()),
            content_type: object.headers.content_type,
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(Timestamp::from(object.modified_at)),
            metadata: Some(object.headers.metadata.into_iter().collect()),
            $($field: $value,)*
            ..$output::default()
        }
    }};
}

/// `GetObject`.
pub(super) async fn get(
    core: &Arc<Core>,
    request: S3Request<GetObjectInput>,
) -> S3Result<GetObjectOutput> {
    let S3Request { input, headers, .. } = request;
    refuse_version(input.version_id.as_deref())?;
    refuse_part_number(input.part_number)?;
    let with_checksum = wants_checksum(input.checksum_mode.as_ref());
    let (selected, file) = core
        .with_index(move |index, blobs| {
            let object = index.object(&input.bucket, &input.key)?;
            // Still under the lock of the index: nobody can have removed this blob yet.
            let mut file = blobs.read(&object.blob).map_err(internal)?;
            let selected = select(object, &headers, input.range)?;
            if let Some(part) = selected.part {
                file.seek(SeekFrom::Start(part.range.start)).map_err(internal)?;
            }
            Ok((selected, file))
        })
        .await?;
    let body = StreamingBlob::wrap(contents(file, selected.length()));
    Ok(described!(GetObjectOutput of selected, with_checksum, body: Some(body)))
}

/// `HeadObject`.
pub(super) async fn head(
    core: &Arc<Core>,
    request: S3Request<HeadObjectInput>,
) -> S3Result<HeadObjectOutput> {
    let S3Request { input, headers, .. } = request;
    refuse_version(input.version_id.as_deref())?;
    refuse_part_number(input.part_number)?;
    let with_checksum = wants_checksum(input.checksum_mode.as_ref());
    let selected = core
        .with_index(move |index, _| {
            select(index.object(&input.bucket, &input.key)?, &headers, input.range)
        })
        .await?;
    Ok(described!(HeadObjectOutput of selected, with_checksum))
}

/// `ListObjectsV2`.
pub(super) async fn list(
    core: &Arc<Core>,
    input: ListObjectsV2Input,
) -> S3Result<ListObjectsV2Output> {
    let limit = input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    let limit_keys = usize::try_from(limit)
        .map_err(|_| s3_error!(InvalidArgument, "max-keys must not be negative."))?;
    let after = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => base64::decode(token)
            .map_err(|_| s3_error!(InvalidArgument, "The continuation token is incorrect."))?,
        (None, Some(start_after)) => start_after.clone().into_bytes(),
        (None, None) => Vec::new(),
    };
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let bucket = input.bucket.clone();
    let page = core
        .with_index(move |index, _| {
            index.list(&bucket, &prefix, delimiter.as_deref(), after, limit_keys)
        })
        .await?;
    let in_url = input.encoding_type.as_ref().is_some_and(|e| e.as_str() == EncodingType::URL);
    let name = |text: String| {
        if in_url {
            domain::StoragePath::from_listing(&text).to_url_path().into_owned()
        } else {
            text
        }
    };
    let key_count = i32::try_from(page.entries.len()).map_err(internal)?;
    let (mut contents, mut common_prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            Listed::Object(key, object) => contents.push(Object {
                key: Some(name(key)),
                size: Some(i64::try_from(object.size).map_err(internal)?),
                e_tag: Some(ETag::Strong(object.etag)),
                last_modified: Some(Timestamp::from(object.modified_at)),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                ..Object::default()
            }),
            Listed::CommonPrefix(prefix) => {
                common_prefixes.push(CommonPrefix { prefix: Some(name(prefix)) });
            }
        }
    }
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: input.prefix.map(name),
        delimiter: input.delimiter.map(name),
        start_after: input.start_after.map(name),
        max_keys: Some(limit),
        key_count: Some(key_count),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.map(base64::encode),
        continuation_token: input.continuation_token,
        encoding_type: input.encoding_type,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        ..ListObjectsV2Output::default()
    })
}

impl Selected {
    /// How many bytes the answer has.
    fn length(&self) -> u64 {
        self.part.map_or(self.object.size, |part| part.range.len())
    }
}

/// Evaluates the conditions and the range of a read.
fn select(object: StoredObject, headers: &HeaderMap, range: Option<Range>) -> S3Result<Selected> {
    let conditions = conditions::from_headers(headers);
    let etag = domain::ETag::parse(&object.etag);
    let current = Validators { etag: etag.as_ref(), last_modified: Some(object.modified_at) };
    match conditions.evaluate(current) {
        Precondition::Holds => {}
        Precondition::NotModified => return Err(not_modified(&object)),
        Precondition::Failed => {
            return Err(s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            ));
        }
    }
    let range = range.filter(|_| conditions.range_applies(current));
    let part = match range {
        None => None,
        Some(range) => match requested(range).resolve(object.size) {
            Some(range) => Some(ContentRange { range, total: object.size }),
            None => return Err(unsatisfiable(object.size)),
        },
    };
    Ok(Selected { object, part })
}

fn requested(range: Range) -> RangeRequest {
    match range {
        Range::Int { first, last: Some(last) } => RangeRequest::Between(first, last),
        Range::Int { first, last: None } => RangeRequest::From(first),
        Range::Suffix { length } => RangeRequest::Last(length),
    }
}

fn not_modified(object: &StoredObject) -> S3Error {
    let mut headers = HeaderMap::new();
    let date = httpdate::fmt_http_date(object.modified_at);
    if let (Ok(etag), Ok(date)) = (format!("\"{}\"", object.etag).parse(), date.parse()) {
        headers.insert(http::header::ETAG, etag);
        headers.insert(http::header::LAST_MODIFIED, date);
    }
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_headers(headers);
    error
}

fn unsatisfiable(size: u64) -> S3Error {
    let mut headers = HeaderMap::new();
    if let Ok(value) = format!("bytes */{size}").parse() {
        headers.insert(http::header::CONTENT_RANGE, value);
    }
    let xml = http::HeaderValue::from_static("application/xml");
    headers.insert(http::header::CONTENT_TYPE, xml);
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    error.set_headers(headers);
    error
}

fn refuse_part_number(number: Option<i32>) -> S3Result<()> {
    match number {
        None => Ok(()),
        Some(_) => Err(s3_error!(NotImplemented, "Use a Range instead of a part number.")),
    }
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

/// The next `length` bytes of a file, as a stream that fails if there are fewer.
fn contents(
    file: File,
    length: u64,
) -> impl futures_core::Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    let file = tokio::fs::File::from_std(file);
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let want = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let mut chunk = BytesMut::with_capacity(want);
        let got = (&mut file).take(want as u64).read_buf(&mut chunk).await?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((chunk.freeze(), (file, left - got as u64))))
    })
}
