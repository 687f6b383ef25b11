//! A CDN on a bare socket. It serves what it was given as a CDN does, remembers every request that
//! it got, and misbehaves on the wire when it is told to.

mod reply;
mod restricted;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use safelight::storage::ObjectMeta;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub use reply::{Act, End, Framing, Reply, Wait};
pub use restricted::{TrustedKey, cookie};

/// After how long a test gives up waiting for something that should have happened.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much is written at once when an answer drips, in bytes.
const DRIP_BYTES: usize = 512;

/// A running CDN. It ends with this value, connections and all.
pub struct WireCdn {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    objects: Mutex<HashMap<String, CdnObject>>,
    /// What to do with the next requests.
    acts: Mutex<VecDeque<Act>>,
    /// What to do with the others.
    usual: Mutex<Box<dyn FnMut() -> Act + Send>>,
    /// Whose signature a request must have; any request is answered without.
    trusted: Mutex<Option<TrustedKey>>,
    seen: watch::Sender<Seen>,
}

/// What the CDN has seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many connections were accepted.
    pub connections: usize,
    /// How many of them the other side has closed.
    pub closed_by_peer: usize,
    /// Every request, in order.
    pub requests: Vec<SeenRequest>,
}

/// The head of a request, as it came.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// Which connection it came on, counted from 1.
    pub connection: usize,
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl SeenRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parse(connection: usize, head: &str) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ').map(str::to_owned);
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self {
            connection,
            method: first.next().unwrap_or_default(),
            target: first.next().unwrap_or_default(),
            headers: lines.map(header).collect(),
        }
    }
}

/// An object, and the headers with which it goes out.
#[derive(Debug, Clone)]
pub struct CdnObject {
    pub bytes: Bytes,
    pub headers: Vec<(String, String)>,
}

impl CdnObject {
    /// A copy of a stored object, with the validators that storage gives it.
    pub fn copy_of(meta: &ObjectMeta, bytes: impl Into<Bytes>) -> Self {
        let date = meta.last_modified.map(httpdate::fmt_http_date);
        let headers = [
            ("Content-Type", meta.content_type.clone()),
            ("ETag", meta.etag.as_ref().map(|etag| etag.as_str().to_owned())),
            ("Last-Modified", date),
        ];
        let present = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        present.fold(Self { bytes: bytes.into(), headers: Vec::new() }, |object, (name, value)| {
            object.and(name, &value)
        })
    }

    /// The object with one header more, or another value of one it has.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl WireCdn {
    /// Starts one on plain HTTP.
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// Starts one on HTTPS, with a certificate and its key in PEM.
    pub async fn start_tls(certificate: &str, key: &str) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::listen(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            objects: Mutex::default(),
            acts: Mutex::default(),
            usual: Mutex::new(Box::new(Act::right)),
            trusted: Mutex::default(),
            seen: watch::Sender::new(Seen::default()),
        });
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        Self { address, scheme, shared, task }
    }

    /// What an app's `CloudFrontURL` is to be.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Has this object at this path, which is percent-encoded as it stands in a request.
    pub fn put(&self, path: &str, object: CdnObject) {
        self.shared.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    /// Does this with the next request that nothing has been said for.
    pub fn next(&self, act: Act) {
        self.shared.acts.lock().unwrap().push_back(act);
    }

    /// Does this from now on with every request that nothing has been said for.
    pub fn always(&self, act: impl FnMut() -> Act + Send + 'static) {
        *self.shared.usual.lock().unwrap() = Box::new(act);
    }

    /// Answers 403 from now on to whatever is not signed with this key, before anything else.
    pub fn restrict_to(&self, trusted: TrustedKey) {
        *self.shared.trusted.lock().unwrap() = Some(trusted);
    }

    /// What came so far.
    pub fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.shared.seen.borrow())
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.seen(|seen| seen.requests.clone())
    }

    /// Waits until this has happened.
    pub async fn until(&self, happened: impl FnMut(&Seen) -> bool) {
        let mut watching = self.shared.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, watching.wait_for(happened)).await;
        waited.expect("it happens in time").expect("the sender is ours");
    }
}

