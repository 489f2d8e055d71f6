//! What apps upload: media, and the sessions of uploads in pieces.

use crate::call::UploadedFile;

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
