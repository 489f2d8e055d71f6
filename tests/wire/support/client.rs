//! A client of the proxy that sends any bytes and reads HTTP/1 answers.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};

use tokio::time::Duration;

use super::message::{self, Framing, Reader};

/// One connection to the proxy.
pub(crate) struct Client(Reader<TcpStream>);

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// 0 if the connection ended without a word.
    pub(crate) status: u16,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(8)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(8)))
            .unwrap();
        Self(Reader::new(stream))
    }

    /// Sends; what the proxy does not take any more is its own affair.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Whether the proxy stops taking these pieces. What it has not read yet lies in the kernel, so some
    /// moments pass before it shows.
    pub(crate) fn is_cut_off_within_4_mib(&mut self, piece: &str) -> bool {
        let most = (4 << 20) / piece.len();
        let at_once = most / 4;
        (0..most).any(|sent| {
            if sent > at_once {
                super::pause(5);
            }
            !self.send(piece)
        })
    }

    /// No more from us, but we still listen.
    pub(crate) fn finish(&self) {
        drop(self.0.stream.shutdown(Shutdown::Write));
    }

    /// Drops the connection with a reset.
    pub(crate) fn reset(self) {
        let linger = Some(Duration::ZERO);
        socket2::SockRef::from(&self.0.stream)
            .set_linger(linger)
            .unwrap();
    }

    /// The next answer, interim ones included.
    pub(crate) fn any_answer(&mut self, method: &str) -> Answer {
        let Some(head) = self.0.head() else {
            return Answer::default();
        };
        let line = message::first_line(&head);
        let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        let framing = if bodiless {
            Framing::Length(0)
        } else {
            message::framing(&head).unwrap_or(Framing::UntilClose)
        };
        let (body, whole) = self.0.body(framing);
        Answer {
            status,
            head,
            body,
            whole,
        }
    }

    /// Whether the head of an answer comes; its body is nobody's business.
    pub(crate) fn head_arrives(&mut self) -> bool {
        self.0.head().is_some()
    }

    /// The next final answer.
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        loop {
            let answer = self.any_answer(method);
            if answer.status == 0 || answer.status >= 200 {
                return answer;
            }
        }
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// Sends, and reads the answer.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer()
    }

    /// Whether the proxy closes this connection, without another byte, within `millis`.
    pub(crate) fn is_closed_within(&mut self, millis: u64) -> bool {
        if !self.0.buffer.is_empty() {
            return false;
        }
        let timeout = Some(Duration::from_millis(millis));
        self.0.stream.set_read_timeout(timeout).unwrap();
        let closed = match self.0.read() {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        let usual = Some(Duration::from_secs(8));
        self.0.stream.set_read_timeout(usual).unwrap();
        closed
    }
}

impl Answer {
    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        message::value(&self.head, name)
    }

    /// The word behind `error=` in `Proxy-Status`.
    pub(crate) fn proxy_error(&self) -> String {
        let status = self.field("proxy-status").unwrap_or_default();
        let error = status.strip_prefix("graphward; error=");
        error.unwrap_or_default().to_owned()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    Client::connect(address).ask(bytes)
}

/// A `GET` of `path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, simple(path))
}

/// The bytes of a plain `GET`.
pub(crate) fn simple(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The bytes of a plain `POST`.
pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
}
