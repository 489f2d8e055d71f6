//! The order of start and stop.