impl Drop for WireCdn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut number = 0;
        shared.seen.send_modify(|seen| {
            seen.connections += 1;
            number = seen.connections;
        });
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                None => end(&shared, converse(&shared, number, tcp).await, |tcp| tcp),
                Some(acceptor) => match acceptor.accept(tcp).await {
                    Ok(stream) => {
                        let ended = converse(&shared, number, stream).await;
                        end(&shared, ended, |stream| stream.get_ref().0);
                    }
                    // Whoever calls does not trust the certificate.
                    Err(_) => shared.seen.send_modify(|seen| seen.closed_by_peer += 1),
                },
            }
        });
    }
}

/// How a conversation ended.
enum Ended {
    ByPeer,
    Here(End),
}

fn end<S>(shared: &Shared, (stream, ended): (S, Ended), tcp: impl Fn(&S) -> &TcpStream) {
    match ended {
        Ended::ByPeer => shared.seen.send_modify(|seen| seen.closed_by_peer += 1),
        Ended::Here(End::Reset) => {
            SockRef::from(tcp(&stream)).set_linger(Some(Duration::ZERO)).unwrap();
        }
        Ended::Here(_) => {}
    }
}

async fn converse<S>(shared: &Shared, number: usize, mut stream: S) -> (S, Ended)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(head) = read_head(&mut stream).await {
        let request = SeenRequest::parse(number, &head);
        let Answer { wait, wire, end, drips } = answer(shared, &request);
        shared.seen.send_modify(|seen| seen.requests.push(request));
        if let Some(wait) = wait {
            // Nobody sends another request before the answer to the last: only an end can come.
            let mut nothing = Vec::new();
            tokio::select! {
                biased;
                _ = read_some(&mut stream, &mut nothing) => break,
                () = wait => {}
            }
        }
        let written = match drips {
            true => drip(&mut stream, &wire).await,
            false => stream.write_all(&wire).await,
        };
        let flushed = match written {
            Ok(()) => stream.flush().await,
            Err(error) => Err(error),
        };
        match (flushed, end) {
            (Err(_), _) => break,
            (Ok(()), End::KeepAlive) => {}
            (Ok(()), End::Stall) => {
                while read_some(&mut stream, &mut Vec::new()).await {}
                break;
            }
            (Ok(()), End::Close) => {
                let _ = stream.shutdown().await;
                return (stream, Ended::Here(End::Close));
            }
            (Ok(()), End::Reset) => return (stream, Ended::Here(End::Reset)),
        }
    }
    (stream, Ended::ByPeer)
}

/// What is sent to one request.
struct Answer {
    /// What it waits for.
    wait: Option<Wait>,
    wire: Vec<u8>,
    end: End,
    drips: bool,
}

fn answer(shared: &Shared, request: &SeenRequest) -> Answer {
    let trusted = shared.trusted.lock().unwrap();
    if let Some(Err(why)) = trusted.as_ref().map(|key| key.check(request, SystemTime::now())) {
        let refusal = Reply::page(403).with("X-Why", why);
        let wire = refusal.to_wire(request.method == "HEAD");
        return Answer { wait: None, wire, end: End::KeepAlive, drips: false };
    }
    let ordered = shared.acts.lock().unwrap().pop_front();
    let mut act = ordered.unwrap_or_else(|| shared.usual.lock().unwrap()());
    let path = request.target.split('?').next().unwrap_or_default();
    let object = shared.objects.lock().unwrap().get(path).cloned();
    let mut wait = None;
    loop {
        match act {
            Act::After(event, then) => (wait, act) = (Some(event), *then),
            Act::Raw(wire, end) => return Answer { wait, wire, end, drips: false },
            Act::Reply(change) => {
                let mut reply = match &object {
                    Some(object) => Reply::to(request, object),
                    None => Reply::page(404),
                };
                let nothing = CdnObject { bytes: Bytes::new(), headers: Vec::new() };
                change(&mut reply, object.as_ref().unwrap_or(&nothing));
                let end = reply.broken.map_or(End::KeepAlive, |(_, end)| end);
                let wire = reply.to_wire(request.method == "HEAD");
                return Answer { wait, wire, end, drips: reply.drips };
            }
        }
    }
}

async fn drip(stream: &mut (impl AsyncWrite + Unpin), wire: &[u8]) -> io::Result<()> {
    for drop in wire.chunks(DRIP_BYTES) {
        stream.write_all(drop).await?;
        stream.flush().await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Reads a request head; `None` if the other side is gone.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !read_some(stream, &mut head).await {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Whether there was something to read. Requests without bodies come one at a time, so what is read
/// never goes beyond a head.
async fn read_some(stream: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> bool {
    matches!(stream.read_buf(into).await, Ok(read) if read > 0)
}
