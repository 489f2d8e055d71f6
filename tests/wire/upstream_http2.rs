//! What an HTTP/2 origin may send, valid or not, and what the app gets of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::support::client::{RawResponse, get, post_request, round_trip};
use super::support::h2c::{self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM};
use super::support::raw_h2_origin::RawH2Origin;
use super::support::{TIMEOUT, TestProxy, wait_until};

/// How often a case is tried whose frames may arrive together or apart.
const ROUNDS: usize = 20;

fn post(address: SocketAddr, length: usize) -> RawResponse {
    round_trip(address, post_request("/messages", &"a".repeat(length)))
}

#[test]
fn a_connection_on_which_nothing_comes_any_more_is_left_after_half_a_minute() {
    let origin = RawH2Origin::start(|peer| {
        peer.settings(None);
        if peer.connection == 0 {
            let stream = peer.request()?;
            peer.answer(stream);
            // It stays open, and nothing is read or written.
            thread::sleep(2 * TIMEOUT);
        }
        loop {
            let stream = peer.request()?;
            peer.answer(stream);
        }
    });
    let graphward = TestProxy::start(origin.port);
    let address = graphward.proxy;
    assert_eq!(get(address, "/me").status, 200);
    let posted = thread::spawn(move || post(address, 5));
    let response = get(address, "/me");
    assert_eq!(response.status, 200, "sent once more, on another connection");
    posted.join().unwrap().assert_refused(502, "connection_terminated");
    assert_eq!((origin.connections(), origin.requests()), (2, 2));
}

