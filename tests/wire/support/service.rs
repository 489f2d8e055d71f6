//! A service of the house that does as it is told, in the clear or over TLS; each call has a connection of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use graphward::net::ca::{Authority, Leaf};
use graphward::net::{Caller, Connector, Dial, Tasks, tls};
use graphward::types::Clock;
use http::Uri;
use tokio::time::Duration;

use super::message::{self, Framing, Reader};

/// In every query and every header; never in an error.
pub(crate) const SECRET: &str = "s3cret-of-the-query";

/// A listening service.
pub(crate) struct Service {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    answer: Mutex<Vec<u8>>,
    /// What is done after each part of the answer.
    manner: Mutex<Manner>,
    seen: Mutex<Vec<Asked>>,
    stopped: AtomicBool,
}

/// How an answer is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// At once; then the connection is closed.
    Brisk,
    /// At once, and again and again what comes after the head.
    Endless,
    /// A byte at a time, so many milliseconds apart.
    Slow(u64),
    /// Not at all, though the connection stays open for a while.
    Mute,
    /// RST instead.
    Reset,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

// === impl Service ===

impl Service {
    /// In the clear.
    pub(crate) fn plain() -> Self {
        Self::listening(|tcp| Some(Box::new(tcp)))
    }

    /// Over TLS, with a certificate by this authority, and HTTP/1.1.
    pub(crate) fn secure(by: &Authority, leaf: &Leaf) -> Self {
        let config = Arc::clone(by.acceptor(leaf, &[b"http/1.1"]).unwrap().config());
        Self::listening(move |tcp| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(Box::new(rustls::StreamOwned::new(connection, tcp)))
        })
    }

    fn listening(
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            answer: Mutex::default(),
            manner: Mutex::new(Manner::Brisk),
            seen: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((tcp, _peer)) = listener.accept() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (state, wrap) = (Arc::clone(&shared), wrap.clone());
                thread::spawn(move || serve(tcp, &wrap, &state));
            }
        });
        Self { port, state }
    }

    /// Answers so from now on.
    pub(crate) fn answer(&self, status: &str, fields: &str, body: &str) -> &Self {
        let length = body.len();
        self.bytes(&format!(
            "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// Answers with these bytes from now on.
    pub(crate) fn bytes(&self, answer: &str) -> &Self {
        *self.state.answer.lock().unwrap() = answer.as_bytes().to_vec();
        self.manner(Manner::Brisk)
    }

    /// Answers in this way from now on.
    pub(crate) fn manner(&self, manner: Manner) -> &Self {
        *self.state.manner.lock().unwrap() = manner;
        self
    }

    /// The only request that came since this was last asked.
    pub(crate) fn only(&self) -> Asked {
        let mut seen = std::mem::take(&mut *self.state.seen.lock().unwrap());
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(
    tcp: TcpStream,
    wrap: &impl Fn(TcpStream) -> Option<Box<dyn Stream>>,
    state: &State,
) -> Option<()> {
    tcp.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let raw = tcp.try_clone().ok()?;
    let mut reader = Reader::new(wrap(tcp)?);
    let head = reader.head()?;
    let framing = message::framing(&head).unwrap_or(Framing::Length(0));
    let (body, _whole) = reader.body(framing);
    state.seen.lock().unwrap().push(Asked { head, body });
    let answer = state.answer.lock().unwrap().clone();
    let manner = *state.manner.lock().unwrap();
    let mut say = |bytes: &[u8]| {
        reader.stream.write_all(bytes).ok()?;
        reader.stream.flush().ok()
    };
    match manner {
        Manner::Brisk => say(&answer)?,
        Manner::Endless => {
            say(&answer)?;
            while say(&[b'x'; 4096]).is_some() {}
        }
        Manner::Slow(pause) => {
            for byte in answer {
                say(&[byte])?;
                thread::sleep(Duration::from_millis(pause));
            }
        }
        Manner::Mute => drop(reader.read()),
        Manner::Reset => {
            let linger = Some(Duration::ZERO);
            socket2::SockRef::from(&raw).set_linger(linger).ok()?;
        }
    }
    Some(())
}

// === impl Asked ===

impl Asked {
    pub(crate) fn line(&self) -> String {
        message::first_line(&self.head)
    }

    pub(crate) fn field(&self, name: &str) -> Option<String> {
        message::value(&self.head, name)
    }
}

/// Calls that trust the tests' authority, and look services up at home.
pub(crate) fn caller(timeout: Duration, tasks: &Tasks) -> Caller {
    let place = tempfile::tempdir().unwrap();
    let roots = place.path().join("ca.pem");
    std::fs::write(&roots, super::CA.pem()).unwrap();
    Caller::new(Connector::real(dial(Some(&roots))), timeout, tasks)
}

/// How services of the house are reached.
pub(crate) fn dial(roots: Option<&std::path::Path>) -> Dial {
    Dial {
        connect_to: std::collections::HashMap::new(),
        tls: tls::client(roots, &[b"h2", b"http/1.1"]).unwrap(),
        timeout: Duration::from_secs(2),
        plain: true,
    }
}

/// A certificate for this machine's own name.
pub(crate) fn home_leaf() -> Leaf {
    Leaf {
        names: vec!["localhost".to_owned()],
        ..Leaf::graph(&Clock::system())
    }
}

/// Where a service of this machine shows a credential.
pub(crate) fn url(scheme: &str, port: u16) -> Uri {
    let url = format!("{scheme}://localhost:{port}/tenants/a/credentials/meta?key={SECRET}");
    url.parse().unwrap()
}

/// A token as such services show it.
pub(crate) fn document(token: &str) -> String {
    format!(r#"{{"accessToken":"{token}","tenant":"a"}}"#)
}
