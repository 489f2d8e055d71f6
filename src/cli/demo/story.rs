//! What is on the screen: a line per event, never one per request.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::keeper::Timing;
use super::load::{CLIENTS, Load};
use super::totals::Totals;
use crate::config::env_var;

/// Something that is worth telling.
#[derive(Debug)]
pub(super) enum Happening {
    /// A token was dropped into the file.
    Dropped {
        number: u64,
        fingerprint: String,
        timing: Timing,
    },
    /// A token's time is over; this is Graph's answer to it.
    Expired { number: u64, answer: String },
    /// The sidecar looked for a newer token, and there is none yet.
    NothingYet,
    /// The sidecar uses the token with this fingerprint.
    InUse(String),
    /// A request was rejected, sent again with this generation, and answered after so many milliseconds.
    Healed { generation: u64, millis: u64 },
    /// A request of the load failed.
    Failed(String),
}

/// The way to the [`Story`]. Never waits.
#[derive(Clone)]
pub(super) struct Teller(mpsc::Sender<(Instant, Happening)>);

/// Tells what happens as it happens.
pub(super) struct Story {
    happenings: mpsc::Receiver<(Instant, Happening)>,
    began: Instant,
    colours: bool,
    /// The token that was dropped last.
    dropped: Option<Dropped>,
    /// The number of the token in use.
    live: u64,
    healing: Option<Healing>,
    slowest: Option<u64>,
}

struct Dropped {
    number: u64,
    fingerprint: String,
    at: Instant,
}

/// Healed requests that belong together.
struct Healing {
    last: Instant,
    generation: u64,
    requests: u64,
    slowest: u64,
}

/// How a line looks on a terminal.
#[derive(Clone, Copy)]
enum Look {
    Plain,
    Good,
    Notable,
    Bad,
}

/// So long after the last healed request, all of a kind have come.
const QUIET: Duration = Duration::from_millis(150);

impl Teller {
    pub(super) fn tell(&self, happening: Happening) {
        // A story that is thousands of lines behind loses some; the totals do not.
        drop(self.0.try_send((Instant::now(), happening)));
    }
}

impl Story {
    pub(super) fn new() -> (Teller, Self) {
        let (sender, happenings) = mpsc::channel(10_000);
        let wanted = env_var("NO_COLOR").is_none_or(|no| no.is_empty());
        let story = Self {
            happenings,
            began: Instant::now(),
            colours: wanted && io::stdout().is_terminal(),
            dropped: None,
            live: 0,
            healing: None,
            slowest: None,
        };
        (Teller(sender), story)
    }

