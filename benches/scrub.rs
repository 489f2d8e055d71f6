//! How fast bodies are searched for credentials and cleaned, and responses to batches read, in megabytes a second.
//!
//! ```text
//! cargo bench --bench scrub [-- --quick]
//! ```
//!
//! # Why
//!
//! Times differ between machines and minutes, so nothing fails here: compare two runs on one idle machine.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this is a bench: it prints, and what should not happen ends it"
)]

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use graphward::graph::{
    BodyFormat, ClientCredentialPolicy, ScrubMode, ScrubRules, Scrubber, SignPolicy, find_batch_rejection, scrub,
};
use tokio::time::Instant;

const RULES: ScrubRules = ScrubRules::new(ClientCredentialPolicy::Replace, SignPolicy::Read);
const CHUNK_BYTES: usize = 64 * 1024;

fn main() {
    let repeats = if std::env::args().any(|argument| argument == "--quick") {
        1
    } else {
        7
    };
    let message = r#"{"messaging_product":"whatsapp","to":"4915112345678","type":"text","text":{"body":"Order 1234"}"#;
    let items = |count: usize| -> String {
        let item = |number| format!(r#"{{"id":"{number}","text":"y\u00e9","n":[1,2,{{"a":"b"}}]}},"#);
        (0..count).map(item).collect()
    };
    let members: String = (0..6_000)
        .map(|number| format!(r#""field_{number}":"value","#))
        .collect();
    let batch: String = (0..50)
        .map(|number| format!(r#"{{"method":"GET","relative_url":"{number}?access_token=EAAG&fields=id"}},"#))
        .collect();
    let parameters: String = (0..5_000).map(|number| format!("field_{number}=y+%26value&")).collect();
    let part =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let file = part("file\"; filename=\"a.bin", &"a file \r\n of lines".repeat(12_000));
    let multipart = BodyFormat::Multipart {
        boundary: Box::from(&b"b"[..]),
    };
    println!("{:36}{:>9}{:>8}", "", "bytes", "MB/s");
    for (name, format, body) in [
        ("JSON, a message", &BodyFormat::Json, format!("{message}}}")),
        (
            "JSON, a message with a token",
            &BodyFormat::Json,
            format!(r#"{message},"access_token":"EAAG"}}"#),
        ),
        (
            "JSON, long, with a token",
            &BodyFormat::Json,
            format!(r#"{{"items":[{}0],"access_token":"EAAG"}}"#, items(4_000)),
        ),
        (
            "JSON, many members and a token",
            &BodyFormat::Json,
            format!(r#"{{{members}"access_token":"EAAG"}}"#),
        ),
        (
            "JSON, a batch with tokens",
            &BodyFormat::Json,
            format!(r#"{{"batch":[{batch}null]}}"#),
        ),
        (
            "form, a message",
            &BodyFormat::Form,
            "messaging_product=whatsapp&to=4915112345678&type=text&text=%7B%22body%22%3A%22Order%22%7D".to_owned(),
        ),
        (
            "form, long, with a token",
            &BodyFormat::Form,
            format!("{parameters}access_token=EAAG"),
        ),
        (
            "multipart, a file and a token",
            &multipart,
            format!("{file}{}--b--\r\n", part("access_token", "EAAG")),
        ),
    ] {
        let body = Bytes::from(body);
        let speed = megabytes_a_second(&body, repeats, || {
            black_box(scrub(format, RULES, body.clone()).unwrap());
        });
        println!("{name:36}{:>9}{speed:>8.0}", body.len());
        if let BodyFormat::Multipart { boundary } = format {
            let speed = megabytes_a_second(&body, repeats, || stream(boundary, &body));
            println!("{:36}{:>9}{speed:>8.0}", "the same, as it streams", body.len());
        }
    }
    let item = r#"{"code":200,"headers":[{"name":"ETag","value":"\"1a8b\""}],"body":"{\"id\":\"1\"}"},"#;
    let body = Bytes::from(format!("[{}null]", item.repeat(50)));
    let speed = megabytes_a_second(&body, repeats, || {
        black_box(find_batch_rejection(&body));
    });
    println!("{:36}{:>9}{speed:>8.0}", "the response to a batch", body.len());
}

fn stream(boundary: &[u8], body: &[u8]) {
    let mut scrubber = Scrubber::new(boundary, RULES, ScrubMode::Remove);
    for chunk in body.chunks(CHUNK_BYTES) {
        let mut out = BytesMut::with_capacity(chunk.len());
        scrubber.push(chunk, &mut out).unwrap();
        black_box(&out);
    }
    black_box(scrubber.finish(&mut BytesMut::new()).unwrap());
}

/// The best of some rounds of 8 MB each.
fn megabytes_a_second(body: &Bytes, repeats: usize, mut clean: impl FnMut()) -> f64 {
    const ROUND_BYTES: usize = 8_000_000;
    let count = ROUND_BYTES / body.len() + 1;
    let mut best = Duration::MAX;
    for _ in 0..repeats {
        let began = Instant::now();
        for _ in 0..count {
            clean();
        }
        best = best.min(began.elapsed());
    }
    (body.len() * count) as f64 / best.as_secs_f64() / 1e6
}
