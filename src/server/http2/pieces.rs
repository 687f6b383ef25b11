//! An answer's body in pieces, so that a stream holds little more than its client takes.
//!
//! hyper gives a whole frame of a body to the stream as soon as one byte of it may be sent, and
//! nothing in it bounds what lies there then. An object from memory is one frame.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::conduct::Progress;

/// The largest piece, in bytes: the payload of a DATA frame, unless the client allows for more
/// (RFC 9113 §6.5.2).
pub(super) const PIECE_BYTES: usize = 16 << 10;

/// A body whose frames are no larger than a piece, and which tells when one is taken.
pub(super) struct Pieces<B> {
    body: B,
    /// What is left of its last frame.
    rest: Bytes,
    progress: Arc<Progress>,
}

impl<B> Pieces<B> {
    pub(super) const fn new(body: B, progress: Arc<Progress>) -> Self {
        Self { body, rest: Bytes::new(), progress }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // Whoever asks for the next piece has got rid of the last one.
        self.progress.taken();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        self.progress.given();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use tokio::time::Instant;

    use super::super::conduct::Conduct;
    use super::*;

    fn pieces<B>(body: B) -> Pieces<B> {
        Pieces::new(body, Progress::new(&Arc::new(Conduct::new(Instant::now()))))
    }

    #[tokio::test]
    async fn no_piece_is_larger_and_no_byte_is_lost() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES - 1] {
            let bytes: Bytes = (0..=u8::MAX).cycle().take(length).collect::<Vec<_>>().into();
            let mut body = pieces(Full::new(bytes.clone()));
            let mut all = Vec::new();
            while let Some(frame) = body.frame().await {
                assert_eq!(
                    body.size_hint().exact(),
                    Some((length - all.len()) as u64).map(|left| {
                        left - frame.as_ref().unwrap().data_ref().unwrap().len() as u64
                    })
                );
                let data = frame.unwrap().into_data().unwrap();
                assert!((1..=PIECE_BYTES).contains(&data.len()));
                all.extend_from_slice(&data);
                assert_eq!(body.is_end_stream(), all.len() == length);
            }
            assert!(all == bytes, "{length}");
        }
    }

    #[tokio::test]
    async fn a_break_stays_one() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"half"))), Err("it broke")];
        let mut body = pieces(StreamBody::new(futures_util::stream::iter(frames)));
        assert!(body.frame().await.unwrap().is_ok());
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "it broke");
    }
}
