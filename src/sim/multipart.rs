//! `multipart/form-data`, read as it streams: fields are kept, the file is counted, hashed, and kept if small.

use bytes::{Buf as _, BytesMut};
use memchr::memmem;
use sha2::{Digest as _, Sha256};

use super::call::{Payload, Upload};

/// Files up to this size are kept for download.
pub(super) const KEPT: usize = 8 * 1024 * 1024;

/// A scanner over the body's pieces.
pub(super) struct Multipart {
    /// What precedes a boundary on the wire: `\r\n--boundary`.
    mark: Vec<u8>,
    unread: BytesMut,
    state: State,
    payload: Payload,
    fields: usize,
}

enum State {
    /// Before the first boundary.
    Before,
    /// Right behind a boundary.
    Behind,
    /// In a part's head.
    Head,
    /// In a field.
    Field(String, Vec<u8>),
    /// In a file.
    File(File),
    /// Behind the last boundary.
    End,
}

/// A file, as it passes.
pub(super) struct File {
    filename: Option<String>,
    mime: String,
    size: u64,
    hash: Sha256,
    kept: Option<BytesMut>,
}

/// The body is not what its content type says.
#[derive(Debug)]
pub(super) struct Malformed;

// === impl Multipart ===

impl Multipart {
    /// A scanner, if the content type names a boundary.
    pub(super) fn new(content_type: &str) -> Option<Self> {
        let (kind, params) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(params, "boundary")?;
        Some(Self {
            mark: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary has no line before it. Now it has.
            unread: BytesMut::from("\r\n"),
            state: State::Before,
            payload: Payload {
                multipart: true,
                ..Payload::default()
            },
            fields: 0,
        })
    }

    /// The next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        self.unread.extend_from_slice(piece);
        while self.step()? {}
        Ok(())
    }

    /// What was in it, if it came to its end.
    pub(super) fn finish(self) -> Result<Payload, Malformed> {
        match self.state {
            State::End => Ok(self.payload),
            State::Before | State::Behind | State::Head | State::Field(..) | State::File(_) => {
                Err(Malformed)
            }
        }
    }

    /// Goes as far as what has arrived allows; says whether that led to another state.
    fn step(&mut self) -> Result<bool, Malformed> {
        match &self.state {
            State::Before | State::Field(..) | State::File(_) => self.content(),
            State::Behind => {
                if self.unread.len() < 2 {
                    return Ok(false);
                }
                let two = self.unread.split_to(2);
                self.state = match &*two {
                    b"--" => State::End,
                    b"\r\n" => State::Head,
                    _ => return Err(Malformed),
                };
                Ok(true)
            }
            State::Head => self.head(),
            State::End => {
                self.unread.clear();
                Ok(false)
            }
        }
    }

    /// Takes what is certainly content: all up to the mark, or all but what could be the mark's beginning.
    fn content(&mut self) -> Result<bool, Malformed> {
        let found = memmem::find(&self.unread, &self.mark);
        let certain =
            found.unwrap_or_else(|| (self.unread.len() + 1).saturating_sub(self.mark.len()));
        let content = self.unread.split_to(certain);
        match &mut self.state {
            State::Field(_, text) => {
                self.fields += content.len();
                if self.fields > FIELDS {
                    return Err(Malformed);
                }
                text.extend_from_slice(&content);
            }
            State::File(file) => file.take(&content),
            State::Before | State::Behind | State::Head | State::End => {}
        }
        if found.is_none() {
            return Ok(false);
        }
        self.unread.advance(self.mark.len());
        match std::mem::replace(&mut self.state, State::Behind) {
            State::Field(name, text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                self.payload.fields.push((name, text));
            }
            State::File(file) => self.payload.file = Some(file.upload()),
            State::Before | State::Behind | State::Head | State::End => {}
        }
        Ok(true)
    }

    fn head(&mut self) -> Result<bool, Malformed> {
        let Some(end) = memmem::find(&self.unread, b"\r\n\r\n") else {
            return if self.unread.len() > HEAD {
                Err(Malformed)
            } else {
                Ok(false)
            };
        };
        let head = self.unread.split_to(end + 4);
        let head = String::from_utf8_lossy(&head);
        let line = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let disposition = line("content-disposition").ok_or(Malformed)?;
        let name = parameter(disposition, "name").ok_or(Malformed)?;
        let filename = parameter(disposition, "filename");
        let mime = line("content-type");
        self.state = if name == "file" || filename.is_some() {
            State::File(File {
                filename,
                ..File::raw(mime.unwrap_or_default())
            })
        } else {
            State::Field(name, Vec::new())
        };
        Ok(true)
    }
}

/// All fields together.
const FIELDS: usize = 1024 * 1024;
/// One part's head.
const HEAD: usize = 16 * 1024;

// === impl File ===

impl File {
    /// A file without a name, of which nothing has come yet.
    pub(super) fn raw(mime: &str) -> Self {
        let unknown = "application/octet-stream";
        Self {
            filename: None,
            mime: if mime.is_empty() { unknown } else { mime }.to_owned(),
            size: 0,
            hash: Sha256::new(),
            kept: Some(BytesMut::new()),
        }
    }

    pub(super) fn take(&mut self, content: &[u8]) {
        self.size += content.len() as u64;
        self.hash.update(content);
        match &mut self.kept {
            Some(kept) if kept.len() + content.len() <= KEPT => kept.extend_from_slice(content),
            Some(_) | None => self.kept = None,
        }
    }

    pub(super) fn upload(self) -> Upload {
        Upload {
            filename: self.filename,
            mime: self.mime,
            size: self.size,
            sha256: hex(&self.hash.finalize()),
            bytes: self.kept.map(BytesMut::freeze),
        }
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A header's parameter, quoted or not.
fn parameter(header: &str, name: &str) -> Option<String> {
    header.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\n\
        image/png\r\n--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\nab\r\n--X\r\n\0cd\r\n--XX--\r\nepilogue";

    #[test]
    fn the_result_does_not_depend_on_where_pieces_end() {
        for size in 1..BODY.len() {
            let mut parts = Multipart::new("multipart/form-data; boundary=\"XX\"").unwrap();
            for piece in BODY.chunks(size) {
                parts.push(piece).unwrap();
            }
            let payload = parts.finish().unwrap();
            assert_eq!(
                payload.fields,
                [("type".to_owned(), "image/png".to_owned())]
            );
            let file = payload.file.unwrap();
            assert_eq!(file.bytes.unwrap(), &b"ab\r\n--X\r\n\0cd"[..]);
            assert_eq!(file.filename.unwrap(), "a.png");
            assert_eq!((file.size, file.mime.as_str()), (12, "image/png"));
        }
    }

    #[test]
    fn a_body_without_its_end_is_malformed() {
        let mut parts = Multipart::new("multipart/form-data; boundary=XX").unwrap();
        parts.push(BODY.split_at(BODY.len() - 20).0).unwrap();
        assert!(parts.finish().is_err());
        assert!(Multipart::new("multipart/form-data").is_none());
    }

    #[test]
    fn a_large_file_is_hashed_and_not_kept() {
        let mut parts = Multipart::new("multipart/form-data; boundary=XX").unwrap();
        parts
            .push(b"--XX\r\ncontent-disposition: form-data; name=file\r\n\r\n")
            .unwrap();
        for _ in 0..=KEPT / 65_536 {
            parts.push(&[7; 65_536]).unwrap();
        }
        parts.push(b"\r\n--XX--").unwrap();
        let file = parts.finish().unwrap().file.unwrap();
        assert_eq!(file.size, KEPT as u64 + 65_536);
        assert!(file.bytes.is_none());
    }
}
