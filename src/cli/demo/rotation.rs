//! The operator: replaces the token in the file, sometimes before the old token expires and sometimes after.
//!
//! # Why
//!
//! Tokens expire by command, not by the clock, and a late replacement waits until graphward holds a message. So what the
//! demo shows does not depend on how busy the machine is.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use fake_graph::FakeGraph;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::file::write_file;
use super::super::table::Tone;
use super::load::Load;
use super::screen::{event, line};
use crate::token::TokenHandle;
use crate::types::Secret;

/// Replaces tokens and counts.
pub(super) struct Rotation<'a> {
    graph: &'a FakeGraph,
    dir: &'a Path,
    tokens: TokenHandle,
    load: &'a Load,
    started_at: Instant,
    token: String,
    number: u64,
    expires_at: Instant,
    /// The number of tokens that expired.
    pub(super) expired: u64,
    /// The number of messages that waited in graphward when a newer token came.
    pub(super) held: u64,
    /// The number of messages that had been sent when the first token expired.
    pub(super) sent_before_expiry: Option<u64>,
}

/// The lifetime of a token.
const LIFETIME: Duration = Duration::from_secs(4);
/// The longest wait until graphward uses a token.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Issues a token and puts it into the file, as a whole or not at all.
pub(super) fn put_token(graph: &FakeGraph, dir: &Path) -> io::Result<String> {
    let token = graph.issue(None);
    write_file(&dir.join("token"), &token, 0o600)?;
    Ok(token)
}

impl<'a> Rotation<'a> {
    /// Starts with the token in the file, which graphward uses.
    pub(super) fn new(graph: &'a FakeGraph, dir: &'a Path, token: String, tokens: TokenHandle, load: &'a Load) -> Self {
        let started_at = Instant::now();
        Self {
            graph,
            dir,
            tokens,
            load,
            started_at,
            token,
            number: 1,
            expires_at: started_at + LIFETIME,
            expired: 0,
            held: 0,
            sent_before_expiry: None,
        }
    }

    /// Replaces one token after the other until that fails.
    pub(super) async fn run(&mut self) -> io::Result<Infallible> {
        event(self.started_at, Tone::Plain, "token 1 is in the file")?;
        loop {
            self.replace_late(Duration::from_millis(250)).await?;
            self.replace_early(Duration::from_millis(500)).await?;
            self.replace_late(Duration::from_millis(900)).await?;
            self.replace_early(Duration::from_millis(200)).await?;
        }
    }

    async fn replace_late(&mut self, late: Duration) -> io::Result<()> {
        sleep_until(self.expires_at).await;
        self.expire(self.number, &self.token.clone(), "answers", Tone::Warning)?;
        line(
            Tone::Warning,
            "         graphward holds messages until a newer token is there",
        )?;
        let expired_at = Instant::now();
        sleep(late).await;
        while self.tokens.waiters() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let (late, held) = (expired_at.elapsed().as_millis(), self.tokens.waiters() as u64);
        self.held += held;
        let used_after = self.replace().await?;
        let text = format!("token {} is in the file, {late} ms late", self.number);
        event(self.started_at, Tone::Plain, &text)?;
        let text = format!("         graphward uses it {used_after} ms later; messages held until then: {held}");
        line(Tone::Good, &text)
    }

    async fn replace_early(&mut self, early: Duration) -> io::Result<()> {
        let (old, number, expires_at) = (self.token.clone(), self.number, self.expires_at);
        sleep_until(expires_at - early).await;
        let used_after = self.replace().await?;
        let (early, new) = (early.as_millis(), self.number);
        let text = format!("token {new} is in the file, {early} ms before token {number} expires");
        event(self.started_at, Tone::Plain, &text)?;
        line(Tone::Good, &format!("         graphward uses it {used_after} ms later"))?;
        sleep_until(expires_at).await;
        self.expire(number, &old, "would answer", Tone::Plain)?;
        line(Tone::Plain, "         graphward does not use it any more")
    }

    /// Lets a token expire. Graph answers messages with it from now on, or would answer them if there were any.
    fn expire(&mut self, number: u64, token: &str, verb: &str, tone: Tone) -> io::Result<()> {
        self.sent_before_expiry.get_or_insert_with(|| self.load.sent.get());
        self.expired += 1;
        self.graph.expire(token);
        let answer = self.graph.rejection(token).unwrap_or_default();
        let text = format!("token {number} expires: Graph {verb} {answer}");
        event(self.started_at, tone, &text)
    }

    /// Puts the next token into the file and returns after how many milliseconds graphward uses it.
    async fn replace(&mut self) -> io::Result<u128> {
        self.token = put_token(self.graph, self.dir)?;
        self.number += 1;
        let put_at = Instant::now();
        self.expires_at = put_at + LIFETIME;
        let fingerprint = Secret::new(&self.token).ok().map(|token| token.fingerprint());
        let used = async {
            while self.tokens.current().map(|token| token.fingerprint()) != fingerprint {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let not_used = || format!("graphward did not use token {} within {TIMEOUT:?}", self.number);
        let used = timeout(TIMEOUT, used).await;
        used.map_err(|_elapsed| io::Error::other(not_used()))?;
        Ok(put_at.elapsed().as_millis())
    }
}
