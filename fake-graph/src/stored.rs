//! What apps upload: media, and the sessions of uploads in pieces.

use std::collections::HashMap;

use crate::call::UploadedFile;

/// All media, and the size of the files that are kept.
#[derive(Default)]
pub(crate) struct MediaStore {
    media: HashMap<String, StoredMedia>,
    kept_bytes: usize,
}

/// An uploaded file, and the `hash` of its URL. Of a deleted one, the name stays.
pub(crate) struct StoredMedia {
    pub(crate) hash: String,
    pub(crate) file: Option<UploadedFile>,
}

/// A file that is uploaded in pieces.
pub(crate) struct UploadSession {
    pub(crate) signature: String,
    pub(crate) length: u64,
    pub(crate) offset: u64,
}

/// A video that is uploaded in pieces.
pub(crate) struct VideoUpload {
    /// The upload session, if it goes to graph-video.
    pub(crate) session: String,
    /// Its final length. rupload learns it with the bytes.
    pub(crate) length: Option<u64>,
    pub(crate) offset: u64,
}

// === impl MediaStore ===

impl MediaStore {
    pub(crate) fn get(&self, id: &str) -> Option<&StoredMedia> {
        self.media.get(id)
    }

    /// Adds a file. If the kept files would become larger than `max_bytes`, its bytes are not kept.
    pub(crate) fn insert(&mut self, id: String, hash: String, mut file: UploadedFile, max_bytes: usize) {
        file.bytes = file.bytes.filter(|bytes| self.kept_bytes + bytes.len() <= max_bytes);
        self.kept_bytes += kept_bytes(&file);
        let file = Some(file);
        self.media.insert(id, StoredMedia { hash, file });
    }

    /// Deletes a file. Returns whether there was one.
    pub(crate) fn delete(&mut self, id: &str) -> bool {
        let file = self.media.get_mut(id).and_then(|media| media.file.take());
        self.kept_bytes -= file.as_ref().map_or(0, kept_bytes);
        file.is_some()
    }
}

fn kept_bytes(file: &UploadedFile) -> usize {
    file.bytes.as_ref().map_or(0, bytes::Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_file_makes_room_for_another() {
        let mut store = MediaStore::default();
        let file = |bytes: &'static [u8]| UploadedFile {
            filename: None,
            mime: String::new(),
            size: bytes.len() as u64,
            sha256: String::new(),
            bytes: Some(bytes::Bytes::from_static(bytes)),
        };
        let is_kept = |store: &MediaStore, id: &str| store.get(id).unwrap().file.as_ref().unwrap().bytes.is_some();
        store.insert("1".to_owned(), String::new(), file(b"abc"), 5);
        store.insert("2".to_owned(), String::new(), file(b"def"), 5);
        assert!(is_kept(&store, "1") && !is_kept(&store, "2"));
        assert!(store.delete("1") && !store.delete("1"));
        assert!(store.get("1").unwrap().file.is_none(), "the name stays");
        store.insert("3".to_owned(), String::new(), file(b"ghi"), 5);
        assert!(is_kept(&store, "3"));
    }
}
