//! Whoever keeps the token: a new file each time, sometimes in time and sometimes not.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep, sleep_until};

use super::story::{Happening, Teller};
use crate::types::Secret;
use fake_graph::FakeGraph;

/// Issues tokens that live four seconds, and drops them into the file.
pub(super) struct Keeper {
    sim: FakeGraph,
    place: PathBuf,
    teller: Teller,
    token: String,
    number: u64,
    ends: Instant,
    expiries: u64,
}

/// When a new token comes, seen from the end of the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Timing {
    /// At the very start.
    First,
    /// This long before.
    Early(Duration),
    /// This long after.
    Late(Duration),
}

/// How long a token lives.
const LIFE: Duration = Duration::from_secs(4);

/// Late ones are within the hold of two seconds, or Graph's answer would be the last word.
const TIMINGS: [Timing; 4] = [
    Timing::Late(Duration::from_millis(250)),
    Timing::Early(Duration::from_millis(500)),
    Timing::Late(Duration::from_millis(900)),
    Timing::Early(Duration::from_millis(200)),
];

impl Keeper {
    /// Drops the first token.
    pub(super) fn start(sim: FakeGraph, place: &Path, teller: Teller) -> io::Result<Self> {
        let mut keeper = Self {
            sim,
            place: place.to_path_buf(),
            teller,
            token: String::new(),
            number: 0,
            ends: Instant::now(),
            expiries: 0,
        };
        keeper.drop_next(Timing::First)?;
        Ok(keeper)
    }

    /// Drops one token after the other, until that fails.
    pub(super) async fn run(&mut self) -> io::Error {
        for timing in TIMINGS.into_iter().cycle() {
            if let Err(error) = self.turn(timing).await {
                return error;
            }
        }
        io::Error::other("there is always a next turn")
    }

    /// How many tokens have expired.
    pub(super) const fn expiries(&self) -> u64 {
        self.expiries
    }

    async fn turn(&mut self, timing: Timing) -> io::Result<()> {
        let (token, number, ends) = (self.token.clone(), self.number, self.ends);
        if let Timing::Early(by) = timing {
            sleep_until(ends - by).await;
            self.drop_next(timing)?;
        }
        sleep_until(ends).await;
        self.expiries += 1;
        let answer = self.ask(&token).await;
        self.teller.tell(Happening::Expired { number, answer });
        if let Timing::Late(by) = timing {
            sleep(by).await;
            self.drop_next(timing)?;
        }
        Ok(())
    }

    /// Puts the next token in place, whole or not at all.
    fn drop_next(&mut self, timing: Timing) -> io::Result<()> {
        self.token = self.sim.issue(Some(LIFE));
        self.ends = Instant::now() + LIFE;
        self.number += 1;
        let mut file = NamedTempFile::new_in(&self.place)?;
        writeln!(file, "{}", self.token)?;
        self.teller.tell(Happening::Dropped {
            number: self.number,
            fingerprint: Secret::new(&self.token)
                .map(|secret| secret.fingerprint().to_string())
                .unwrap_or_default(),
            timing,
        });
        file.persist(self.place.join("token"))?;
        Ok(())
    }

    /// What Graph says to a token: `401, code 190/463`.
    async fn ask(&self, token: &str) -> String {
        let request = Request::get("/v26.0/me")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::<Bytes>::default());
        let Ok(request) = request else {
            return "nothing".to_owned();
        };
        let Ok(answer) = self.sim.handle(request).await else {
            return "nothing".to_owned();
        };
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let number = |name| {
            let number = said.pointer(&format!("/error/{name}"));
            number.map_or_else(|| "-".to_owned(), ToString::to_string)
        };
        format!("{status}, code {}/{}", number("code"), number("error_subcode"))
    }
}
