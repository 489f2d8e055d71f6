//! The numbers at the end. The clients, the operator and the fake Graph each counted some, and they have to agree.

use std::collections::HashMap;
use std::io;

use fake_graph::FakeGraph;

use super::super::exit::Exit;
use super::super::table::Tone;
use super::load::{Load, text};
use super::rotation::Rotation;
use super::screen::line;

/// Prints the numbers. The demo has failed unless every message was accepted exactly once.
pub(super) fn print(load: &Load, rotation: &Rotation<'_>, graph: &FakeGraph) -> io::Result<Exit> {
    let mut accepted: HashMap<String, u64> = HashMap::new();
    for message in graph.accepted_messages() {
        let body = message.params.pointer("/text/body");
        let body = body.and_then(|body| body.as_str()).unwrap_or_default();
        *accepted.entry(body.to_owned()).or_default() += 1;
    }
    let (sent, failures) = (load.sent.get(), load.failures.borrow());
    let once = (1..=sent).filter(|number| accepted.get(&text(*number)) == Some(&1));
    let once = once.count() as u64;
    let slowest = format!("the slowest was answered after {} ms", load.slowest.get().as_millis());
    let after_expiry = sent - rotation.sent_before_expiry.unwrap_or(sent);
    line(Tone::Plain, "")?;
    row("tokens expired", rotation.expired, "")?;
    row("messages sent", sent, "")?;
    row("messages failed", failures.len() as u64, "")?;
    row("messages held", rotation.held, &slowest)?;
    row(
        "messages replayed",
        graph.rejected(),
        "once each, after Graph rejected their token",
    )?;
    row("accepted exactly once", once, "counted by the fake Graph")?;
    line(Tone::Plain, "\nWithout graphward, the same clients would have lost")?;
    row("messages", after_expiry, "if they read the token once, at start")?;
    row("messages", rotation.held, "if they read the file for each message")?;
    for failure in failures.iter().take(5) {
        line(Tone::Bad, &format!("a message failed: {failure}"))?;
    }
    if sent > 0 && failures.is_empty() && once == sent && graph.counts().accepted == sent {
        line(Tone::Good, "\nNo message failed, and none was lost or sent twice.")?;
        return Ok(Exit::Success);
    }
    line(
        Tone::Bad,
        "\nThis is a defect of graphward. Please report it with these lines.",
    )?;
    Ok(Exit::Failed)
}

fn row(name: &str, number: u64, note: &str) -> io::Result<()> {
    line(Tone::Plain, format!("  {name:<22} {number:>5}  {note}").trim_end())
}
