use super::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

fn after_preface() -> Frames {
    let mut frames = Frames::new();
    for piece in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".chunks(7) {
        frames.receive(piece).unwrap();
    }
    frames
}

fn is_open(frames: &Frames) -> bool {
    !frames.open.is_empty()
}

#[test]
fn a_stream_is_open_until_either_side_resets_it_or_the_last_byte_of_its_response_is_written() {
    type End = fn(&mut Frames);
    let ends: [(&str, End); 4] = [
        ("reset by the client", |frames| {
            frames.receive(&frame(RST_STREAM, 0, &[0; 4])).unwrap();
        }),
        ("reset by graphward", |frames| {
            frames.send(&frame(RST_STREAM, 0, &[0; 4]));
        }),
        ("no body", |frames| {
            frames.send(&frame(HEADERS, 5, &[0; 10]));
        }),
        ("a body", |frames| {
            frames.send(&frame(HEADERS, 4, &[0; 10]));
            frames.send(&frame(DATA, 0, b"x"));
            assert!(is_open(frames));
            frames.send(&frame(DATA, END_STREAM, &[]));
        }),
    ];
    for (what, end) in ends {
        let mut frames = after_preface();
        let head = [frame(HEADERS, 0, &[0; 40]), frame(CONTINUATION, END_HEADERS, &[0; 40])].concat();
        let (last, half) = head.split_last().unwrap();
        frames.receive(half).unwrap();
        assert!(!is_open(&frames), "{what}");
        frames.receive(&[*last]).unwrap();
        frames.receive(&frame(DATA, END_STREAM, b"x")).unwrap();
        assert!(is_open(&frames), "{what}");
        end(&mut frames);
        assert!(!is_open(&frames), "{what}");
        frames.receive(&frame(HEADERS, 5, &[0; 40])).unwrap();
        assert!(!is_open(&frames), "trailers open no stream: {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_carry_nothing_are_a_flood_however_the_bytes_come() {
    for (what, frame) in [
        ("PING", frame(6, 0, &[7; 8])),
        ("PING ACK", frame(6, 1, &[7; 8])),
        ("SETTINGS", frame(4, 0, &[])),
        ("WINDOW_UPDATE", frame(8, 0, &[0, 0, 0, 1])),
        ("PRIORITY", frame(2, 0, &[0; 5])),
        ("unknown", frame(99, 0, &[0; 300])),
        ("empty DATA", frame(DATA, 0, &[])),
        ("padding", frame(DATA, PADDED, &[2, 0, 0])),
    ] {
        for pieces in [1, 5, 9, 100, 16_000] {
            let mut frames = after_preface();
            let flood = frame.repeat(1_001);
            let (last, rest) = flood.split_last().unwrap();
            let head = rest.len() - frame.len() + 8;
            let (allowed, end) = rest.split_at(head);
            assert!(
                allowed.chunks(pieces).all(|piece| frames.receive(piece).is_ok()),
                "{what}"
            );
            let end = [end, &[*last]].concat();
            assert!(end.chunks(pieces).any(|piece| frames.receive(piece).is_err()), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_clients_send_for_their_requests_and_responses_is_no_flood() {
    let mut frames = after_preface();
    for _ in 0..10_000 {
        frames.receive(&frame(HEADERS, 4, &[0; 40])).unwrap();
        frames.receive(&frame(DATA, 0, &[0; 10])).unwrap();
        frames.receive(&frame(DATA, 1, &[])).unwrap();
        frames.receive(&frame(6, 0, &[0; 8]).repeat(8)).unwrap();
        for _ in 0..5 {
            frames.send(&frame(DATA, 0, b"x"));
            frames.receive(&frame(8, 0, &[0, 0, 0, 1]).repeat(2)).unwrap();
        }
    }
    for _ in 0..10_000 {
        tokio::time::advance(Duration::from_millis(500)).await;
        frames.receive(&frame(6, 0, &[0; 8]).repeat(4)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_updates_its_windows_for_each_4_kib_of_a_download_is_no_flood() {
    let mut frames = after_preface();
    for _ in 0..10_000 {
        frames.send(&frame(DATA, 0, &[0; 16 * 1024]));
        frames.receive(&frame(8, 0, &[0, 0, 0x10, 0]).repeat(2 * 4)).unwrap();
    }
}
