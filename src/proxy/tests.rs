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
