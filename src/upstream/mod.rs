//! The gateway's own HTTP/1.1 client, for the CDN and for storage.
//!
//! A connection is read by whoever waits for the response: first by the future that waits for the
//! head, then by the body. No task stands between the upstream socket and the downstream one, so a
//! slow reader slows its upstream down directly, a client that hangs up closes it at once, and a
//! large body costs one wake-up less per read. The bytes of a body need not come into the process at
//! all (`Body` is [`Chunks`](crate::zero_copy::Chunks)).
//!
//! Made for GET and HEAD, and for small request bodies that are in memory.

mod body;
mod connection;
mod dial;
mod error;
mod fields;
pub mod guard;
mod head;
mod origin;
mod pool;
mod question;
mod stream;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

pub use body::{Body, BodyError};
pub use error::SendError;
pub use fields::Fields;
pub use guard::{AddressPolicy, ForbiddenAddress};
pub use origin::Origin;
pub use question::{Question, Repeatable};
pub use whole::read_answer;

use connection::Connection;
use dial::Dialer;
use pool::Pool;

/// The time limits of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For resolving and connecting together, and once more for the TLS handshake.
    pub connect: Duration,
    /// From the connection to the response head.
    pub first_byte: Duration,
}

impl Timeouts {
    /// How long one exchange can take until its head is there: it may be tried on a connection that is
    /// dead, then on a fresh one.
    #[must_use]
    pub const fn longest_exchange(&self) -> Duration {
        self.connect.saturating_add(self.first_byte).saturating_mul(2)
    }
}

/// The pooled client. Cheap to clone; all clones share the pool.
#[derive(Clone)]
pub struct Client {
    dialer: Arc<Dialer>,
    pool: Arc<Pool>,
}

/// An answer, whose body is still to be read.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub fields: Fields,
    /// Its body.
    pub body: Body,
}

impl Client {
    /// Makes a client that trusts the certificate authorities of the system, connects only to
    /// addresses that `policy` allows, and starts the task that closes idle connections.
    ///
    /// # Errors
    /// A text for the operator, if the system has no usable certificate authorities.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(policy: AddressPolicy) -> Result<Self, String> {
        let pool = Pool::start();
        Ok(Self { dialer: Arc::new(Dialer::new(Some(policy))?), pool })
    }

    /// Makes a client that connects to any address, also to those at which clouds hand out
    /// credentials. Only for what the process itself is told by its environment: never for a URL of
    /// a tenant's file.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn unrestricted() -> Result<Self, String> {
        let pool = Pool::start();
        Ok(Self { dialer: Arc::new(Dialer::new(None)?), pool })
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// The request's URI is the path and query; `Host` is set from `origin`, and the length from the
    /// body. A pooled connection that turns out to be dead is replaced once by a fresh one, where that
    /// is safe.
    ///
    /// # Errors
    /// [`SendError`]. A response whose framing is ambiguous (`Content-Length` beside
    /// `Transfer-Encoding`) is [`SendError::Protocol`], and its connection is not used again.
    pub async fn send(
        &self,
        origin: &Origin,
        request: Request<Bytes>,
        timeouts: &Timeouts,
    ) -> Result<Response<Body>, SendError> {
        let asked = self.ask(origin, Question::of(origin, &request), timeouts);
        let Answer { status, fields, body } = asked.await?;
        fields.response(status, body)
    }

    /// The same, of what is written down already, and without making a map of the headers.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn ask(
        &self,
        origin: &Origin,
        question: Question,
        timeouts: &Timeouts,
    ) -> impl Future<Output = Result<Answer, SendError>> {
        // Outside of the future, which would have room for all of it until the answer comes.
        let Question { is_head, is_repeatable, .. } = question;
        let question = Bytes::from(question.into_wire());
        async move {
            // Only a request that may be repeated is tried on a connection that may be dead.
            if is_repeatable && let Some(pooled) = self.pool.take(origin) {
                match self.exchange(pooled, origin, question.clone(), is_head, timeouts).await {
                    Err(error) if error.means_stale_connection() => {}
                    outcome => return outcome,
                }
            }
            // Boxed: most requests find a connection, and have no use for the room.
            let fresh = Box::pin(self.dialer.connect(origin, timeouts.connect)).await?;
            self.exchange(fresh, origin, question, is_head, timeouts).await
        }
    }

    async fn exchange(
        &self,
        mut connection: Box<Connection>,
        origin: &Origin,
        question: Bytes,
        is_head: bool,
        timeouts: &Timeouts,
    ) -> Result<Answer, SendError> {
        let head = connection.ask(question, is_head, timeouts.first_byte).await?;
        let body = Body::new(head.extent, connection, Arc::clone(&self.pool), origin.clone());
        Ok(Answer { status: head.status, fields: head.fields, body })
    }
}

#[cfg(test)]
mod tests;
