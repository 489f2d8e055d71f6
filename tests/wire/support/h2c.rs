//! A client of the proxy that sends HTTP/2 frame by frame, valid or not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::TIMEOUT;
use super::client::BLOCKED_AFTER;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One connection, by default to the proxy.
pub(crate) struct H2c<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

/// A received frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The result of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Status(u16, Vec<u8>),
    Reset(u32),
    GoAway(u32),
    Closed,
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Field<'a> = (&'a [u8], &'a [u8]);

impl<S: Read + Write> H2c<S> {
    pub(super) const fn over(stream: S) -> Self {
        let buffer = Vec::new();
        Self { stream, buffer }
    }

    /// Reads the preface of a client; returns whether it is one.
    pub(super) fn skip_preface(&mut self) -> bool {
        let mut preface = [0; PREFACE.len()];
        self.stream.read_exact(&mut preface).is_ok() && preface == *PREFACE
    }

    /// Sends; returns whether the peer still accepted it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads the next frame; answers SETTINGS and PING.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        while self.buffer.len() < 9 || self.buffer.len() < 9 + length(&self.buffer) {
            let mut space = [0; 64 * 1024];
            match self.stream.read(&mut space) {
                Ok(read) if read > 0 => self.buffer.extend_from_slice(&space[..read]),
                Ok(_) | Err(_) => return None,
            }
        }
        let frame_bytes: Vec<u8> = self.buffer.drain(..9 + length(&self.buffer)).collect();
        let frame = Frame {
            kind: frame_bytes[3],
            flags: frame_bytes[4],
            stream: number(&frame_bytes[5..9]) & 0x7fff_ffff,
            payload: frame_bytes[9..].to_vec(),
        };
        if frame.kind == SETTINGS && frame.flags == 0 {
            self.send(self::frame(SETTINGS, 1, 0, &[]));
        }
        if frame.kind == PING && frame.flags == 0 {
            self.send(self::frame(PING, 1, 0, &frame.payload));
        }
        Some(frame)
    }
}

impl H2c {
    /// Connects with prior knowledge, and without a dynamic table for the responses.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(BLOCKED_AFTER)).unwrap();
        let mut client = Self::over(stream);
        client.send(PREFACE);
        client.send(frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]));
        client
    }

    /// Sends a request without a body.
    pub(crate) fn request(&mut self, stream: u32, fields: &[Field<'_>]) -> bool {
        let block = block(fields);
        self.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block))
    }

    /// Sends a plain `GET` and returns its result.
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> Outcome {
        self.request(stream, &request_fields(b"GET", path.as_bytes()));
        self.outcome(stream)
    }

    /// Reads until the result of this stream is known.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        let (mut status, mut body) = (0, Vec::new());
        while let Some(frame) = self.next() {
            match frame.kind {
                GOAWAY => {
                    let code = number(&frame.payload[4..8]);
                    if code != 0 || number(&frame.payload[..4]) < stream {
                        return Outcome::GoAway(code);
                    }
                }
                RST_STREAM if frame.stream == stream && status == 0 => {
                    return Outcome::Reset(number(&frame.payload));
                }
                HEADERS if frame.stream == stream => status = status_of(&frame.payload),
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => continue,
            }
            if frame.flags & END_STREAM != 0 && frame.stream == stream && status != 0 {
                return Outcome::Status(status, body);
            }
        }
        Outcome::Closed
    }

    /// Reads until GOAWAY, whose error code it returns, or the end.
    pub(crate) fn goaway(&mut self) -> Option<u32> {
        self.goaway_before(|_frame| false)
    }

    /// The same; it ends at this frame, too.
    pub(crate) fn goaway_before(&mut self, is_last: impl Fn(&Frame) -> bool) -> Option<u32> {
        while let Some(frame) = self.next().filter(|frame| !is_last(frame)) {
            if frame.kind == GOAWAY {
                return Some(number(&frame.payload[4..8]));
            }
        }
        None
    }
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literal fields, never indexed.
pub(crate) fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0x10);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

/// An HPACK string without Huffman coding.
pub(crate) fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    if let Some(mut rest) = text.len().checked_sub(127) {
        bytes.push(127);
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).unwrap());
    } else {
        bytes.push(u8::try_from(text.len()).unwrap());
    }
    bytes.extend_from_slice(text);
}

/// The fields of a valid request.
pub(crate) fn request_fields<'a>(method: &'a [u8], path: &'a [u8]) -> Vec<Field<'a>> {
    vec![
        (b":method", method),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
        (b":path", path),
    ]
}

fn length(bytes: &[u8]) -> usize {
    usize::try_from(number(&[0, bytes[0], bytes[1], bytes[2]])).unwrap()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// `:status` is the first field of every response.
fn status_of(block: &[u8]) -> u16 {
    // A change of the table's size may stand before it.
    let mut block = block;
    while block.first().is_some_and(|first| first & 0xe0 == 0x20) {
        block = &block[1..];
    }
    match block[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        _ if block[1] & 0x80 == 0 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        _ => huffman_digits(&block[2..]),
    }
}

/// Three digits in HPACK's Huffman code: 0, 1 and 2 have five bits, the others six.
fn huffman_digits(coded: &[u8]) -> u16 {
    let mut bits = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u16::from((byte >> bit) & 1)));
    (0..3).fold(0, |number, _| {
        let five = bits.by_ref().take(5).fold(0, |code, bit| code << 1 | bit);
        let digit = match five {
            0..=2 => five,
            _ => (five << 1 | bits.next().unwrap()) - 0x16,
        };
        number * 10 + digit
    })
}
