//! JSON lines that have the tenant whose task wrote them.
//!
//! # Why
//!
//! What reads a file or calls a service does not know for which tenant it does so. The span of the tenant's task does, and a
//! field beside the others is what people search for, rather than a list of spans.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields, format};
use tracing_subscriber::registry::LookupSpan;

/// The format of a line of JSON. The fields of the current span are beside those of the event, unless that has a tenant.
#[derive(Debug)]
pub(super) struct TenantJson(Format<Json>);

// === impl TenantJson ===

impl TenantJson {
    pub(super) fn new() -> Self {
        let json = format().json().flatten_event(true);
        Self(json.with_current_span(false).with_span_list(false))
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> FormatEvent<S, JsonFields> for TenantJson {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(span) = context.lookup_current() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let extensions = span.extensions();
        let fields = extensions.get::<FormattedFields<JsonFields>>();
        let fields = fields.and_then(|fields| fields.fields.strip_prefix('{'));
        // In a text, there is a backslash before a quotation mark.
        match (line.strip_suffix("}\n"), fields) {
            (Some(event), Some(fields)) if !line.contains("\"tenant\":") => writeln!(writer, "{event},{fields}"),
            _ => writer.write_str(&line),
        }
    }
}
