//! Sockets, tasks and stages: what both listeners and the upstream stand on.

mod connect;
mod listen;
mod stage;
mod tasks;
pub mod tls;

pub use connect::{ConnectError, Connector, Dial, Http, Opening, Wire, wired};
pub use listen::{Door, Listener, ServeSettings, Shutter, serve};
pub use stage::{Stage, Stages};
pub use tasks::Tasks;

/// An error of somebody else's, kept whole.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
