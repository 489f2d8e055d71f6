//! Errors on one line.

use std::error::Error;
use std::io;

use rustix::io::Errno;

/// Any error that owns what it says, so that its type can be found out.
pub type AnyError = dyn Error + 'static;

/// Joins the messages of an error and its causes to one line, the outermost first:
/// `cannot connect: TLS handshake with graph.facebook.com failed: …`. For a lack of file descriptors, it adds what to do.
#[must_use]
pub fn error_chain(error: &AnyError) -> String {
    let chain = || std::iter::successors(Some(error), |&error| error.source());
    let text = chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let mut io_errors = chain().filter_map(|error| error.downcast_ref::<io::Error>());
    if io_errors.any(|error| Errno::from_io_error(error) == Some(Errno::MFILE)) {
        return text + "; raise LimitNOFILE or ulimit -n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_file_descriptors_comes_with_the_remedy_wherever_it_is_in_the_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the file")]
        struct Outer(#[source] io::Error);

        let text = |errno: Errno| error_chain(&Outer(errno.into()));
        let expected = "cannot read the file: Too many open files (os error 24); raise LimitNOFILE or ulimit -n";
        assert_eq!(text(Errno::MFILE), expected);
        assert!(error_chain(&io::Error::from(Errno::MFILE)).ends_with("; raise LimitNOFILE or ulimit -n"));
        for other in [Errno::NOSPC, Errno::ACCESS, Errno::NFILE] {
            assert!(!text(other).contains("LimitNOFILE"), "{other:?}");
        }
    }
}
