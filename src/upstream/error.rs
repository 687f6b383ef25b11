//! Why an upstream gave no response head.

use std::error::Error as StdError;
use std::io;

use super::ForbiddenAddress;

/// Why no usable response head came. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The name resolves only to addresses that upstreams may not have.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenAddress),
    /// The name does not resolve.
    #[error("cannot resolve the name: {0}")]
    Resolve(io::Error),
    /// No address accepts connections.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The TLS handshake failed, or the certificate does not hold.
    #[error("TLS handshake failed: {0}")]
    Tls(io::Error),
    /// The TLS handshake did not end in time.
    #[error("no TLS handshake in time")]
    TlsTimeout,
    /// No response head in time.
    #[error("no response head in time")]
    FirstByteTimeout,
    /// The connection was reset before the response head.
    #[error("the connection was reset before the response head")]
    Reset(#[source] io::Error),
    /// The connection was closed before the response head.
    #[error("the connection was closed before the response head")]
    Closed,
    /// Not HTTP, a head that is too large, or one that contradicts itself.
    #[error("not a valid HTTP response: {0}")]
    Protocol(Box<dyn StdError + Send + Sync>),
}

impl SendError {
    /// Whether it is certain that nothing of the request was sent.
    #[must_use]
    pub fn means_unsent(&self) -> bool {
        match self {
            Self::Forbidden(_)
            | Self::Resolve(_)
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Tls(_)
            | Self::TlsTimeout => true,
            Self::FirstByteTimeout | Self::Reset(_) | Self::Closed | Self::Protocol(_) => false,
        }
    }

    /// Whether a pooled connection failed in a way that a server's closing of idle connections
    /// explains, so that a fresh one deserves a try.
    pub(super) fn means_stale_connection(&self) -> bool {
        matches!(self, Self::Reset(_) | Self::Closed)
    }
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // TLS that ends without a word of its own.
            io::ErrorKind::UnexpectedEof => Self::Closed,
            // TLS that makes no sense.
            io::ErrorKind::InvalidData => Self::Protocol(error.into()),
            _ => Self::Reset(error),
        }
    }
}
