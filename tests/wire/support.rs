//! Both sides of the proxy, as bytes: origins that follow a script, clients that send what no library would.

pub(crate) mod client;
pub(crate) mod h2c;
pub(crate) mod h2origin;
pub(crate) mod house;
pub(crate) mod message;
pub(crate) mod origin;
pub(crate) mod process;
pub(crate) mod secure;
pub(crate) mod service;

pub(crate) use client::Client;
pub(crate) use h2c::H2c;
pub(crate) use house::{House, Setup};
pub(crate) use origin::{After, Decoy, Origin};
pub(crate) use process::Process;
pub(crate) use secure::Papers;
pub(crate) use service::Service;

use std::sync::LazyLock;

use graphward::sim::tls::{Authority, Leaf};
use graphward::types::Clock;
use tokio::time::{Duration, Instant};

/// The token that the proxy holds.
pub(crate) const TOKEN: &str = "EAAGwiretoken0123456789abcdefghijklmnopqrstuvwxyz";

/// The CA that proxies under test trust.
pub(crate) static CA: LazyLock<Authority> =
    LazyLock::new(|| Authority::new(&Clock::system()).unwrap());

/// A certificate that is right in all respects.
pub(crate) fn good_leaf() -> Leaf {
    Leaf::graph(&Clock::system())
}

/// Waits until `condition` holds, at most `seconds`.
pub(crate) fn eventually(seconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let by = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < by {
        if condition() {
            return true;
        }
        pause(10);
    }
    condition()
}

/// Lets so many milliseconds pass.
pub(crate) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Whether `needle` stands in `hay`.
pub(crate) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// How often `needle` stands in `hay`.
pub(crate) fn occurrences(hay: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(hay, needle).count()
}
