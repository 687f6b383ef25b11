//! Addresses at which nothing answers, each in its own way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A URL at which nobody listens.
pub fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// An address that takes connections and never says anything, nor reads: the kernel accepts them.
pub struct SilentListener(std::net::TcpListener);

impl SilentListener {
    pub fn start() -> Self {
        Self(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Its address, with the port.
    pub fn authority(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }
}

/// An address that drops every SYN: its accept queue is full, and Linux then answers nothing.
pub struct BlackHole {
    listener: Socket,
    _queued: Vec<std::net::TcpStream>,
}

impl BlackHole {
    /// Opens it.
    ///
    /// # Panics
    /// If the queue does not fill up.
    pub fn open() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        for _ in 0..16 {
            let patience = Duration::from_millis(200);
            match std::net::TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => queued.push(stream),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Self { listener, _queued: queued };
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the accept queue does not fill up");
    }

    /// What an app's `CloudFrontURL` is to be.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap().as_socket().unwrap())
    }
}
