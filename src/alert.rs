//! Who is told of a notice besides the log: a webhook.
