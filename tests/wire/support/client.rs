//! A client of the proxy that sends any bytes and reads HTTP/1 responses.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};

use tokio::time::Duration;

use super::TIMEOUT;
use super::message::{self, Framing, Reader};

/// A peer that accepts no bytes for this long does not read.
pub(super) const BLOCKED_AFTER: Duration = Duration::from_secs(8);

/// One connection to the proxy.
pub(crate) struct Client(Reader<TcpStream>);

/// A response as received.
#[derive(Debug, Default)]
pub(crate) struct RawResponse {
    /// 0 if the connection ended without a response.
    pub(crate) status: u16,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Whether the body is complete.
    pub(crate) complete: bool,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(BLOCKED_AFTER)).unwrap();
        Self(Reader::new(stream))
    }

    /// Sends; returns whether the proxy still accepted the bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Returns whether the proxy stops reading these pieces. The kernel buffers what the proxy has not read, so this takes a
    /// moment to show.
    pub(crate) fn stops_reading_within_4_mib(&mut self, piece: &str) -> bool {
        let max_pieces = (4 << 20) / piece.len();
        let unpaced = max_pieces / 4;
        (0..max_pieces).any(|sent| {
            if sent > unpaced {
                super::sleep_millis(5);
            }
            !self.send(piece)
        })
    }

    /// Half-closes the connection.
    pub(crate) fn shutdown_write(&self) {
        drop(self.0.stream.shutdown(Shutdown::Write));
    }

    /// Drops the connection with a reset.
    pub(crate) fn reset(self) {
        let linger = Some(Duration::ZERO);
        socket2::SockRef::from(&self.0.stream).set_linger(linger).unwrap();
    }

    /// Reads the next answer, interim ones included.
    pub(crate) fn read_response(&mut self, method: &str) -> RawResponse {
        let Some(head) = self.0.head() else {
            return RawResponse::default();
        };
        let line = message::first_line(&head);
        let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        let framing = if bodiless {
            Framing::Length(0)
        } else {
            message::framing(&head).unwrap_or(Framing::UntilClose)
        };
        let (body, complete) = self.0.body(framing);
        RawResponse {
            status,
            head,
            body,
            complete,
        }
    }

    /// Returns whether the head of a response arrives; the body is ignored.
    pub(crate) fn reads_head(&mut self) -> bool {
        self.0.head().is_some()
    }

    /// Reads the next final response.
    pub(crate) fn final_response_to(&mut self, method: &str) -> RawResponse {
        loop {
            let response = self.read_response(method);
            if response.status == 0 || response.status >= 200 {
                return response;
            }
        }
    }

    pub(crate) fn response(&mut self) -> RawResponse {
        self.final_response_to("GET")
    }

    /// Sends a request and reads the response.
    pub(crate) fn round_trip(&mut self, bytes: impl AsRef<[u8]>) -> RawResponse {
        self.send(bytes);
        self.response()
    }

    /// Returns whether the proxy closes this connection without another byte, long before it would close an idle one.
    pub(crate) fn is_closed(&mut self) -> bool {
        if !self.0.buffer.is_empty() {
            return false;
        }
        self.0.stream.set_read_timeout(Some(TIMEOUT / 3)).unwrap();
        let closed = match self.0.read() {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        self.0.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        closed
    }
}

impl RawResponse {
    /// The only value of a header.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        message::value(&self.head, name)
    }

    /// The value of `error=` in `Proxy-Status`.
    pub(crate) fn proxy_error(&self) -> String {
        let status = self.field("proxy-status").unwrap_or_default();
        let error = status.strip_prefix("graphward; error=");
        let error = error.and_then(|error| error.split(';').next());
        error.unwrap_or_default().to_owned()
    }

    /// Fails unless this is graphward's own response, with this status and this error.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.proxy_error().as_str()), (status, error), "{self:?}");
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request on a connection of its own.
pub(crate) fn round_trip(address: SocketAddr, bytes: impl AsRef<[u8]>) -> RawResponse {
    Client::connect(address).round_trip(bytes)
}

/// Sends a `GET` of `path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> RawResponse {
    round_trip(address, get_request(path))
}

/// The bytes of a plain `GET`.
pub(crate) fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The bytes of a plain `POST` with a body that graphward need not search for credentials.
pub(crate) fn post_request(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}
