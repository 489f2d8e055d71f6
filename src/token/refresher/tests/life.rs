//! Several sources, renewals on schedule, storage and inspection: what is taken, what is not, and how often who is asked.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::SystemTime;

use super::super::super::{
    BoxFuture, Cause, Claim, Deposit, Inspector, NoSuccessor, Notice, Outgoing, Renewer, Source,
    Tokens, Told, pair,
};
use super::super::*;
use super::support::{soon, spawn};
use crate::graph::{Ends, GraphError, Inspection};
use crate::types::{Fingerprint, Secret};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A place that shows what the test puts there, and keeps what it is given if it may.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Shelved>>, Arc<tokio::sync::Notify>);

#[derive(Default)]
struct Shelved {
    name: &'static str,
    shown: Option<Token>,
    keeps: bool,
    /// Deposits that fail before one succeeds.
    broken: u32,
    /// What somebody else puts there while a renewal is under way.
    overtaken_by: Option<Token>,
    hangs: bool,
    claims: u32,
    loads: u32,
    kept: Vec<String>,
}

impl Shelf {
    fn named(name: &'static str) -> Self {
        let shelf = Self::default();
        shelf.0.lock().unwrap().name = name;
        shelf
    }

    fn keeping(name: &'static str) -> Self {
        let shelf = Self::named(name);
        shelf.0.lock().unwrap().keeps = true;
        shelf
    }

    fn show(&self, token: Token) {
        self.0.lock().unwrap().shown = Some(token);
        self.1.notify_one();
    }

    fn now<T>(&self, look: impl FnOnce(&mut Shelved) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

impl Source for Shelf {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        let shown = self.now(|shelved| {
            shelved.loads += 1;
            shelved.shown.clone()
        });
        if self.now(|shelved| shelved.hangs) {
            return Box::pin(std::future::pending());
        }
        let missing = || ObtainError::transient("missing", format!("{} is empty", self.describe()));
        Box::pin(std::future::ready(shown.ok_or_else(missing)))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.1.notified())
    }

    fn describe(&self) -> String {
        self.now(|shelved| shelved.name.to_owned())
    }

    fn keeps(&self) -> Result<(), String> {
        match self.now(|shelved| shelved.keeps) {
            true => Ok(()),
            false => Err("it is read-only".to_owned()),
        }
    }

    fn claim(&mut self) -> BoxFuture<'_, Result<Claim, ObtainError>> {
        self.now(|shelved| shelved.claims += 1);
        Box::pin(std::future::ready(Ok(Claim::held(()))))
    }

    fn deposit<'a>(
        &'a mut self,
        token: &'a Token,
        over: Fingerprint,
    ) -> BoxFuture<'a, Result<Deposit, ObtainError>> {
        let deposited = self.now(|shelved| {
            if let Some(theirs) = shelved.overtaken_by.take() {
                shelved.shown = Some(theirs);
                return Ok(Deposit::Overtaken);
            }
            if shelved.broken > 0 {
                shelved.broken -= 1;
                return Err(ObtainError::transient("disk", "the disk is full"));
            }
            let shown = shelved
                .shown
                .as_ref()
                .map(|token| token.secret.fingerprint());
            if shown.is_some_and(|shown| shown != over) {
                return Ok(Deposit::Overtaken);
            }
            shelved.shown = Some(token.clone());
            shelved.kept.push(token.secret.expose().to_owned());
            Ok(Deposit::Kept)
        });
        Box::pin(std::future::ready(deposited))
    }
}

/// A renewer that answers what the test lays down, in order; the last answer again and again.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Answered>>);

#[derive(Default)]
struct Answered {
    next: VecDeque<Result<Token, &'static str>>,
    /// Whether each outgoing token was called dead.
    dead: Vec<bool>,
    at: Vec<Instant>,
    /// What the shelf held when the answer was given.
    earliest: Duration,
}

impl Answers {
    fn of(answers: impl IntoIterator<Item = Result<Token, &'static str>>) -> Self {
        let renewer = Self::default();
        renewer.0.lock().unwrap().next = answers.into_iter().collect();
        renewer
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().dead.len()
    }

    fn at(&self) -> Vec<Instant> {
        self.0.lock().unwrap().at.clone()
    }
}

