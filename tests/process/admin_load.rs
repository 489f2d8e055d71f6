//! Clients of the admin listener that are slow, or send too much: the probes are answered meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::admin_access::Listener;
use crate::admin_changes::{LOCAL, send};
use crate::support::{TIMEOUT, together, wait_until};

/// Connections that are opened by one test: most of those that the listener takes.
const MANY: usize = 200;
/// More than it takes.
const TOO_MANY: usize = 300;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Fails unless the probes are answered.
#[track_caller]
fn assert_probes_are_answered(address: SocketAddr) {
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = send(address, &format!("GET {path}"), LOCAL, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_keeps_no_other_request_waiting() {
    let _turn = together().await;
    let listener = Listener::start().await;
    let head = format!("PUT /admin/token HTTP/1.1\r\n{LOCAL}Content-Length: 100\r\n\r\n{{");
    let mut slow: Vec<_> = (0..20).map(|_| connect(listener.address())).collect();
    for stream in &mut slow {
        stream.write_all(head.as_bytes()).unwrap();
    }
    assert_probes_are_answered(listener.address());
    for mut stream in slow {
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 408");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_come_byte_by_byte_are_given_up_and_the_probes_are_answered() {
    let _turn = together().await;
    let listener = Listener::start().await;
    let mut slow: Vec<_> = (0..MANY).map(|_| connect(listener.address())).collect();
    let head = format!("GET /livez HTTP/1.1\r\n{LOCAL}X: {}", "x".repeat(100_000));
    let mut sent = head.bytes();
    // A byte now and then, for as long as one of them takes it: the limit counts from the first.
    while !slow.is_empty() {
        let byte = [sent.next().expect("a head without an end was read to the end")];
        slow.retain_mut(|stream| stream.write_all(&byte).is_ok());
        assert_probes_are_answered(listener.address());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_no_answer_leave_the_probes_answered() {
    let _turn = together().await;
    let listener = Listener::start().await;
    // Each asks for more than the buffers of a socket hold, and its requests come at once: none of them is incomplete.
    let requests = format!("GET /openapi.json HTTP/1.1\r\n{LOCAL}\r\n").repeat(100);
    assert_unread_responses_make_room(&listener, requests.as_bytes()).await;
    // What is not read is not kept: an answer is written when the one before it was taken.
    let status = listener.sidecar.proc("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: usize = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 512 * 1024, "{resident} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_clients_whose_windows_are_closed_leave_the_probes_answered() {
    let _turn = together().await;
    let listener = Listener::start().await;
    // SETTINGS with INITIAL_WINDOW_SIZE 0, and HEADERS with END_STREAM and END_HEADERS for GET http://127.0.0.1/openapi.json.
    let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    let block = b"\x82\x86\x04\x0d/openapi.json\x01\x09127.0.0.1";
    let head = [0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    let request = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], settings, &head, block].concat();
    assert_unread_responses_make_room(&listener, &request).await;
}

/// Fails unless the probes are answered while more clients than the listener takes send this, and read nothing.
async fn assert_unread_responses_make_room(listener: &Listener, requests: &[u8]) {
    let mut deaf = Vec::new();
    let mut open = || {
        let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        stream.set_recv_buffer_size(2_048).unwrap();
        stream.connect(&listener.address().into()).unwrap();
        let mut stream = TcpStream::from(stream);
        // One that comes while the listener still writes to all others is refused.
        drop(stream.write_all(requests));
        deaf.push(stream);
    };
    (0..TOO_MANY).for_each(|_| open());
    wait_until("a probe is answered", async || {
        send(listener.address(), "GET /livez", LOCAL, "").status == 200
    })
    .await;
    for _ in 0..20 {
        open();
        assert_probes_are_answered(listener.address());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_or_a_body_without_an_end_is_refused_before_it_is_read() {
    let _turn = together().await;
    let listener = Listener::start().await;
    let head = format!("GET /admin/tenants HTTP/1.1\r\n{LOCAL}X: ");
    let body = format!("PUT /admin/token HTTP/1.1\r\n{LOCAL}Transfer-Encoding: chunked\r\n\r\n");
    let part = "x".repeat(4_096);
    for (start, part, status) in [
        (head, part.clone(), "431"),
        (body, format!("1000\r\n{part}\r\n"), "413"),
    ] {
        let mut stream = connect(listener.address());
        stream.write_all(start.as_bytes()).unwrap();
        // Until the listener closes the connection.
        let sent = (0..10_000)
            .take_while(|_| stream.write_all(part.as_bytes()).is_ok())
            .count();
        assert!(sent < 10_000, "40 MiB were read");
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert_probes_are_answered(listener.address());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_answered_with_431() {
    /// The most that the listener keeps of a head. It reads all that is sent here, so that no reset overtakes its answer.
    const MOST: usize = 72 * 1024;
    let _turn = together().await;
    let listener = Listener::start().await;
    let start = format!("GET /admin/tenants HTTP/1.1\r\n{LOCAL}");
    for head in [
        format!("{start}X: {}", "x".repeat(MOST - start.len() - "X: ".len())),
        format!("{start}{}\r\n", "X: x\r\n".repeat(100)),
    ] {
        let mut stream = connect(listener.address());
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 "), "{} bytes: {answer}", head.len());
        assert_probes_are_answered(listener.address());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_wait_for_events_leave_connections_to_the_probes() {
    let _turn = together().await;
    let listener = Listener::start().await;
    let last = send(listener.address(), "GET /admin/events", LOCAL, "").json()["last"].clone();
    let head = format!("GET /admin/events?after={last}&wait=30 HTTP/1.1\r\n{LOCAL}\r\n");
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let mut stream = connect(listener.address());
        stream.write_all(head.as_bytes()).unwrap();
        waiting.push(stream);
    }
    assert_probes_are_answered(listener.address());
}
