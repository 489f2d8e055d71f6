//! Section 5, HTTP/2: floods and bombs. The proxy keeps running, nothing piles up at the origin, memory stays bounded, and
//! the next connection is served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::h2c::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Outcome, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use super::support::{H2c, Origin, ProxyConfig, ProxyProcess, TestProxy, client, sleep_millis, wait_until};

const ENHANCE_YOUR_CALM: u32 = 11;

fn post() -> Vec<u8> {
    h2c::block(&h2c::request_fields(b"POST", b"/flood"))
}

/// Sends pieces until the proxy accepts no more; returns the number of accepted ones.
fn send_until_refused(client: &mut H2c, pieces: impl Iterator<Item = Vec<u8>>) -> usize {
    pieces.take_while(|piece| client.send(piece)).count()
}

fn is_served(graphward: &TestProxy) -> bool {
    H2c::connect(graphward.proxy).get(1, "/after") == Outcome::Status(200, b"x".to_vec())
}

fn streams() -> impl Iterator<Item = u32> {
    (0..10_000).map(|number| number * 2 + 1)
}

#[test]
fn a_rapid_reset_closes_the_connection_and_few_streams_reach_the_origin() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut client = H2c::connect(graphward.proxy);
    let block = h2c::block(&h2c::request_fields(b"GET", b"/flood"));
    let pairs = streams().map(|stream| {
        let mut pair = h2c::frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        pair.extend(h2c::frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        pair
    });
    let all: Vec<u8> = pairs.flatten().collect();
    client.send(all);
    assert!(matches!(client.goaway(), Some(ENHANCE_YOUR_CALM) | None));
    sleep_millis(50);
    let reached = origin.take().len();
    assert!(
        reached < 300,
        "{reached} of 10,000 cancelled requests reached the origin"
    );
    assert!(is_served(&graphward));
}

#[test]
fn resets_that_a_client_provokes_are_counted_as_its_own() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut client = H2c::connect(graphward.proxy);
    let block = post();
    // MadeYouReset: a window update of zero makes the server reset the stream.
    let pairs = streams().map(|stream| {
        let mut pair = h2c::frame(HEADERS, END_HEADERS, stream, &block);
        pair.extend(h2c::frame(WINDOW_UPDATE, 0, stream, &[0; 4]));
        pair
    });
    let all: Vec<u8> = pairs.flatten().collect();
    client.send(all);
    assert!(matches!(client.goaway(), Some(_) | None));
    sleep_millis(50);
    assert_eq!(origin.take().len(), 0, "a body that never came is no request");
    assert!(is_served(&graphward));
}

#[test]
fn an_endless_header_block_closes_the_connection() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut client = H2c::connect(graphward.proxy);
    client.send(h2c::frame(HEADERS, END_STREAM, 1, &post()));
    let piece = h2c::block(&[(b"x-flood", &[b'a'; 100])]).repeat(100);
    let taken = send_until_refused(&mut client, (0..2_000).map(|_| h2c::frame(CONTINUATION, 0, 1, &piece)));
    assert!(taken < 2_000, "20 MB of one header block were taken");
    let mut client = H2c::connect(graphward.proxy);
    client.send(h2c::frame(HEADERS, END_STREAM, 1, &post()));
    let taken = send_until_refused(
        &mut client,
        (0..100_000).map(|_| h2c::frame(CONTINUATION, 0, 1, &[]).repeat(10)),
    );
    assert!(taken < 100_000, "a million empty pieces of one header block were taken");
    assert_eq!(origin.count(), 0);
    assert!(is_served(&graphward));
}

#[test]
fn an_hpack_bomb_is_refused() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    // One entry of 4,000 bytes goes into the dynamic table and is named 4,000 times: 16 MB from 8 KB.
    let mut bomb = h2c::block(&h2c::request_fields(b"GET", b"/bomb"));
    bomb.push(0x40);
    h2c::text(&mut bomb, b"x-bomb");
    h2c::text(&mut bomb, &[b'a'; 3_900]);
    bomb.extend([0xbe; 4_000]);
    let crumbs: Vec<(&[u8], &[u8])> = (0..4_000).map(|_| (&b"cookie"[..], &b""[..])).collect();
    let mut crumbled = h2c::block(&h2c::request_fields(b"GET", b"/crumbs"));
    crumbled.extend(h2c::block(&crumbs));
    let long = vec![b'a'; 70_000];
    let mut large = h2c::block(&h2c::request_fields(b"GET", b"/large"));
    large.extend(h2c::block(&[(b"x-large", &long)]));
    for (what, block) in [("bomb", bomb), ("crumbs", crumbled), ("large", large)] {
        let mut client = H2c::connect(graphward.proxy);
        let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let first = if number == 0 { END_STREAM } else { 0 };
            let last = if number + 1 == pieces.len() { END_HEADERS } else { 0 };
            client.send(h2c::frame(kind, first | last, 1, piece));
        }
        let outcome = client.outcome(1);
        let refused = !matches!(outcome, Outcome::Status(..400 | 500.., _));
        assert!(refused, "{what}: {outcome:?}");
        assert_eq!(origin.count(), 0, "{what}");
    }
    assert!(is_served(&graphward));
}

