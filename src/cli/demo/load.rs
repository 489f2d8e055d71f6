//! The app: a few clients that send WhatsApp messages through the sidecar, and know nothing of tokens.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::Client;
use super::story::{Happening, Teller};
use crate::net::{BoxError, Tasks};

/// All clients, and what they count.
pub(super) struct Load {
    proxy: SocketAddr,
    tasks: Tasks,
    teller: Teller,
    ending: watch::Receiver<bool>,
    counts: [AtomicU64; 3],
    failures: AtomicU64,
}

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A text message.
    Message,
    /// A look at the phone number.
    Read,
    /// A picture.
    Upload,
}

/// How many clients there are. Each waits for its answer before it sends again.
pub(super) const CLIENTS: u64 = 12;
/// A client's longest pause between two requests.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The number that sends.
const PHONE: &str = "106540352242922";

impl Load {
    pub(super) fn new(proxy: SocketAddr, tasks: Tasks, teller: Teller, ending: watch::Receiver<bool>) -> Self {
        Self {
            proxy,
            tasks,
            teller,
            ending,
            counts: Default::default(),
            failures: AtomicU64::new(0),
        }
    }

    /// Sends until the end is told, and waits for the last answers.
    pub(super) async fn run(&self) {
        join_all((0..CLIENTS).map(|_| self.client())).await;
    }

    /// Requests of a kind so far.
    pub(super) fn sent(&self, kind: Kind) -> u64 {
        let [messages, reads, uploads] = &self.counts;
        let count = match kind {
            Kind::Message => messages,
            Kind::Read => reads,
            Kind::Upload => uploads,
        };
        count.load(Ordering::Relaxed)
    }

    /// All requests so far.
    pub(super) fn requests(&self) -> u64 {
        [Kind::Message, Kind::Read, Kind::Upload]
            .map(|kind| self.sent(kind))
            .iter()
            .sum()
    }

    /// Requests that were not answered with 200.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    async fn client(&self) {
        let mut client = Client::new(self.proxy, self.tasks.clone());
        let mut ending = self.ending.clone();
        loop {
            let pause = PAUSE.mul_f64(fastrand::f64());
            tokio::select! {
                () = sleep(pause) => {}
                // Closed or told: either is the end.
                _end = ending.wait_for(|end| *end) => return,
            }
            let kind = match fastrand::u8(0..40) {
                0 => Kind::Upload,
                1..=3 => Kind::Read,
                4.. => Kind::Message,
            };
            let failed = match timeout(PATIENCE, self.send(&mut client, kind)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => "no answer".to_owned(),
            };
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.teller.tell(Happening::Failed(failed));
        }
    }

    async fn send(&self, client: &mut Client, kind: Kind) -> Result<(), BoxError> {
        let [messages, reads, uploads] = &self.counts;
        let request = match kind {
            Kind::Message => message(messages.fetch_add(1, Ordering::Relaxed)),
            Kind::Read => {
                reads.fetch_add(1, Ordering::Relaxed);
                Request::get(format!("/v26.0/{PHONE}")).body(Full::default())
            }
            Kind::Upload => {
                uploads.fetch_add(1, Ordering::Relaxed);
                upload()
            }
        };
        let (status, body) = client.send(request?).await?;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let answer = match kind {
            Kind::Message => said.pointer("/messages/0/id"),
            Kind::Read | Kind::Upload => said.get("id"),
        };
        if status == StatusCode::OK && answer.is_some() {
            return Ok(());
        }
        let said = said.pointer("/error/message").unwrap_or(&said);
        Err(format!("{status}: {said}").into())
    }
}

/// What a message says: each something else, so that each can be found again.
pub(super) fn text(number: u64) -> String {
    format!("Order {number} is on its way.")
}

fn message(number: u64) -> http::Result<Request<Full<Bytes>>> {
    let message = json!({
        "messaging_product": "whatsapp",
        "to": "15550100200",
        "type": "text",
        "text": {"body": text(number)},
    });
    post("messages", "application/json", message.to_string().into())
}

/// 200 KiB of picture.
fn upload() -> http::Result<Request<Full<Bytes>>> {
    const BOUNDARY: &str = "graphward-demo";
    let mut form = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"picture.jpg\"\r\n\
         Content-Type: image/jpeg\r\n\r\n"
    )
    .into_bytes();
    let picture = form.len();
    form.resize(picture + 200 * 1024, 0);
    fastrand::fill(form.get_mut(picture..).unwrap_or_default());
    form.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    post("media", &kind, form.into())
}

fn post(edge: &str, kind: &str, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("/v26.0/{PHONE}/{edge}"))
        .header(header::CONTENT_TYPE, kind)
        .body(Full::new(body))
}
