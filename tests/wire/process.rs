//! The process: what it reveals, the memory it uses, and how it stops under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::support::client::{get, get_request, post_request};
use super::support::h2c::Outcome;
use super::support::{
    Client, ConnectionAction, H2c, Origin, ProxyConfig, ProxyProcess, TOKEN, contains, occurrences, sleep_millis,
    wait_until,
};

#[test]
fn no_core_dump_no_argument_and_no_variable_holds_the_token() {
    let origin = Origin::plain("x");
    let setup = ProxyConfig {
        log: "level = \"trace\"\nrequests = \"all\"",
        ..ProxyConfig::default()
    };
    let process = ProxyProcess::start(origin.port, setup, "");
    assert_eq!(get(process.proxy, "/r?access_token=EAAGold").status, 200);
    let limits = process.proc("limits");
    let line = limits.lines().find(|line| line.starts_with("Max core file size"));
    let fields: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(fields[4..6], ["0", "0"], "{limits}");
    for name in ["cmdline", "environ"] {
        assert!(!contains(process.proc(name).as_bytes(), TOKEN.as_bytes()), "{name}");
    }
    // The files in /proc of a process that may not be dumped belong to root, whichever user started it.
    let owner = std::fs::metadata(format!("/proc/{}/environ", process.id())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    // The log record is written after the response.
    let recorded = || process.stdout().contains("\"outcome\":\"delivered\"");
    assert!(wait_until(recorded));
    let log = process.stdout();
    for part in [TOKEN, &TOKEN[..12], "EAAGold"] {
        assert!(!log.contains(part), "{log}");
    }
}

#[test]
fn after_a_rotation_and_a_thousand_requests_little_is_left_of_the_old_token() {
    let origin = Origin::plain("x");
    let process = ProxyProcess::start(origin.port, ProxyConfig::default(), "");
    let mut client = Client::connect(process.proxy);
    for _ in 0..200 {
        assert_eq!(client.round_trip(get_request("/old")).status, 200);
    }
    assert_eq!(copies_in_memory(&process, TOKEN).map(|copies| copies > 0), Some(true));
    let fresh = TOKEN.replace("wire", "next");
    std::fs::write(process.dir.path().join("token"), &fresh).unwrap();
    let rotated = wait_until(|| {
        client.round_trip(get_request("/which"));
        let seen = origin.take();
        contains(&seen.last().unwrap().head, fresh.as_bytes())
    });
    assert!(rotated);
    for number in 0..1_000 {
        let path = format!("/new/{}", "a".repeat(number));
        assert_eq!(client.round_trip(get_request(&path)).status, 200);
    }
    let left = copies_in_memory(&process, TOKEN).unwrap();
    assert!(left <= 32, "{left} copies of the old token");
}

/// The number of copies of a text in the writable memory of the process, which its parent or root may read.
fn copies_in_memory(process: &ProxyProcess, text: &str) -> Option<usize> {
    use std::os::unix::fs::FileExt as _;
    let maps = process.proc("maps");
    let memory = std::fs::File::open(format!("/proc/{}/mem", process.id())).ok()?;
    let mut copies = 0;
    for map in maps.lines().filter(|map| map.contains(" rw")) {
        let (range, _rest) = map.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        let mut bytes = vec![0; usize::try_from(end - start).ok()?];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            copies += occurrences(&bytes, text.as_bytes());
        }
    }
    Some(copies)
}

#[test]
fn without_free_descriptors_it_waits_without_spinning_and_recovers() {
    let origin = Origin::plain("x");
    let process = ProxyProcess::start(origin.port, ProxyConfig::default(), "ulimit -n 64;");
    assert_eq!(get(process.proxy, "/before").status, 200);
    let many_clients: Vec<Client> = (0..90).map(|_| Client::connect(process.proxy)).collect();
    assert!(wait_until(|| process.stdout().contains("cannot accept connections")));
    sleep_millis(300);
    let before = process.cpu_ticks();
    sleep_millis(2_000);
    let spent = process.cpu_ticks() - before;
    assert!(spent < 20, "{spent} hundredths of a second in two seconds");
    drop(many_clients);
    assert!(wait_until(|| get(process.proxy, "/after").status == 200));
}

#[test]
fn a_stop_under_load_finishes_every_request_in_flight() {
    let (started, stopping) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counter, stops) = (Arc::clone(&started), Arc::clone(&stopping));
    let origin = Origin::scripted(move |exchange| {
        exchange.read_body();
        counter.fetch_add(1, Ordering::SeqCst);
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        wait_until(|| stops.load(Ordering::SeqCst));
        exchange.write("half");
        ConnectionAction::KeepAlive
    });
    let mut process = ProxyProcess::start(origin.port, ProxyConfig::default(), "");
    let proxy = process.proxy;
    let mut http2 = H2c::connect(proxy);
    http2.request(1, &super::support::h2c::request_fields(b"GET", b"/h2"));
    let load: Vec<_> = (0..12)
        .map(|_| thread::spawn(move || Client::connect(proxy).round_trip(post_request("/h1", "hello"))))
        .collect();
    assert!(wait_until(|| started.load(Ordering::SeqCst) == 13));
    process.terminate();
    // graphward answers this one itself: with 421 before the stop.
    let told = || Client::connect(proxy).round_trip("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert!(wait_until(|| told().status == 503));
    stopping.store(true, Ordering::SeqCst);
    for request in load {
        let response = request.join().unwrap();
        assert_eq!(
            (response.status, response.text().as_str(), response.complete),
            (200, "halfhalf", true)
        );
    }
    let mut goaway = false;
    let mut body = Vec::new();
    while let Some(frame) = http2.next() {
        goaway |= frame.kind == super::support::h2c::GOAWAY;
        if frame.kind == super::support::h2c::DATA {
            body.extend(frame.payload);
        }
    }
    assert!(goaway, "HTTP/2 clients get GOAWAY");
    assert_eq!(body, b"halfhalf");
    assert_eq!(process.wait_exit().code(), Some(0));
    assert!(std::net::TcpStream::connect(proxy).is_err());
}

#[test]
fn a_slow_reader_of_a_large_response_costs_little_memory() {
    let piece = "a".repeat(1024 * 1024);
    let origin = Origin::scripted(move |exchange| {
        exchange.read_body();
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 192 << 20));
        let sent = (0..192).take_while(|_| exchange.write(&piece)).count();
        assert!(sent < 192, "the proxy read all of it");
        ConnectionAction::Reset
    });
    let process = ProxyProcess::start(origin.port, ProxyConfig::default(), "");
    let before = process.resident_kib();
    let mut slow: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = Client::connect(process.proxy);
            client.send(get_request("/large"));
            client
        })
        .collect();
    let mut http2 = H2c::connect(process.proxy);
    http2.request(1, &super::support::h2c::request_fields(b"GET", b"/large"));
    assert!(slow.iter_mut().all(Client::reads_head));
    sleep_millis(700);
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for three slow readers");
}

#[test]
fn a_slow_upload_occupies_no_connection_to_the_origin() {
    let origin = Origin::plain("x");
    let process = ProxyProcess::start(origin.port, ProxyConfig::default(), "");
    let mut slow = Client::connect(process.proxy);
    slow.send("POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na");
    sleep_millis(100);
    assert_eq!(origin.connections(), 0);
    assert_eq!(
        H2c::connect(process.proxy).get(1, "/other"),
        Outcome::Status(200, b"x".to_vec())
    );
    slow.send("bc");
    assert_eq!(slow.response().status, 200);
    assert_eq!(origin.take().last().unwrap().body, b"abc");
}
