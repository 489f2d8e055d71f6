//! An egress proxy: it opens tunnels, all of them to ports of this machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;

use super::accept::AcceptThread;
use super::message::{Reader, first_line, value};

/// The user and password that it asks for, as in a URL, and as `Proxy-Authorization` has them.
pub(crate) const USER: &str = "me:hunter2%40";
const BASIC: &str = "Basic bWU6aHVudGVyMkA=";

/// A running egress proxy; stops when dropped.
pub(crate) struct EgressProxy {
    pub(crate) port: u16,
    targets: Arc<Mutex<Vec<String>>>,
    _accept_thread: AcceptThread,
}

impl EgressProxy {
    /// Answers CONNECT with a status line and fields, if the credentials are right; after a 200 it leads to the port that the
    /// target names, on this machine.
    pub(crate) fn answering(answer: &'static str) -> Self {
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&targets);
        let accept_thread = AcceptThread::start(move |client, _connection| {
            let mut client = Reader::new(client);
            let Some(head) = client.head() else {
                return;
            };
            let line = first_line(&head);
            let target = line
                .strip_prefix("CONNECT ")
                .unwrap()
                .strip_suffix(" HTTP/1.1")
                .unwrap();
            assert_eq!(value(&head, "host").as_deref(), Some(target));
            seen.lock().unwrap().push(target.to_owned());
            let is_known = value(&head, "proxy-authorization").as_deref() == Some(BASIC);
            let answer = match is_known {
                true => answer,
                false => "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"hunter2\"",
            };
            write!(client.stream, "HTTP/1.1 {answer}\r\n\r\n").unwrap();
            if answer.starts_with("200") {
                let (_host, port) = target.rsplit_once(':').unwrap();
                relay(
                    client.stream,
                    TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap(),
                );
            }
        });
        Self {
            port: accept_thread.port,
            targets,
            _accept_thread: accept_thread,
        }
    }

    /// Opens every tunnel.
    pub(crate) fn start() -> Self {
        Self::answering("200 Connection established")
    }

    /// Its URL, with the credentials.
    pub(crate) fn url(&self) -> String {
        format!("http://{USER}@127.0.0.1:{}", self.port)
    }

    /// The targets of the requests since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.targets.lock().unwrap())
    }
}

fn relay(client: TcpStream, server: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let mut space = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut space) {
            if to.write_all(&space[..read]).is_err() {
                break;
            }
        }
        drop(to.shutdown(std::net::Shutdown::Write));
    };
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || copy(from, to));
    copy(server, client);
}