impl Renewer for Answers {
    fn renew<'a>(
        &'a mut self,
        outgoing: Outgoing<'a>,
    ) -> BoxFuture<'a, Result<Token, ObtainError>> {
        let mut answered = self.0.lock().unwrap();
        answered.dead.push(outgoing.dead);
        answered.at.push(Instant::now());
        let answer = if answered.next.len() > 1 {
            answered.next.pop_front()
        } else {
            answered.next.front().cloned()
        };
        let answer = answer.unwrap_or(Err("nothing is laid down"));
        let answer = answer.map_err(|what| ObtainError::transient("broken", what));
        Box::pin(std::future::ready(answer))
    }

    fn earliest(&self, issued_at: SystemTime) -> SystemTime {
        issued_at + self.0.lock().unwrap().earliest
    }

    fn unless_told(&self, seen_at: SystemTime) -> Option<SystemTime> {
        let earliest = self.0.lock().unwrap().earliest;
        (!earliest.is_zero()).then(|| seen_at + earliest)
    }

    fn describe(&self) -> String {
        "the test's renewer".to_owned()
    }
}

/// Says of each token what the test laid down; of others that they are fine; or nothing at all.
#[derive(Clone, Default)]
struct Knows(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    of: HashMap<String, Inspection>,
    gone: bool,
    calls: Vec<String>,
}

impl Knows {
    fn says(&self, token: &str, inspection: Inspection) {
        let mut known = self.0.lock().unwrap();
        known.of.insert(token.to_owned(), inspection);
    }

    fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }
}

impl Inspector for Knows {
    fn inspect<'a>(
        &'a mut self,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<Inspection, ObtainError>> {
        let mut known = self.0.lock().unwrap();
        let text = token.secret.expose().to_owned();
        let inspection = known.of.get(&text).cloned().unwrap_or_default();
        known.calls.push(text);
        if known.gone {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(Ok(inspection)))
    }
}

/// What was told, for the test to look at.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Notice>>>);

impl Heard {
    fn causes(&self) -> Vec<Cause> {
        let notices = self.0.lock().unwrap();
        notices.iter().map(|notice| notice.cause).collect()
    }

    fn text(&self) -> String {
        let notices = self.0.lock().unwrap();
        let lines = notices
            .iter()
            .map(|it| format!("{} {}\n", it.happened, it.action));
        lines.collect()
    }
}

fn today() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

fn token(text: &str) -> Token {
    Token::lasting(Secret::new(text).unwrap())
}

fn ending(text: &str, left: Duration) -> Token {
    Token {
        expires_at: Some(today() + left),
        ..token(text)
    }
}

fn boxed(source: &Shelf) -> Box<dyn Source> {
    Box::new(source.clone())
}

async fn live(supply: Supply) -> (Tokens, Heard) {
    let (writer, tokens) = pair();
    let heard = Heard::default();
    let notices = Arc::clone(&heard.0);
    let observer = Box::new(move |told: &Told<'_>| {
        if let Told::Notice(notice) = told {
            notices.lock().unwrap().push((*notice).clone());
        }
    });
    let clock = Clock::manual(today());
    let (tenant, schedule) = (TenantId::default(), Schedule::default());
    let refresher = Refresher::new(tenant, supply, writer, schedule, clock, observer);
    drop(spawn(refresher.run()));
    tokens.looked().await;
    // The look that the first token rang for is over, too.
    tokio::time::sleep(Duration::from_millis(1)).await;
    (tokens, heard)
}

fn in_use(tokens: &Tokens) -> Option<String> {
    let live = tokens.current()?;
    Some(live.token().secret.expose().to_owned())
}

/// Graph rejects the live token; what is in use a moment later.
async fn rejected(tokens: &Tokens) -> Option<String> {
    let live = tokens.current().unwrap().generation();
    tokens.reject(live, &GraphError::default());
    drop(tokens.successor(live, soon()).await);
    in_use(tokens)
}

const DEAD: fn() -> Inspection = || Inspection {
    dead: Some(GraphError {
        code: Some(190),
        subcode: Some(463),
        ..GraphError::default()
    }),
    ..Inspection::default()
};

mod inspection;
mod renewals;
mod sources;
mod storage;