#[test]
fn a_whole_response_to_an_upload_that_the_origin_ends_with_no_error_is_delivered() {
    let origin = RawH2Origin::start(|peer| {
        peer.settings(None);
        loop {
            let stream = peer.head()?;
            peer.respond(stream, "413", &[]);
            peer.send(DATA, END_STREAM, stream, b"big");
            peer.send(RST_STREAM, 0, stream, &[0; 4]);
        }
    });
    let graphward = TestProxy::start(origin.port);
    for round in 0..ROUNDS {
        let response = post(graphward.proxy, 900_000);
        assert_eq!((response.status, response.text().as_str()), (413, "big"), "{round}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_response_without_a_length_that_is_reset_is_not_whole() {
    for code in [0, 2, 8] {
        let origin = RawH2Origin::start(move |peer| {
            peer.settings(None);
            loop {
                let stream = peer.request()?;
                peer.respond(stream, "200", &[]);
                peer.send(DATA, 0, stream, b"hello");
                peer.send(RST_STREAM, 0, stream, &[0, 0, 0, code]);
            }
        });
        let graphward = TestProxy::start(origin.port);
        for round in 0..ROUNDS {
            let response = post(graphward.proxy, 5);
            assert_eq!((response.status, response.complete), (200, false), "{code}, {round}");
            assert_eq!(response.text(), "hello", "{code}, {round}");
        }
    }
}

#[test]
fn a_response_that_has_not_its_declared_length_breaks_off_after_its_head() {
    let cases: &[(&str, &[&str])] = &[("10", &["hello"]), ("10", &["hello", ""]), ("3", &["hello"])];
    for (length, parts) in cases {
        for status in ["200", "400"] {
            let origin = RawH2Origin::start(move |peer| {
                peer.settings(None);
                loop {
                    let stream = peer.request()?;
                    peer.respond(stream, status, &[("content-length", length)]);
                    for (number, part) in parts.iter().enumerate() {
                        let flags = if number + 1 == parts.len() { END_STREAM } else { 0 };
                        peer.send(DATA, flags, stream, part.as_bytes());
                    }
                }
            });
            let graphward = TestProxy::start(origin.port);
            for round in 0..ROUNDS {
                let response = post(graphward.proxy, 5);
                let case = format!("{status}, {length}, {parts:?}, {round}: {response:?}");
                match status {
                    "200" => assert!(response.status == 200 && !response.complete, "{case}"),
                    _ => assert!(response.status == 502 && response.text().contains("990017"), "{case}"),
                }
            }
            assert_eq!(origin.requests(), ROUNDS, "{status}, {length}, {parts:?}");
        }
    }
}

#[test]
fn what_comes_after_the_declared_length_does_not_matter() {
    for status in ["200", "400"] {
        let origin = RawH2Origin::start(move |peer| {
            peer.settings(None);
            loop {
                let stream = peer.request()?;
                peer.respond(stream, status, &[("content-length", "5")]);
                peer.send(DATA, 0, stream, b"hello");
                // INTERNAL_ERROR
                peer.send(RST_STREAM, 0, stream, &[0, 0, 0, 2]);
            }
        });
        let graphward = TestProxy::start(origin.port);
        for round in 0..ROUNDS {
            let response = post(graphward.proxy, 5);
            assert!(response.complete && response.text() == "hello", "{round}: {response:?}");
            assert_eq!(response.status.to_string(), status, "{round}");
        }
    }
}

#[test]
fn informational_responses_are_passed_over() {
    let origin = RawH2Origin::start(|peer| {
        peer.settings(None);
        loop {
            let stream = peer.request()?;
            for status in ["100", "103", "103"] {
                peer.respond(stream, status, &[("link", "</style.css>")]);
            }
            peer.answer(stream);
        }
    });
    let graphward = TestProxy::start(origin.port);
    for round in 1..=ROUNDS {
        let response = post(graphward.proxy, 5);
        assert_eq!((response.status, response.text().as_str()), (200, "5"));
        assert!(response.field("link").is_none(), "{response:?}");
        assert_eq!(origin.requests(), round);
    }
}

#[test]
fn the_head_of_a_response_may_come_in_continuation_frames() {
    let origin = RawH2Origin::start(|peer| {
        peer.settings(None);
        loop {
            let stream = peer.request()?;
            let values: Vec<_> = (0..8)
                .map(|number| (format!("x-{number}"), "v".repeat(8 * 1024)))
                .collect();
            let mut fields: Vec<(&[u8], &[u8])> = vec![(b":status", b"200")];
            fields.extend(values.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            let block = h2c::block(&fields);
            let mut parts = block.chunks(16 * 1024).peekable();
            let mut kind = HEADERS;
            while let Some(part) = parts.next() {
                let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
                peer.send(kind, flags, stream, part);
                kind = CONTINUATION;
            }
            peer.send(DATA, END_STREAM, stream, b"x");
        }
    });
    let graphward = TestProxy::start(origin.port);
    let response = get(graphward.proxy, "/me");
    assert_eq!((response.status, response.text().as_str()), (200, "x"));
    for number in 0..8 {
        let value = response.field(&format!("x-{number}")).unwrap_or_default();
        assert_eq!(value.len(), 8 * 1024, "x-{number}");
    }
}

#[test]
fn the_number_of_streams_follows_the_settings_of_the_origin() {
    let held = AtomicUsize::new(0);
    let origin = RawH2Origin::start(move |peer| {
        if peer.connection == 0 {
            peer.settings(None);
            let stream = peer.request()?;
            peer.settings(Some(1));
            peer.answer(stream);
        } else {
            peer.settings(Some(1));
        }
        let stream = peer.request()?;
        held.fetch_add(1, Ordering::SeqCst);
        wait_until(|| held.load(Ordering::SeqCst) == 3);
        peer.answer(stream);
        let stream = peer.request()?;
        peer.settings(Some(100));
        peer.answer(stream);
        let streams = [(); 5].map(|()| peer.request());
        for stream in streams {
            peer.answer(stream?);
        }
        Some(())
    });
    let graphward = TestProxy::start(origin.port);
    let address = graphward.proxy;
    let at_once = |count: usize| {
        let requests: Vec<_> = (0..count)
            .map(|_| thread::spawn(move || get(address, "/me").status))
            .collect();
        for request in requests {
            assert_eq!(request.join().unwrap(), 200);
        }
    };
    at_once(1);
    // The limit is one now: each is on a connection of its own.
    at_once(3);
    assert_eq!(origin.connections(), 3);
    // The first connection raises its limit again, and takes all.
    at_once(1);
    at_once(5);
    assert_eq!((origin.connections(), origin.requests()), (3, 10));
}

#[test]
fn an_upload_above_the_last_identifier_of_goaway_is_sent_whole_on_another_connection() {
    let origin = RawH2Origin::start(|peer| {
        peer.settings(None);
        if peer.connection == 0 {
            peer.part()?;
            // No stream was processed.
            peer.send(GOAWAY, 0, 0, &[0; 8]);
            return Some(());
        }
        let stream = peer.request()?;
        peer.answer(stream);
        Some(())
    });
    let graphward = TestProxy::start(origin.port);
    let response = post(graphward.proxy, 900_000);
    assert_eq!((response.status, response.text().as_str()), (200, "900000"));
    assert_eq!((origin.connections(), origin.requests()), (2, 1));
}

#[test]
fn an_upload_that_goaway_includes_is_finished_on_its_connection() {
    let origin = RawH2Origin::start(|peer| {
        peer.settings(None);
        let stream = peer.part()?;
        let mut last = [0; 8];
        last[..4].copy_from_slice(&stream.to_be_bytes());
        peer.send(GOAWAY, 0, 0, &last);
        let stream = peer.request()?;
        peer.answer(stream);
        Some(())
    });
    let graphward = TestProxy::start(origin.port);
    for round in 1..=3 {
        let response = post(graphward.proxy, 900_000);
        assert_eq!((response.status, response.text().as_str()), (200, "900000"));
        // The next one is on a new connection.
        assert_eq!((origin.connections(), origin.requests()), (round, round));
    }
}
