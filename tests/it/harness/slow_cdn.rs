//! A CDN that sends half of an image, and the other half when it is told to.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::photos::JPEG;

/// Sections of an app's file under which a slow CDN is waited for.
pub const PATIENT_READ: &str = "[Read]\nFirstByteTimeout = \"5m\"\nStallTimeout = \"5m\"\n";

/// How much of the image comes at once.
pub const FIRST_HALF: usize = JPEG.bytes.len() / 2;

/// The CDN; it ends with the test's runtime.
pub struct SlowCdn {
    /// For `CloudFrontURL`.
    pub url: String,
    release: Arc<watch::Sender<bool>>,
}

impl SlowCdn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let release = Arc::new(watch::Sender::new(false));
        let sender = Arc::clone(&release);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, sender.subscribe()));
            }
        });
        Self { url, release }
    }

    /// Sends the other half of every image, now and from now on.
    pub fn release(&self) {
        self.release.send_replace(true);
    }
}

async fn serve(mut stream: TcpStream, mut released: watch::Receiver<bool>) -> Option<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        head.clear();
        let length = JPEG.bytes.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\nETag: \"v1\"\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.write_all(&JPEG.bytes[..FIRST_HALF]).await.ok()?;
        released.wait_for(|released| *released).await.ok()?;
        stream.write_all(&JPEG.bytes[FIRST_HALF..]).await.ok()?;
    }
}
