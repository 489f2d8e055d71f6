//! What is left at the end: numbers that three parties counted, and that have to agree.

use std::collections::HashMap;
use std::fmt;

use super::keeper::Keeper;
use super::load::{Kind, Load, text};
use super::story::Story;
use fake_graph::FakeGraph;

/// The totals of a demo.
pub(super) struct Totals {
    /// Counted by the clients.
    requests: u64,
    messages: u64,
    reads: u64,
    uploads: u64,
    failures: u64,
    /// Counted by whoever keeps the token.
    expiries: u64,
    /// Counted by the sidecar.
    refreshes: u64,
    replays: u64,
    healed: u64,
    slowest: Option<u64>,
    /// Counted by Graph.
    accepted: u64,
    once: u64,
}

impl Totals {
    pub(super) fn new(load: &Load, sim: &FakeGraph, keeper: &Keeper, story: &Story, metrics: &str) -> Self {
        let messages = load.sent(Kind::Message);
        let mut seen: HashMap<String, u64> = HashMap::new();
        for message in sim.accepted_messages() {
            let said = message.params.pointer("/text/body");
            let said = said.and_then(|said| said.as_str()).unwrap_or_default();
            *seen.entry(said.to_owned()).or_default() += 1;
        }
        let once = (0..messages).filter(|number| seen.get(&text(*number)) == Some(&1));
        let sample = |series: &str| sample(metrics, series);
        Self {
            requests: load.requests(),
            messages,
            reads: load.sent(Kind::Read),
            uploads: load.sent(Kind::Upload),
            failures: load.failures(),
            expiries: keeper.expiries(),
            refreshes: sample("graphward_token_generation{tenant=\"default\"}").saturating_sub(1),
            replays: sample("graphward_attempts_total{tenant=\"default\",attempt=\"second\"}"),
            healed: sample("graphward_requests_total{tenant=\"default\",outcome=\"healed\"}"),
            slowest: story.slowest(),
            accepted: sim.counts().accepted,
            once: once.count() as u64,
        }
    }

    /// Whether no request failed, and each message was accepted exactly once.
    pub(super) const fn are_good(&self) -> bool {
        self.messages > 0
            && self.failures == 0
            && self.healed == self.replays
            && self.once == self.messages
            && self.accepted == self.messages
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            reads,
            uploads,
            once,
            healed,
            ..
        } = self;
        let mut line = |name, number: u64, more: fmt::Arguments<'_>| writeln!(f, "  {name:<24} {number:>6}{more}");
        line(
            "requests",
            self.requests,
            format_args!("  ({messages} messages, {reads} reads, {uploads} uploads)"),
        )?;
        line("failures", self.failures, format_args!(""))?;
        line("accepted exactly once", *once, format_args!("  of {messages} messages"))?;
        line("expiries", self.expiries, format_args!(""))?;
        line("refreshes", self.refreshes, format_args!(""))?;
        line("replays", self.replays, format_args!("  ({healed} healed)"))?;
        match self.slowest {
            Some(slowest) => line("slowest healed request", slowest, format_args!(" ms")),
            None => Ok(()),
        }
    }
}

/// A number in Prometheus text; a series that is not there has counted nothing.
fn sample(metrics: &str, series: &str) -> u64 {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_name_and_labels() {
        let metrics = "# TYPE a counter\na_total{x=\"1\"} 4\na_total{x=\"2\"} 7\n";
        assert_eq!(sample(metrics, "a_total{x=\"2\"}"), 7);
        assert_eq!(sample(metrics, "a_total{x=\"3\"}"), 0);
    }
}
