//! Addresses at which nothing answers, each in its own way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpSocket};

/// A URL at which nobody listens, nor will.
pub fn nobody() -> String {
    let closed = ClosedPort::new();
    let url = format!("http://{}", closed.address());
    // It is held until the process ends.
    std::mem::forget(closed);
    url
}

/// An address at which nobody listens yet. It is held: no other server of these tests is given it.
pub struct ClosedPort(TcpSocket);

impl ClosedPort {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Listens there from now on.
    pub fn open(self) -> TcpListener {
        self.0.listen(1024).unwrap()
    }
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
