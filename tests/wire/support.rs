//! Both sides of the proxy, as bytes: origins that follow a script, clients that send what no library would.
//!
//! # Why
//!
//! The scripted Graph of the in-memory tests is not used here: hyper would correct or refuse the bytes that these tests are
//! about, and its paused time may not meet real sockets.

pub(crate) mod accept;
pub(crate) mod client;
pub(crate) mod credential_service;
pub(crate) mod egress_proxy;
pub(crate) mod h2_origin;
pub(crate) mod h2c;
pub(crate) mod harness;
pub(crate) mod message;
pub(crate) mod origin;
#[path = "../support/ports.rs"]
mod ports;
pub(crate) mod process;
pub(crate) mod raw_h2_origin;
#[path = "../support/serve_process.rs"]
mod serve_process;
pub(crate) mod tls_client;

pub(crate) use client::Client;
pub(crate) use credential_service::CredentialService;
pub(crate) use h2c::H2c;
pub(crate) use harness::{ProxyConfig, TestProxy};
pub(crate) use origin::{ConnectionAction, Decoy, Origin};
pub(crate) use ports::{free_ports, refusing_address};
pub(crate) use process::ProxyProcess;
pub(crate) use tls_client::TestPki;

use std::sync::LazyLock;

use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::types::Clock;
use tokio::time::{Duration, Instant};

/// The token that the proxy holds.
pub(crate) const TOKEN: &str = "EAAGwiretoken0123456789abcdefghijklmnopqrstuvwxyz";

/// The CA that proxies under test trust.
pub(crate) static CA: LazyLock<CertAuthority> = LazyLock::new(|| CertAuthority::new(&Clock::system()).unwrap());

/// A valid certificate.
pub(crate) fn valid_leaf() -> CertSpec {
    CertSpec::for_graph(&Clock::system())
}

/// The longest wait for something that must happen, with room for a busy machine. It is shorter than graphward's
/// default limits of a minute, so an event that a shorter limit causes is told from one that they cause.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(50);

/// Waits until `condition` holds, at most [`TIMEOUT`].
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        sleep_millis(10);
    }
    condition()
}

/// Sleeps for this many milliseconds.
pub(crate) fn sleep_millis(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Whether `hay` contains `needle`.
pub(crate) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// The number of occurrences of `needle` in `hay`.
pub(crate) fn occurrences(hay: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(hay, needle).count()
}