    /// What is to be seen. Time is counted from here.
    pub(super) fn open(&mut self, proxy: SocketAddr) -> io::Result<()> {
        self.began = Instant::now();
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "graphward demo: {CLIENTS} clients send WhatsApp messages through a sidecar to a fake Graph\n\
             whose tokens live 4 s. The clients have no token: they call http://{proxy}\n\
             instead of https://graph.facebook.com. All of it is in this process. Ctrl-C ends it.\n"
        )?;
        out.flush()
    }

    /// Tells until the screen is gone. Cancel-safe, but for a line that is being written.
    pub(super) async fn tell(&mut self, load: &Load) -> io::Error {
        loop {
            let quiet = self.healing.as_ref().map(|healing| healing.last + QUIET);
            let quiet = async {
                match quiet {
                    Some(quiet) => sleep_until(quiet).await,
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                Some((at, happening)) = self.happenings.recv() => self.on(at, happening, load),
                () = quiet => self.healed(load),
            };
            if let Err(error) = told {
                return error;
            }
        }
    }

    /// Tells what is left.
    pub(super) fn finish(&mut self, load: &Load) -> io::Result<()> {
        while let Ok((at, happening)) = self.happenings.try_recv() {
            self.on(at, happening, load)?;
        }
        self.healed(load)
    }

    /// The slowest healed request, in milliseconds.
    pub(super) const fn slowest(&self) -> Option<u64> {
        self.slowest
    }

    /// The totals.
    pub(super) fn close(&self, totals: &Totals) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let ran = self.began.elapsed().as_secs_f64();
        writeln!(out, "\nafter {ran:.1} s\n{totals}")?;
        let (look, words) = if totals.are_good() {
            (Look::Good, "No request failed, and no message was lost or sent twice.")
        } else {
            (Look::Bad, "That is not as it should be.")
        };
        writeln!(out, "{}", self.painted(look, words))?;
        out.flush()
    }

    fn on(&mut self, at: Instant, happening: Happening, load: &Load) -> io::Result<()> {
        match happening {
            Happening::Dropped {
                number,
                fingerprint,
                timing,
            } => {
                self.dropped = Some(Dropped {
                    number,
                    fingerprint,
                    at,
                });
                let words = match timing {
                    Timing::First => format!("token {number} is in the file"),
                    Timing::Early(by) => format!(
                        "token {number} is dropped into the file, {} ms before token {} expires",
                        by.as_millis(),
                        number - 1
                    ),
                    Timing::Late(by) => format!("token {number} is dropped into the file, {} ms late", by.as_millis()),
                };
                self.line(at, Look::Plain, &words)
            }
            Happening::Expired { number, answer } if number < self.live => {
                let words = format!("token {number} expires (Graph: {answer}), but is not in use");
                self.line(at, Look::Plain, &words)
            }
            Happening::Expired { number, answer } => {
                let words = format!("token {number} expires: Graph answers {answer}");
                self.line(at, Look::Notable, &words)
            }
            Happening::NothingYet => {
                let words = "graphward looks at the file: nothing newer yet, rejected requests are held";
                self.line(at, Look::Plain, words)
            }
            Happening::InUse(fingerprint) => self.in_use(at, &fingerprint),
            Happening::Healed { generation, millis } => {
                let healing = self.healing.get_or_insert(Healing {
                    last: at,
                    generation,
                    requests: 0,
                    slowest: 0,
                });
                healing.last = at;
                healing.requests += 1;
                healing.slowest = healing.slowest.max(millis);
                self.slowest = self.slowest.max(Some(millis));
                Ok(())
            }
            Happening::Failed(why) => {
                self.healed(load)?;
                self.line(at, Look::Bad, &format!("a request failed: {why}"))
            }
        }
    }

    fn in_use(&mut self, at: Instant, fingerprint: &str) -> io::Result<()> {
        let dropped = self.dropped.as_ref();
        let words = match dropped.filter(|dropped| dropped.fingerprint == fingerprint) {
            Some(dropped) => {
                let took = at.saturating_duration_since(dropped.at).as_millis();
                self.live = dropped.number;
                format!("graphward uses token {} ({took} ms later)", dropped.number)
            }
            None => format!("graphward uses a token with the fingerprint {fingerprint}"),
        };
        self.line(at, Look::Plain, &words)
    }

    /// Sums up a healing, if there was one.
    fn healed(&mut self, load: &Load) -> io::Result<()> {
        let Some(healing) = self.healing.take() else {
            return Ok(());
        };
        let plural = if healing.requests == 1 { "" } else { "s" };
        let words = format!(
            "healed: {} request{plural} replayed with generation {}, slowest {} ms ({} requests so far, {} failed)",
            healing.requests,
            healing.generation,
            healing.slowest,
            load.requests(),
            load.failures(),
        );
        self.line(healing.last, Look::Good, &words)
    }

    fn line(&self, at: Instant, look: Look, words: &str) -> io::Result<()> {
        let since = at.saturating_duration_since(self.began).as_secs_f64();
        let mut out = io::stdout().lock();
        writeln!(out, "{since:5.1} s  {}", self.painted(look, words))?;
        out.flush()
    }

    fn painted(&self, look: Look, words: &str) -> String {
        let colour = match look {
            Look::Good => "32",
            Look::Notable => "33",
            Look::Bad => "31",
            Look::Plain => return words.to_owned(),
        };
        if self.colours {
            format!("\x1b[{colour}m{words}\x1b[0m")
        } else {
            words.to_owned()
        }
    }
}
