//! A front before a real server: it passes everything on, remembers what was asked for, and can hold
//! a part of a file back in the middle, so that its sender can be ended there.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use safelight::storage::S3Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// After how long a test gives up waiting for something that should have happened.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running front. It ends with the runtime of its test.
pub struct Front {
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    /// The part of which nothing more is passed on than what came with its head.
    held: Mutex<Option<u16>>,
    /// The first line of every request, in the order of their coming, without `HTTP/1.1`.
    seen: watch::Sender<Vec<String>>,
    /// The heads of the same requests, as they came.
    heads: Mutex<Vec<String>>,
}

impl Front {
    /// Stands before a server. Gives the front, and the settings with its address in them.
    pub async fn before(config: &S3Config) -> (Self, S3Config) {
        let endpoint = config.endpoint.as_ref().expect("the tests' stores have endpoints");
        let server = endpoint[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        let seen = watch::Sender::new(Vec::new());
        let heads = Mutex::default();
        let shared = Arc::new(Shared { server, held: Mutex::new(None), seen, heads });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = format!("http://{}", listener.local_addr().expect("it is bound"));
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(Arc::clone(&serving), client));
            }
        });
        let endpoint = Some(Url::parse(&own).expect("a URL"));
        (Self { shared }, S3Config { endpoint, ..config.clone() })
    }

    /// Holds the next request for this part back in the middle; `None` for no part any more.
    pub fn hold(&self, part: Option<u16>) {
        *self.shared.held.lock().unwrap() = part;
    }

    /// Waits until a part has been sent, at least its head.
    pub async fn sees_part(&self, part: u16) {
        let mut seen = self.shared.seen.subscribe();
        let is_there = |seen: &Vec<String>| seen.iter().any(|line| part_of(line) == Some(part));
        let waiting = tokio::time::timeout(PATIENCE, seen.wait_for(is_there)).await;
        waiting.expect("the part is sent in time").expect("the front is there");
    }

    /// The numbers of the parts that were sent, in the order of their coming.
    pub fn parts(&self) -> Vec<u16> {
        self.shared.seen.borrow().iter().filter_map(|line| part_of(line)).collect()
    }

    /// How many requests have this method, and this in their target.
    pub fn count(&self, method: &str, target: &str) -> usize {
        let is_one = |line: &&String| line.starts_with(method) && line.contains(target);
        self.shared.seen.borrow().iter().filter(is_one).count()
    }

    /// The values of a header in all requests of a method, in their order; none for one without it.
    pub fn headers(&self, method: &str, name: &str) -> Vec<Option<String>> {
        let heads = self.shared.heads.lock().unwrap();
        let of_method = heads.iter().filter(|head| head.starts_with(&format!("{method} ")));
        let value = |head: &String| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            let mut named = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
            named.next().map(|(_, value)| value.trim().to_owned())
        };
        of_method.map(value).collect()
    }

    /// Forgets what it has seen.
    pub fn forget(&self) {
        self.shared.seen.send_modify(Vec::clear);
        self.shared.heads.lock().unwrap().clear();
    }
}

/// The part that a request brings.
fn part_of(line: &str) -> Option<u16> {
    let (_, rest) = line.strip_prefix("PUT ")?.split_once("partNumber=")?;
    rest.split('&').next()?.parse().ok()
}

async fn pass_on(shared: Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let (mut from_server, to_server) = TcpStream::connect(&shared.server).await?.into_split();
    let (from_client, mut to_client) = client.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let passed = pass_requests(&shared, from_client, to_server).await;
    if passed.is_err() {
        answers.abort();
    }
    passed
}

/// Passes on what a client sends. Requests are recognised by their first line: whoever is tested
/// sends each on a connection of its own, or the next one after the answer to the last.
async fn pass_requests(
    shared: &Shared,
    mut from_client: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from_client.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let line = first_line(&buffer[..length]);
        to_server.write_all(&buffer[..length]).await?;
        let Some(line) = line else { continue };
        let part = part_of(&line);
        let held = part.is_some() && *shared.held.lock().unwrap() == part;
        let head = String::from_utf8_lossy(&buffer[..length]);
        let head = head.split("\r\n\r\n").next().unwrap_or_default().to_owned();
        shared.heads.lock().unwrap().push(head);
        shared.seen.send_modify(|seen| seen.push(line));
        if held {
            // Until the client is gone; then the server sees the connection end.
            let _ = copy(&mut from_client, &mut sink()).await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

/// Method and target, if this is the beginning of a request.
fn first_line(bytes: &[u8]) -> Option<String> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?.strip_suffix(" HTTP/1.1")?;
    let methods = ["GET ", "HEAD ", "PUT ", "POST ", "DELETE "];
    methods.iter().any(|method| line.starts_with(method)).then(|| line.to_owned())
}