#[test]
fn floods_of_small_frames_cost_no_memory() {
    let origin = Origin::plain("x");
    let process = ProxyProcess::start(origin.port, ProxyConfig::default(), "");
    let mut warm = H2c::connect(process.proxy);
    assert_eq!(warm.get(1, "/warm"), Outcome::Status(200, b"x".to_vec()));
    let before = process.resident_kib();
    let open = h2c::frame(HEADERS, END_HEADERS, 1, &post());
    for (what, first, piece) in [
        ("PING", Vec::new(), h2c::frame(PING, 0, 0, &[7; 8])),
        (
            "SETTINGS",
            Vec::new(),
            h2c::frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
        ),
        ("empty DATA", open, h2c::frame(DATA, 0, 1, &[])),
        ("PRIORITY", Vec::new(), h2c::frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("unknown", Vec::new(), h2c::frame(99, 0, 1, &[0; 8])),
    ] {
        // The client reads no response.
        let mut client = H2c::connect(process.proxy);
        client.send(first);
        let many = piece.repeat(1_000);
        send_until_refused(&mut client, (0..200).map(|_| many.clone()));
        let grown = process.resident_kib().saturating_sub(before);
        assert!(grown < 48 * 1024, "{what}: {grown} KiB");
        assert_eq!(
            warm.get(next_stream_after(what), "/after"),
            Outcome::Status(200, b"x".to_vec()),
            "{what}"
        );
    }
    assert_eq!(origin.take().len(), 6, "warm, and once after each flood");
}

/// Floods a connection in rounds, each of which is answered before the next one is sent. Returns the code of its GOAWAY.
fn flood_in_rounds(proxy: SocketAddr, open: &[u8], piece: &[u8]) -> Option<u32> {
    let mut client = H2c::connect(proxy);
    client.send(open);
    client.send(piece.repeat(900));
    let round = [piece.repeat(100), h2c::frame(PING, 0, 0, b"a round!")].concat();
    let answered = |frame: &h2c::Frame| frame.kind == PING && frame.payload == b"a round!";
    loop {
        let is_open = client.send(&round);
        let code = client.goaway_before(answered);
        if code.is_some() || !is_open {
            return code;
        }
    }
}

#[test]
fn a_flood_of_frames_that_carry_nothing_is_cut_and_counted() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let open = h2c::frame(HEADERS, END_HEADERS, 1, &post());
    let floods = [
        ("PING", h2c::frame(PING, 0, 0, &[7; 8])),
        ("PING ACK", h2c::frame(PING, 1, 0, &[7; 8])),
        ("SETTINGS", h2c::frame(SETTINGS, 0, 0, &[])),
        ("WINDOW_UPDATE", h2c::frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        (
            "WINDOW_UPDATE of a stream",
            h2c::frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        ),
        ("PRIORITY", h2c::frame(2, 0, 3, &[0, 0, 0, 0, 1])),
        ("unknown", h2c::frame(99, 0, 1, &[0; 8])),
        ("empty DATA", h2c::frame(DATA, 0, 1, &[])),
        ("padding", h2c::frame(DATA, 8, 1, &[0])),
        ("GOAWAY", h2c::frame(GOAWAY, 0, 0, &[0; 8])),
    ];
    let mut healthy = H2c::connect(graphward.proxy);
    for (stream, (what, piece)) in (1..).step_by(2).zip(&floods) {
        // A connection that is closed with unread bytes is reset, which may destroy its GOAWAY: under load, a try may show none.
        let code = (0..20).find_map(|_| flood_in_rounds(graphward.proxy, &open, piece));
        let code = code.expect(what);
        assert_eq!(code, ENHANCE_YOUR_CALM, "{what}");
        let mut client = H2c::connect(graphward.proxy);
        client.send(&open);
        send_until_refused(&mut client, (0..1_000).map(|_| piece.repeat(100)));
        assert!(matches!(client.goaway(), Some(_) | None), "{what}");
        assert_eq!(
            healthy.get(stream, "/beside"),
            Outcome::Status(200, b"x".to_vec()),
            "{what}"
        );
    }
    let cut = cut_floods(graphward.admin);
    assert!(cut >= 12, "{cut} of {}", 2 * floods.len());
}

fn cut_floods(admin: SocketAddr) -> usize {
    let metrics = client::get(admin, "/metrics").text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("graphward_http2_floods_cut_total"));
    line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn a_flood_that_h2_cuts_is_counted_as_any_other_is() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let get = h2c::block(&h2c::request_fields(b"GET", b"/flood"));
    let post = post();
    let each_stream = |pair: &dyn Fn(u32) -> [Vec<u8>; 2]| streams().flat_map(|stream| pair(stream).concat()).collect();
    let open = |flags, block: &[u8]| h2c::frame(HEADERS, flags, 1, block);
    let bomb = [&get[..], &h2c::block(&[(b"x", &[b'a'; 60])]).repeat(10_000)].concat();
    let bomb_pieces = bomb.chunks(16_000).enumerate().flat_map(|(number, piece)| {
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        h2c::frame(kind, 0, 1, piece)
    });
    let floods: [(&str, Vec<u8>); 5] = [
        (
            "rapid reset",
            each_stream(&|stream| {
                let head = h2c::frame(HEADERS, END_HEADERS | END_STREAM, stream, &get);
                [head, h2c::frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
            }),
        ),
        (
            "provoked resets",
            each_stream(&|stream| {
                let head = h2c::frame(HEADERS, END_HEADERS, stream, &post);
                [head, h2c::frame(WINDOW_UPDATE, 0, stream, &[0x7f, 255, 255, 255])]
            }),
        ),
        (
            "small DATA",
            [open(END_HEADERS, &post), h2c::frame(DATA, 0, 1, b"x").repeat(100_000)].concat(),
        ),
        (
            "empty CONTINUATION",
            [open(0, &post), h2c::frame(CONTINUATION, 0, 1, &[]).repeat(10_000)].concat(),
        ),
        ("a header bomb", bomb_pieces.collect()),
    ];
    for (cut, (what, flood)) in (1..).zip(floods) {
        let mut client = H2c::connect(graphward.proxy);
        client.send(flood);
        assert!(matches!(client.goaway(), Some(ENHANCE_YOUR_CALM) | None), "{what}");
        assert!(wait_until(|| cut_floods(graphward.admin) == cut), "{what}");
        assert!(is_served(&graphward), "{what}");
    }
}

#[test]
fn a_client_with_windows_pings_and_priorities_is_no_flood() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut client = H2c::connect(graphward.proxy);
    let beside = [
        h2c::frame(2, 0, 0x7fff_fff1, &[0, 0, 0, 0, 1]),
        h2c::frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        h2c::frame(PING, 0, 0, &[7; 8]),
        h2c::frame(SETTINGS, 0, 0, &[]),
    ];
    for stream in streams().take(1_000) {
        client.send(beside.concat());
        assert_eq!(client.get(stream, "/"), Outcome::Status(200, b"x".to_vec()), "{stream}");
    }
    assert_eq!(origin.count(), 1_000);
}

/// A new stream of the connection that is not part of the flood.
fn next_stream_after(what: &str) -> u32 {
    let order = ["PING", "SETTINGS", "empty DATA", "PRIORITY", "unknown"];
    let position = order.iter().position(|name| *name == what).unwrap();
    u32::try_from(position).unwrap() * 2 + 3
}

#[test]
fn streams_past_the_limit_are_refused_and_the_others_served() {
    let over = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&over);
    let origin = Origin::scripted(move |exchange| {
        wait_until(|| released.load(Ordering::SeqCst));
        exchange.ok("x")
    });
    let graphward = TestProxy::start(origin.port);
    let mut client = H2c::connect(graphward.proxy);
    let block = h2c::block(&h2c::request_fields(b"GET", b"/many"));
    let all: Vec<u8> = streams()
        .take(400)
        .flat_map(|stream| h2c::frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))
        .collect();
    client.send(all);
    let last = client.outcome(799);
    assert!(
        matches!(last, Outcome::Reset(7) | Outcome::GoAway(_) | Outcome::Closed),
        "{last:?}"
    );
    assert!(origin.count() <= 256, "more than may be under way");
    over.store(true, Ordering::SeqCst);
    assert!(is_served(&graphward));
}
