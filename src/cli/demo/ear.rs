//! What the sidecar says of itself: its log, followed in the process instead of on the screen.
//!
//! The events and fields that are known here are those that operators read; nothing is logged for the demo.

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::story::{Happening, Teller};
use crate::telemetry::LogError;

/// Tells what the sidecar logs, from now on; nothing is printed.
pub(super) fn follow_log(teller: Teller) -> Result<(), LogError> {
    let ours = Targets::new().with_target("graphward", Level::DEBUG);
    let subscriber = tracing_subscriber::registry().with(Ear::new(teller).with_filter(ours));
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

struct Ear {
    teller: Teller,
    /// Whether requests wait, and that has not been told: it is worth one line, however often one looks.
    untold: AtomicBool,
}

impl Ear {
    const fn new(teller: Teller) -> Self {
        Self {
            teller,
            untold: AtomicBool::new(false),
        }
    }

    fn hear(&self, heard: Heard) {
        if heard.cause == "rejected" {
            self.untold.store(true, Ordering::Relaxed);
        }
        let happening = heard.happening();
        if matches!(happening, Some(Happening::InUse(_))) {
            self.untold.store(false, Ordering::Relaxed);
        }
        match happening {
            Some(Happening::NothingYet) if !self.untold.swap(false, Ordering::Relaxed) => {}
            Some(happening) => self.teller.tell(happening),
            None => {}
        }
    }
}

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut heard = Heard::default();
        event.record(&mut heard);
        self.hear(heard);
    }
}

/// The fields of an event that matter here.
#[derive(Default)]
struct Heard {
    message: String,
    outcome: String,
    errand: String,
    cause: String,
    fingerprint: String,
    generation: Option<u64>,
    millis: u64,
}

impl Heard {
    fn happening(self) -> Option<Happening> {
        match (self.message.as_str(), self.outcome.as_str()) {
            ("a new token is in use", _) => Some(Happening::InUse(self.fingerprint)),
            ("no newer token", _) if self.errand == "replace" => Some(Happening::NothingYet),
            ("request", "healed") => Some(Happening::Healed {
                generation: self.generation?,
                millis: self.millis,
            }),
            _ => None,
        }
    }
}

impl Visit for Heard {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "generation" => self.generation = Some(value),
            "millis" => self.millis = value,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "outcome" => &mut self.outcome,
            "errand" => &mut self.errand,
            "cause" => &mut self.cause,
            "fingerprint" => &mut self.fingerprint,
            _ => return,
        };
        // A string takes everything.
        let _written = write!(text, "{value:?}");
    }
}
