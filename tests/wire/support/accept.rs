//! The listener of every scripted server: a port, and a thread for each connection.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// A listener on a thread of its own; stops when dropped.
pub(crate) struct AcceptThread {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    stopped: AtomicBool,
}

impl AcceptThread {
    /// Serves each connection on a thread of its own. `serve` also gets the number of the connection, from 0.
    pub(crate) fn start(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let (state, serve) = (Arc::clone(&shared), Arc::new(serve));
        thread::spawn(move || {
            loop {
                let Ok((tcp, _peer)) = listener.accept() else {
                    continue;
                };
                if state.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = state.accepted.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(tcp, connection));
            }
        });
        Self { port, shared }
    }

    /// The number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for AcceptThread {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}
