//! The app: clients that send WhatsApp messages through graphward and know nothing of tokens.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::local_client::LocalClient;
use crate::net::tls::TlsError;
use crate::net::{BoxError, ListenAddr};

/// All clients and what they count.
pub(super) struct Load {
    client: LocalClient,
    is_stopping: Cell<bool>,
    /// The number of messages sent so far.
    pub(super) sent: Cell<u64>,
    /// The reason why messages failed.
    pub(super) failures: RefCell<Vec<String>>,
    /// The longest time from sending a message to its answer.
    pub(super) slowest: Cell<Duration>,
}

/// The number of clients. Each waits for its answer before it sends again.
pub(super) const CLIENTS: u64 = 12;
/// A client's longest pause between two messages.
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

impl Load {
    pub(super) fn new(proxy: SocketAddr) -> Result<Self, TlsError> {
        Ok(Self {
            client: LocalClient::new(&ListenAddr::Tcp(proxy), TIMEOUT)?,
            is_stopping: Cell::default(),
            sent: Cell::default(),
            failures: RefCell::default(),
            slowest: Cell::default(),
        })
    }

    /// Sends until [`Load::stop`] is called, and waits for the last answers.
    pub(super) async fn run(&self) {
        join_all((0..CLIENTS).map(|_| self.run_client())).await;
    }

    /// Ends each client after its next message.
    pub(super) fn stop(&self) {
        self.is_stopping.set(true);
    }

    async fn run_client(&self) {
        while !self.is_stopping.get() {
            sleep(MAX_PAUSE.mul_f64(fastrand::f64())).await;
            let started_at = Instant::now();
            let failure = self.send().await.err().map(|error| error.to_string());
            self.slowest.set(self.slowest.get().max(started_at.elapsed()));
            self.failures.borrow_mut().extend(failure);
        }
    }

    async fn send(&self) -> Result<(), BoxError> {
        self.sent.set(self.sent.get() + 1);
        let message = json!({
            "messaging_product": "whatsapp",
            "to": "15550100200",
            "type": "text",
            "text": {"body": text(self.sent.get())},
        });
        let response = self.client.post("/v26.0/106540352242922/messages", &message).await?;
        let status = response.status();
        let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        if status.is_success() && answer.pointer("/messages/0/id").is_some() {
            return Ok(());
        }
        let message = answer.pointer("/error/message").unwrap_or(&answer);
        Err(format!("{status}: {message}").into())
    }
}

/// The text of a message. Each is different, so that each can be found again.
pub(super) fn text(number: u64) -> String {
    format!("Order {number} is on its way.")
}
