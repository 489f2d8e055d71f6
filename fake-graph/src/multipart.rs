//! `multipart/form-data`, read as it streams: fields are kept, the file is counted, hashed, and kept if small.

use bytes::{Buf as _, BytesMut};
use memchr::memmem;
use sha2::{Digest as _, Sha256};

use crate::call::{ParsedBody, UploadedFile};
use crate::digest::to_hex;

/// Files up to this size are kept for download.
pub(crate) const MAX_KEPT_FILE_BYTES: usize = 8 * 1024 * 1024;

/// A scanner over the body's pieces.
pub(crate) struct MultipartParser {
    /// What precedes a boundary on the wire: `\r\n--boundary`.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: ParserState,
    payload: ParsedBody,
    field_bytes: usize,
}

enum ParserState {
    /// Before the first boundary.
    Preamble,
    /// Right behind a boundary.
    AfterBoundary,
    /// In a part's head.
    PartHeaders,
    /// In a field.
    Field(String, Vec<u8>),
    /// In a file.
    File(FilePart),
    /// Behind the last boundary.
    End,
}

/// A file, as it passes.
pub(crate) struct FilePart {
    filename: Option<String>,
    mime: String,
    size: u64,
    hash: Sha256,
    content: Option<BytesMut>,
}

/// The body is not what its content type says.
#[derive(Debug)]
pub(crate) struct MalformedMultipart;

// === impl Multipart ===

impl MultipartParser {
    /// A scanner, if the content type names a boundary.
    pub(crate) fn new(content_type: &str) -> Option<Self> {
        let (kind, params) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = header_parameter(params, "boundary")?;
        Some(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary has no line before it. Now it has.
            buffer: BytesMut::from("\r\n"),
            state: ParserState::Preamble,
            payload: ParsedBody {
                multipart: true,
                ..ParsedBody::default()
            },
            field_bytes: 0,
        })
    }

    /// The next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), MalformedMultipart> {
        self.buffer.extend_from_slice(piece);
        while self.step()? {}
        Ok(())
    }

    /// What was in it, if it came to its end.
    pub(crate) fn finish(self) -> Result<ParsedBody, MalformedMultipart> {
        match self.state {
            ParserState::End => Ok(self.payload),
            ParserState::Preamble
            | ParserState::AfterBoundary
            | ParserState::PartHeaders
            | ParserState::Field(..)
            | ParserState::File(_) => Err(MalformedMultipart),
        }
    }

    /// Goes as far as what has arrived allows; says whether that led to another state.
    fn step(&mut self) -> Result<bool, MalformedMultipart> {
        match &self.state {
            ParserState::Preamble | ParserState::Field(..) | ParserState::File(_) => self.read_content(),
            ParserState::AfterBoundary => {
                if self.buffer.len() < 2 {
                    return Ok(false);
                }
                let two = self.buffer.split_to(2);
                self.state = match &*two {
                    b"--" => ParserState::End,
                    b"\r\n" => ParserState::PartHeaders,
                    _ => return Err(MalformedMultipart),
                };
                Ok(true)
            }
            ParserState::PartHeaders => self.read_part_headers(),
            ParserState::End => {
                self.buffer.clear();
                Ok(false)
            }
        }
    }

    /// Takes what is certainly content: all up to the mark, or all but what could be the mark's beginning.
    fn read_content(&mut self) -> Result<bool, MalformedMultipart> {
        let found = memmem::find(&self.buffer, &self.delimiter);
        let content_length = found.unwrap_or_else(|| (self.buffer.len() + 1).saturating_sub(self.delimiter.len()));
        let content = self.buffer.split_to(content_length);
        match &mut self.state {
            ParserState::Field(_, text) => {
                self.field_bytes += content.len();
                if self.field_bytes > MAX_FIELD_BYTES {
                    return Err(MalformedMultipart);
                }
                text.extend_from_slice(&content);
            }
            ParserState::File(file) => file.append(&content),
            ParserState::Preamble | ParserState::AfterBoundary | ParserState::PartHeaders | ParserState::End => {}
        }
        if found.is_none() {
            return Ok(false);
        }
        self.buffer.advance(self.delimiter.len());
        match std::mem::replace(&mut self.state, ParserState::AfterBoundary) {
            ParserState::Field(name, text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                self.payload.fields.push((name, text));
            }
            ParserState::File(file) => self.payload.file = Some(file.into_uploaded_file()),
            ParserState::Preamble | ParserState::AfterBoundary | ParserState::PartHeaders | ParserState::End => {}
        }
        Ok(true)
    }

    fn read_part_headers(&mut self) -> Result<bool, MalformedMultipart> {
        let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") else {
            return if self.buffer.len() > MAX_PART_HEADER_BYTES {
                Err(MalformedMultipart)
            } else {
                Ok(false)
            };
        };
        let head = self.buffer.split_to(end + 4);
        let head = String::from_utf8_lossy(&head);
        let line = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let disposition = line("content-disposition").ok_or(MalformedMultipart)?;
        let name = header_parameter(disposition, "name").ok_or(MalformedMultipart)?;
        let filename = header_parameter(disposition, "filename");
        let mime = line("content-type");
        self.state = if name == "file" || filename.is_some() {
            ParserState::File(FilePart {
                filename,
                ..FilePart::unnamed(mime.unwrap_or_default())
            })
        } else {
            ParserState::Field(name, Vec::new())
        };
        Ok(true)
    }
}

