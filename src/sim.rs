//! The fake Graph.
