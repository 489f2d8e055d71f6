//! The size of what each request holds.

use super::*;

/// The size of the future that a function returns; it is never called.
const fn size_of_future<F, A>(_function: &F) -> usize
where
    F: Fn(Arc<AppConnection>, Request<Incoming>) -> A,
{
    size_of::<A>()
}

#[test]
fn the_future_of_a_request_is_at_most_four_kibibytes() {
    let size = size_of_future(&AppConnection::handle);
    assert!(size <= 4096, "{size}");
}

#[test]
fn a_request_that_waits_for_a_token_when_a_reload_replaces_its_tenant_is_told_to_retry() {
    let answer = Refusal::from(crate::token::RefreshError::Closed).into_response(http::Version::HTTP_11);
    assert_eq!(answer.status(), 503);
    let text = String::from_utf8_lossy(answer.body());
    assert!(text.contains("\"is_transient\":true"), "{text}");
    assert!(
        text.contains("while it reloads its configuration or stops: retry the request"),
        "{text}"
    );
}
