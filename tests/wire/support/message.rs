//! HTTP/1 as bytes: heads, and the bodies after them.

use std::io::Read;

/// Reads messages from a stream and keeps the remaining bytes for the next one.
pub(crate) struct Reader<S> {
    pub(crate) stream: S,
    pub(crate) buffer: Vec<u8>,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl<S: Read> Reader<S> {
    pub(crate) fn new(stream: S) -> Self {
        let buffer = Vec::new();
        Self { stream, buffer }
    }

    /// Reads a head with its empty line; `None` if the stream ends before.
    pub(crate) fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                return Some(self.buffer.drain(..end + 4).collect());
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    /// Reads a body; returns whether it is complete.
    pub(crate) fn body(&mut self, framing: Framing) -> (Vec<u8>, bool) {
        match framing {
            Framing::Length(length) => {
                let whole = self.fill(length);
                let length = length.min(self.buffer.len());
                (self.buffer.drain(..length).collect(), whole)
            }
            Framing::Chunked => self.chunks(),
            Framing::UntilClose => {
                let clean = loop {
                    let before = self.buffer.len();
                    match self.read() {
                        Ok(0) => break true,
                        Ok(_) => assert!(self.buffer.len() > before),
                        Err(_) => break false,
                    }
                };
                (std::mem::take(&mut self.buffer), clean)
            }
        }
    }

    fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.line() else {
                return (body, false);
            };
            let text = String::from_utf8_lossy(&line).into_owned();
            let size = text.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).unwrap_or(usize::MAX);
            if size == 0 {
                // Trailers, then the empty line.
                while self.line().is_some_and(|line| !line.is_empty()) {}
                return (body, true);
            }
            if size == usize::MAX || !self.fill(size + 2) {
                return (body, false);
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return Some(line);
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    fn fill(&mut self, length: usize) -> bool {
        while self.buffer.len() < length {
            if !self.read_more() {
                return false;
            }
        }
        true
    }

    fn read_more(&mut self) -> bool {
        matches!(self.read(), Ok(read) if read > 0)
    }

    /// Reads once into the buffer.
    pub(crate) fn read(&mut self) -> std::io::Result<usize> {
        let mut space = [0; 64 * 1024];
        let read = self.stream.read(&mut space)?;
        self.buffer.extend_from_slice(&space[..read]);
        Ok(read)
    }
}

/// The values of a header, in order.
pub(crate) fn values(head: &[u8], name: &str) -> Vec<Vec<u8>> {
    lines(head)
        .skip(1)
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (field, value) = line.split_at(colon);
            field
                .eq_ignore_ascii_case(name.as_bytes())
                .then(|| value[1..].trim_ascii().to_vec())
        })
        .collect()
}

/// The only value of a header, as text.
pub(crate) fn value(head: &[u8], name: &str) -> Option<String> {
    let values = values(head, name);
    assert!(values.len() < 2, "{name}: {values:?}");
    values.first().map(|value| String::from_utf8_lossy(value).into_owned())
}

/// The first line of a head.
pub(crate) fn first_line(head: &[u8]) -> String {
    String::from_utf8_lossy(lines(head).next().unwrap_or_default()).into_owned()
}

/// The framing of the body, if the head states it.
pub(crate) fn framing(head: &[u8]) -> Option<Framing> {
    if !values(head, "transfer-encoding").is_empty() {
        return Some(Framing::Chunked);
    }
    let length = value(head, "content-length")?;
    Some(Framing::Length(length.parse().unwrap()))
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}
