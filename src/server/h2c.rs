//! Telling HTTP/2 from HTTP/1.1 where neither TLS nor anything else has said it: by the first bytes
//! (RFC 9113 §3.3, prior knowledge). `Upgrade: h2c` is gone from HTTP (RFC 9113 §3.1).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// How a connection in HTTP/2 begins, and no request in HTTP/1.1: the method is reserved for it
/// (RFC 9113 §11.6). The rest of the preface is for HTTP/2 to check.
const MARK: [u8; 4] = *b"PRI ";

/// A stream of which the first bytes were looked at, and are read again.
pub(super) struct Rewound<S> {
    first: [u8; MARK.len()],
    /// Those of them that have come, and those that were read again.
    held: usize,
    given: usize,
    stream: S,
}

/// Reads until it is known what the client speaks; gives the stream as it was, and whether that is
/// HTTP/2. A client that ends before that speaks whatever it likes.
///
/// # Errors
/// Of reading.
pub(super) async fn tell_http2<S>(mut stream: S) -> io::Result<(Rewound<S>, bool)>
where
    S: AsyncRead + Unpin,
{
    let mut first = [0; MARK.len()];
    let mut held = 0;
    while held < MARK.len() && first[..held] == MARK[..held] {
        match stream.read(&mut first[held..]).await? {
            0 => break,
            read => held += read,
        }
    }
    Ok((Rewound { first, held, given: 0, stream }, first[..held] == MARK))
}

impl<S> Rewound<S> {
    /// Goes on with what is made of the stream.
    pub(super) fn map<T>(self, make: impl FnOnce(S) -> T) -> Rewound<T> {
        let Self { first, held, given, stream } = self;
        Rewound { first, held, given, stream: make(stream) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.first[self.given..self.held];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..length]);
        self.given += length;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn first_bytes() {
        for (sent, is_http2) in [
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
            ("PRI ", true),
            ("PRI", false),
            ("PRINT / HTTP/1.1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\n\r\n", false),
            ("G", false),
            ("", false),
        ] {
            // At once, and byte by byte.
            for room in [64, 1] {
                let (mut client, server) = duplex(room);
                let sending = tokio::spawn(async move {
                    client.write_all(sent.as_bytes()).await.unwrap();
                });
                let (mut stream, told) = tell_http2(server).await.unwrap();
                let mut all = String::new();
                stream.read_to_string(&mut all).await.unwrap();
                assert_eq!((told, all.as_str()), (is_http2, sent));
                sending.await.unwrap();
            }
        }
    }
}
