//! The alert webhook over real sockets, with and without TLS: slow, wrong, gone, and back.

use std::sync::{Arc, Mutex};

use graphward::alert::{AlertSender, Webhook};
use graphward::net::Tasks;
use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::telemetry::metrics::Metrics;
use graphward::token::{Alert, AlertCause, AlertKey};
use graphward::types::{Clock, Secret, TenantId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::{Duration, Instant, sleep};
use tokio_rustls::TlsAcceptor;

use super::support::credential_service::service_client;
use super::support::{CA, valid_leaf};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SERVER_ERROR: &str = "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
const RETRY_AFTER: &str = "HTTP/1.1 429 Slow Down\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n";
const GONE: &str = "HTTP/1.1 410 Gone\r\ncontent-length: 10\r\n\r\nno_service";

/// A server on a port of this machine, and the requests that it received, with their times.
#[derive(Clone, Default)]
struct MockWebhook(Arc<Mutex<Vec<(Instant, String)>>>);

/// The sender of its alerts, and the counters.
struct AlertFixture {
    sender: AlertSender,
    metrics: Metrics,
    tasks: Tasks,
}

impl MockWebhook {
    /// Responds to one connection after the other with these, then repeats the last. An empty string is no response.
    fn start(tls: Option<TlsAcceptor>, script: &[&'static str]) -> (Self, u16) {
        let (socket, port) = unused_socket();
        (Self::start_on(socket, tls, script), port)
    }

    /// The same, on a given socket.
    fn start_on(socket: TcpSocket, tls: Option<TlsAcceptor>, script: &[&'static str]) -> Self {
        let listener = socket.listen(16).unwrap();
        let service = Self::default();
        let (seen, script) = (service.clone(), script.to_vec());
        drop(Tasks::default().spawn(async move {
            for turn in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let response = script[turn.min(script.len() - 1)];
                match &tls {
                    None => seen.respond(tcp, response).await,
                    Some(tls) => match tls.accept(tcp).await {
                        Ok(tls) => seen.respond(tls, response).await,
                        Err(_distrusted) => {}
                    },
                }
            }
        }));
        service
    }

    async fn respond(&self, mut io: impl AsyncRead + AsyncWrite + Unpin, response: &str) {
        let (mut received, mut chunk) = (Vec::new(), [0; 4_096]);
        while !received.ends_with(b"}") {
            match io.read(&mut chunk).await.unwrap() {
                0 => return,
                read => received.extend_from_slice(&chunk[..read]),
            }
        }
        let text = String::from_utf8(received).unwrap();
        self.0.lock().unwrap().push((Instant::now(), text));
        if response.is_empty() {
            // Until the client gives up.
            let _read = io.read(&mut chunk).await;
            return;
        }
        // In pieces, as a slow service does.
        let (first, second) = response.split_at(12);
        for piece in [first, second] {
            sleep(Duration::from_millis(150)).await;
            io.write_all(piece.as_bytes()).await.unwrap();
        }
        io.shutdown().await.unwrap();
    }

    fn received(&self) -> Vec<(Instant, String)> {
        self.0.lock().unwrap().clone()
    }
}

/// A socket with a port on which no process listens.
fn unused_socket() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

impl AlertFixture {
    fn start(url: &str) -> Self {
        let (tasks, metrics) = (Tasks::default(), Metrics::new());
        let client = service_client(crate::support::TIMEOUT);
        let url = Secret::new(url).unwrap();
        let webhook = Webhook::new(url, &client, Clock::system(), metrics.alert_metrics());
        let (sender, webhook) = webhook.unwrap();
        drop(tasks.spawn(webhook.run()));
        Self { sender, metrics, tasks }
    }

    fn send(&self, tenant: &str) {
        self.sender.send(&Alert {
            key: AlertKey {
                tenant: TenantId::new(tenant).unwrap(),
                cause: AlertCause::ActionRequired,
                reason: "190/459".to_owned(),
            },
            summary: "The user changed the password.".to_owned(),
            remediation: "The user logs in again.".to_owned(),
        });
    }

    /// Delivered, failed.
    fn counters(&self) -> (u64, u64) {
        let alerts = self.metrics.alert_metrics();
        (alerts.delivered.get(), alerts.failed.get())
    }

    #[track_caller]
    fn wait_for_counters(&self, expected: (u64, u64)) -> impl Future<Output = ()> {
        let deadline = Instant::now() + crate::support::TIMEOUT;
        async move {
            while self.counters() != expected {
                assert!(Instant::now() < deadline, "{:?}", self.counters());
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_webhook_that_fails_asks_for_a_pause_and_recovers_gets_the_alert_once() {
    let acceptor = || CA.acceptor(&valid_leaf(), &[b"http/1.1"]).unwrap();
    for (scheme, tls) in [("http", None), ("https", Some(acceptor()))] {
        let (service, port) = MockWebhook::start(tls, &[SERVER_ERROR, SERVER_ERROR, RETRY_AFTER, OK]);
        let fixture = AlertFixture::start(&format!("{scheme}://localhost:{port}/hook?key=1"));
        fixture.send("shop");
        fixture.wait_for_counters((1, 0)).await;
        fixture.send("shop");
        sleep(Duration::from_millis(300)).await;
        let seen = service.received();
        assert_eq!(seen.len(), 4, "{scheme}: {seen:?}");
        assert!(seen[3].0 - seen[2].0 >= Duration::from_secs(2), "{scheme}");
        let (head, body) = seen[3].1.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{head}");
        assert!(
            head.to_lowercase().contains(&format!("\r\nhost: localhost:{port}")),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["tenant"], "shop");
        assert!(body["text"].as_str().unwrap().contains("logs in again."));
        assert!(seen.iter().all(|(_, text)| text.ends_with(&body.to_string())));
    }
}

#[tokio::test]
async fn a_webhook_that_starts_later_gets_the_alert_then() {
    let (socket, port) = unused_socket();
    let fixture = AlertFixture::start(&format!("http://127.0.0.1:{port}/"));
    fixture.send("shop");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(fixture.counters(), (0, 0));
    let service = MockWebhook::start_on(socket, None, &[OK]);
    fixture.wait_for_counters((1, 0)).await;
    assert_eq!(service.received().len(), 1);
}

#[tokio::test]
async fn a_webhook_that_is_gone_for_good_gets_one_request() {
    let (service, port) = MockWebhook::start(None, &[GONE]);
    let fixture = AlertFixture::start(&format!("http://127.0.0.1:{port}/"));
    fixture.send("shop");
    fixture.wait_for_counters((0, 1)).await;
    fixture.send("shop");
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(service.received().len(), 1);
}

#[tokio::test]
async fn an_untrusted_webhook_gets_no_request() {
    let clock = Clock::system();
    let stranger = CertAuthority::new(&clock).unwrap();
    let leaf = CertSpec::for_graph(&clock);
    let tls = stranger.acceptor(&leaf, &[b"http/1.1"]).unwrap();
    let (service, port) = MockWebhook::start(Some(tls), &[OK]);
    let fixture = AlertFixture::start(&format!("https://localhost:{port}/"));
    fixture.send("shop");
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(fixture.counters(), (0, 0));
    assert!(service.received().is_empty());
}

#[tokio::test]
async fn a_webhook_that_hangs_delays_the_stop_by_two_seconds() {
    let (service, port) = MockWebhook::start(None, &[""]);
    let fixture = AlertFixture::start(&format!("http://127.0.0.1:{port}/"));
    for tenant in ["a", "b", "c"] {
        fixture.send(tenant);
    }
    while service.received().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    let start = Instant::now();
    fixture.sender.close().await;
    fixture.tasks.wait().await;
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert_eq!(fixture.metrics.alert_metrics().dropped.get(), 3);
}
