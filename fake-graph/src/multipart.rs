//! `multipart/form-data`, read as it streams: fields are kept, the file is counted, hashed, and kept if small.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use sha2::{Digest as _, Sha256};
use tokio::task::yield_now;

use crate::call::{ParsedBody, UploadedFile};
use crate::digest::to_hex;

/// Files up to this size are kept for download.
pub(crate) const MAX_KEPT_FILE_BYTES: usize = 8 * 1024 * 1024;

/// Parses a form with this boundary. `None` if it is malformed, or a field is as large as a file.
pub(crate) async fn parse_multipart<E>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send,
    boundary: String,
) -> Option<ParsedBody>
where
    E: Error + Send + Sync + 'static,
{
    // multer 3.1 looks twice for the first part. It takes the form for incomplete if all of it, and its end, come between the two.
    let late_end = stream::once(async {
        yield_now().await;
        Ok(Bytes::new())
    });
    let mut parts = multer::Multipart::new(pieces.chain(late_end), boundary);
    let mut parsed = ParsedBody {
        multipart: true,
        ..ParsedBody::default()
    };
    while let Some(mut part) = parts.next_field().await.ok()? {
        let name = part.name()?.to_owned();
        let filename = part.file_name().map(str::to_owned);
        let mime = part.headers().get(CONTENT_TYPE).and_then(|mime| mime.to_str().ok());
        let mut file = FilePart::unnamed(mime.unwrap_or_default());
        while let Some(piece) = part.chunk().await.ok()? {
            file.append(&piece);
        }
        if name == "file" || filename.is_some() {
            let file = file.into_uploaded_file();
            parsed.file = Some(UploadedFile { filename, ..file });
        } else {
            let text = String::from_utf8_lossy(&file.content?).into_owned();
            parsed.fields.push((name, text));
        }
    }
    Some(parsed)
}

/// A file, as it passes.
pub(crate) struct FilePart {
    mime: String,
    size: u64,
    hash: Sha256,
    content: Option<BytesMut>,
}

impl FilePart {
    /// A file without a name, of which nothing has arrived yet.
    pub(crate) fn unnamed(mime: &str) -> Self {
        let unknown = "application/octet-stream";
        Self {
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
            filename: None,
            mime: self.mime,
            size: self.size,
            sha256: to_hex(&self.hash.finalize()),
            bytes: self.content.map(BytesMut::freeze),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const BODY: &[u8] = b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\n\
        image/png\r\n--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\nab\r\n--X\r\n\0cd\r\n--XX--\r\nepilogue";

    async fn parse(pieces: impl Iterator<Item = &'static [u8]> + Send) -> Option<ParsedBody> {
        let pieces = pieces.map(|piece| Ok::<_, Infallible>(Bytes::from_static(piece)));
        parse_multipart(stream::iter(pieces), "XX".to_owned()).await
    }

    #[tokio::test]
    async fn the_result_does_not_depend_on_where_pieces_end() {
        for size in 1..BODY.len() {
            let payload = parse(BODY.chunks(size)).await.unwrap();
            assert_eq!(payload.fields, [("type".to_owned(), "image/png".to_owned())]);
            let file = payload.file.unwrap();
            assert_eq!(file.bytes.unwrap(), &b"ab\r\n--X\r\n\0cd"[..]);
            assert_eq!(file.filename.unwrap(), "a.png");
            assert_eq!((file.size, file.mime.as_str()), (12, "image/png"));
        }
    }

    #[tokio::test]
    async fn a_body_that_comes_late_and_all_at_once_is_complete() {
        let late = stream::once(async {
            yield_now().await;
            Ok::<_, Infallible>(Bytes::from_static(BODY))
        });
        assert!(parse_multipart(late, "XX".to_owned()).await.is_some());
    }

    #[tokio::test]
    async fn a_body_without_its_end_is_malformed() {
        let (start, _end) = BODY.split_at(BODY.len() - 20);
        assert!(parse([start].into_iter()).await.is_none());
    }

    #[tokio::test]
    async fn a_large_file_is_hashed_and_not_kept() {
        const HEAD: &[u8] = b"--XX\r\ncontent-disposition: form-data; name=file\r\n\r\n";
        const PIECE: &[u8] = &[7; 65_536];
        let content = std::iter::repeat_n(PIECE, MAX_KEPT_FILE_BYTES / 65_536 + 1);
        let pieces = [HEAD].into_iter().chain(content).chain([&b"\r\n--XX--"[..]]);
        let file = parse(pieces).await.unwrap().file.unwrap();
        assert_eq!(file.size, MAX_KEPT_FILE_BYTES as u64 + 65_536);
        assert!(file.bytes.is_none());
    }
}