/// All fields together.
const MAX_FIELD_BYTES: usize = 1024 * 1024;
/// One part's head.
const MAX_PART_HEADER_BYTES: usize = 16 * 1024;

// === impl File ===

impl FilePart {
    /// A file without a name, of which nothing has come yet.
    pub(crate) fn unnamed(mime: &str) -> Self {
        let unknown = "application/octet-stream";
        Self {
            filename: None,
            mime: if mime.is_empty() { unknown } else { mime }.to_owned(),
            size: 0,
            hash: Sha256::new(),
            content: Some(BytesMut::new()),
        }
    }

    pub(crate) fn append(&mut self, content: &[u8]) {
        self.size += content.len() as u64;
        self.hash.update(content);
        match &mut self.content {
            Some(kept) if kept.len() + content.len() <= MAX_KEPT_FILE_BYTES => {
                kept.extend_from_slice(content);
            }
            Some(_) | None => self.content = None,
        }
    }

    pub(crate) fn into_uploaded_file(self) -> UploadedFile {
        UploadedFile {
            filename: self.filename,
            mime: self.mime,
            size: self.size,
            sha256: to_hex(&self.hash.finalize()),
            bytes: self.content.map(BytesMut::freeze),
        }
    }
}

/// A header's parameter, quoted or not.
fn header_parameter(header: &str, name: &str) -> Option<String> {
    header.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\n\
        image/png\r\n--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\nab\r\n--X\r\n\0cd\r\n--XX--\r\nepilogue";

    #[test]
    fn the_result_does_not_depend_on_where_pieces_end() {
        for size in 1..BODY.len() {
            let mut parts = MultipartParser::new("multipart/form-data; boundary=\"XX\"").unwrap();
            for piece in BODY.chunks(size) {
                parts.push(piece).unwrap();
            }
            let payload = parts.finish().unwrap();
            assert_eq!(payload.fields, [("type".to_owned(), "image/png".to_owned())]);
            let file = payload.file.unwrap();
            assert_eq!(file.bytes.unwrap(), &b"ab\r\n--X\r\n\0cd"[..]);
            assert_eq!(file.filename.unwrap(), "a.png");
            assert_eq!((file.size, file.mime.as_str()), (12, "image/png"));
        }
    }

    #[test]
    fn a_body_without_its_end_is_malformed() {
        let mut parts = MultipartParser::new("multipart/form-data; boundary=XX").unwrap();
        parts.push(BODY.split_at(BODY.len() - 20).0).unwrap();
        assert!(parts.finish().is_err());
        assert!(MultipartParser::new("multipart/form-data").is_none());
    }

    #[test]
    fn a_large_file_is_hashed_and_not_kept() {
        let mut parts = MultipartParser::new("multipart/form-data; boundary=XX").unwrap();
        parts
            .push(b"--XX\r\ncontent-disposition: form-data; name=file\r\n\r\n")
            .unwrap();
        for _ in 0..=MAX_KEPT_FILE_BYTES / 65_536 {
            parts.push(&[7; 65_536]).unwrap();
        }
        parts.push(b"\r\n--XX--").unwrap();
        let file = parts.finish().unwrap().file.unwrap();
        assert_eq!(file.size, MAX_KEPT_FILE_BYTES as u64 + 65_536);
        assert!(file.bytes.is_none());
    }
}
