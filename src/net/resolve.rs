//! Names to addresses: one look-up per name at a time, on threads of its own, and remembered.
//!
//! # Why
//!
//! `getaddrinfo` blocks, for half a minute if no name server answers. On the threads that read token files and spool bodies,
//! a silent name server would delay both. So a few threads do nothing else, all requests for a name share one look-up, and
//! while it is silent or fails, the last addresses are used on: TLS tells whether they are still right.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::types::lock;

/// The answer to a look-up: `None` until it is there.
type Answer = Option<Result<Arc<[SocketAddr]>, Arc<io::Error>>>;

/// What is known of all names.
#[derive(Debug, Default)]
struct Resolver {
    names: HashMap<String, Name>,
    queue: VecDeque<String>,
    threads: usize,
}

#[derive(Debug, Default)]
struct Name {
    known: Option<Known>,
    look_up: Option<watch::Receiver<Answer>>,
    answer: Option<watch::Sender<Answer>>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    since: Instant,
}

/// Addresses are used for this time without another look-up.
const FRESH: Duration = Duration::from_secs(30);
/// Older ones are used if the look-up takes longer than this.
const PATIENCE: Duration = Duration::from_secs(1);
const MAX_THREADS: usize = 4;
/// Names that are remembered: those of the configuration, and hosts of tunnels.
const MAX_NAMES: usize = 256;

static RESOLVER: LazyLock<Mutex<Resolver>> = LazyLock::new(Mutex::default);

/// Returns the addresses of `host:port`.
///
/// # Errors
///
/// The resolver's error, if the name has never been resolved. Waits as long as the resolver does.
pub(super) async fn resolve(address: &str) -> io::Result<Arc<[SocketAddr]>> {
    if let Ok(address) = address.parse() {
        return Ok(Arc::new([address]));
    }
    let (known, mut look_up) = {
        let mut resolver = lock(&RESOLVER);
        let known = resolver.names.get(address).and_then(|name| name.known.clone());
        if let Some(known) = &known
            && known.since.elapsed() < FRESH
        {
            return Ok(Arc::clone(&known.addresses));
        }
        (known, resolver.look_up(address))
    };
    let answered = look_up.wait_for(Option::is_some);
    let answer = match &known {
        None => answered.await.ok().and_then(|answer| answer.clone()),
        Some(_) => match timeout(PATIENCE, answered).await {
            Ok(answer) => answer.ok().and_then(|answer| answer.clone()),
            Err(_elapsed) => None,
        },
    };
    match (answer, known) {
        (Some(Ok(addresses)), _) => Ok(addresses),
        (_, Some(known)) => Ok(known.addresses),
        (Some(Err(error)), None) => Err(io::Error::new(error.kind(), error)),
        (None, None) => Err(io::Error::other("the look-up ended without an answer")),
    }
}

// === impl Resolver ===

impl Resolver {
    /// Joins the look-up of a name, or starts one.
    fn look_up(&mut self, address: &str) -> watch::Receiver<Answer> {
        if self.names.len() >= MAX_NAMES {
            self.names.retain(|_, name| name.look_up.is_some());
        }
        let name = self.names.entry(address.to_owned()).or_default();
        if let Some(running) = &name.look_up {
            return running.clone();
        }
        let (answer, look_up) = watch::channel(None);
        name.look_up = Some(look_up.clone());
        name.answer = Some(answer);
        self.queue.push_back(address.to_owned());
        if self.threads < MAX_THREADS && std::thread::Builder::new().name("dns".to_owned()).spawn(work).is_ok() {
            self.threads += 1;
        }
        look_up
    }

    /// Takes the next name; `None` ends the thread.
    fn next(&mut self) -> Option<String> {
        let next = self.queue.pop_front();
        if next.is_none() {
            self.threads -= 1;
        }
        next
    }

    fn finish(&mut self, address: &str, resolved: io::Result<Arc<[SocketAddr]>>) {
        let Some(name) = self.names.get_mut(address) else {
            return;
        };
        if let Ok(addresses) = &resolved {
            name.known = Some(Known {
                addresses: Arc::clone(addresses),
                since: Instant::now(),
            });
        }
        name.look_up = None;
        if let Some(answer) = name.answer.take() {
            answer.send_replace(Some(resolved.map_err(Arc::new)));
        }
    }
}

/// Looks names up until there are no more.
fn work() {
    while let Some(address) = { lock(&RESOLVER).next() } {
        let resolved = address.to_socket_addrs().map(|found| found.collect());
        lock(&RESOLVER).finish(&address, resolved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_ask_for_a_name_share_one_look_up() {
        let (first, second) = {
            let mut resolver = lock(&RESOLVER);
            (resolver.look_up("localhost:1"), resolver.look_up("localhost:1"))
        };
        assert!(first.same_channel(&second));
        let addresses = resolve("localhost:1").await.unwrap();
        assert!(
            addresses
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 1)
        );
    }

    #[tokio::test]
    async fn the_last_addresses_are_used_while_a_look_up_fails() {
        let address = "no-such-host.invalid:443";
        resolve(address).await.unwrap_err();
        let addresses: Arc<[SocketAddr]> = Arc::new(["127.0.0.1:443".parse().unwrap()]);
        let known = |age| Known {
            addresses: Arc::clone(&addresses),
            since: Instant::now().checked_sub(age).unwrap(),
        };
        for age in [Duration::ZERO, FRESH * 2] {
            lock(&RESOLVER).names.get_mut(address).unwrap().known = Some(known(age));
            assert_eq!(resolve(address).await.unwrap(), addresses, "{age:?}");
        }
    }

    #[test]
    fn a_silent_name_server_holds_few_threads_and_no_memory() {
        let mut resolver = Resolver {
            threads: MAX_THREADS,
            ..Resolver::default()
        };
        for number in 0..1_000 {
            let look_up = resolver.look_up(&format!("host-{number}.invalid:443"));
            assert!(look_up.borrow().is_none());
            if number >= MAX_THREADS {
                let name = resolver.queue.pop_front().unwrap();
                resolver.finish(&name, Err(io::ErrorKind::TimedOut.into()));
            }
        }
        assert!(resolver.names.len() <= MAX_NAMES + 1, "{}", resolver.names.len());
        assert_eq!(resolver.threads, MAX_THREADS);
    }
}
