//! Request bodies, read with a limit and a deadline; and the one type of every answer's body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::actions::read::{BrokenOff, Payload, ReadBody};
use crate::domain::AbortCause;
use crate::zero_copy::{Chunk, Chunks, Shared};

use super::error::Problem;

/// The largest JSON body of a request, in bytes.
pub const MAX_JSON_BYTES: usize = 8 * 1024;

/// Room for most answers in JSON, in bytes: a granted upload has 1,100 to 1,600.
const USUAL_JSON_BYTES: usize = 2 * 1024;

/// How much of a file is read at once where it cannot be sent as it is, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// How long a request body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The body of an answer: nothing, bytes, or an image on its way.
pub enum ReplyBody {
    /// Bytes that are there; none when empty.
    Full(Shared),
    /// An image.
    Image(Box<ReadBody>),
}

impl ReplyBody {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Bytes that are there.
    #[must_use]
    pub const fn full(bytes: Bytes) -> Self {
        Self::Full(Shared::Here(bytes))
    }
}

impl From<Payload> for ReplyBody {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Here(bytes) => Self::Full(bytes),
            Payload::OnItsWay(body) => Self::Image(body),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => {
                let piece = bytes.read(READ_BYTES).map(Frame::data);
                Poll::Ready(Some(piece.map_err(|_| BrokenOff(AbortCause::StorageFailed))))
            }
            Self::Image(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Image(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Image(body) => body.size_hint(),
        }
    }
}

impl Chunks for ReplyBody {
    fn poll_chunk(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Chunk, BrokenOff>>> {
        match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes).into()))),
            Self::Image(body) => Pin::new(&mut **body).poll_chunk(cx),
        }
    }
}

/// Reads a JSON object, or takes the default where there is no body.
///
/// # Errors
/// As [`read_json`].
pub async fn read_json_or_default<T: DeserializeOwned + Default, B>(
    headers: &HeaderMap,
    body: B,
    limit: usize,
) -> Result<T, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let bytes = read_bytes(headers, body, limit).await?;
    match bytes.is_empty() {
        true => Ok(T::default()),
        false => parse(&bytes),
    }
}

/// Reads a JSON object.
///
/// # Errors
/// [`Problem::BodyTooLarge`] before anything over the limit is read, [`Problem::RequestTimeout`],
/// [`Problem::InvalidJson`].
pub async fn read_json<T: DeserializeOwned, B>(
    headers: &HeaderMap,
    body: B,
    limit: usize,
) -> Result<T, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    parse(&read_bytes(headers, body, limit).await?)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::InvalidJson(error.to_string()))
}

/// Reads a body, whatever it holds.
///
/// # Errors
/// [`Problem::BodyTooLarge`] before anything over the limit is read, [`Problem::RequestTimeout`].
pub async fn read_bytes<B>(headers: &HeaderMap, body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > limit) {
        return Err(Problem::BodyTooLarge { limit });
    }
    timeout(BODY_TIMEOUT, collect(body, limit)).await.map_err(|_| Problem::RequestTimeout)?
}

async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::BadRequest("the body did not arrive whole"))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Problem::BodyTooLarge { limit });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// An answer in JSON that nobody may cache.
#[must_use]
pub fn json_response(status: StatusCode, value: &impl Serialize) -> Response<ReplyBody> {
    let mut json = Vec::with_capacity(USUAL_JSON_BYTES);
    serde_json::to_writer(&mut json, value).expect("answers are made of strings and numbers");
    let mut response = Response::new(ReplyBody::full(Bytes::from(json)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use tokio::time::Instant;

    use super::*;

    /// A body that sends something and then nothing, without an end.
    fn endless(first: &'static [u8]) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin {
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(first)))]);
        StreamBody::new(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
    }

    async fn read<B>(body: B) -> Result<serde_json::Value, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        read_json(&HeaderMap::new(), body, MAX_JSON_BYTES).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let begun = Instant::now();
        assert_eq!(read(endless(b"{\"file\":")).await, Err(Problem::RequestTimeout));
        assert_eq!(begun.elapsed(), BODY_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_too_large_is_refused_before_its_end() {
        let too_large = Err(Problem::BodyTooLarge { limit: MAX_JSON_BYTES });
        assert_eq!(read(endless(&[b' '; MAX_JSON_BYTES + 1])).await, too_large);

        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, (MAX_JSON_BYTES + 1).into());
        let declared = read_json::<serde_json::Value, _>(&headers, endless(b""), MAX_JSON_BYTES);
        assert_eq!(declared.await, too_large, "by what it declares, without a byte of it");
    }

    #[tokio::test]
    async fn a_body_may_be_as_large_as_the_limit() {
        let mut json = vec![b' '; MAX_JSON_BYTES];
        json[..2].copy_from_slice(b"{}");
        assert_eq!(read(Full::new(Bytes::from(json))).await, Ok(serde_json::json!({})));
    }

    /// Of the bytes in a file, no more are in the process than are on their way.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_is_read_piece_by_piece() {
        let whole: Vec<u8> = (0..READ_BYTES * 2 + 5).map(|n| (n % 251) as u8).collect();
        let file = crate::zero_copy::MemoryFiles::new().put(&whole).unwrap();
        let mut body = ReplyBody::from(Payload::Here(Shared::Filed(file)));
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
            let left = whole.len() - pieces.iter().map(Bytes::len).sum::<usize>();
            assert_eq!(
                (body.size_hint().exact(), body.is_end_stream()),
                (Some(left as u64), left == 0)
            );
        }
        assert!(pieces.iter().map(Bytes::len).eq([READ_BYTES, READ_BYTES, 5]));
        assert!(pieces.concat() == whole);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_json() {
        let broken = futures_util::stream::iter([
            Ok(Frame::data(Bytes::from_static(b"{}"))),
            Err(std::io::Error::other("reset")),
        ]);
        let broken = Problem::BadRequest("the body did not arrive whole")
            == read(StreamBody::new(broken)).await.unwrap_err();
        assert!(broken);
    }
}
