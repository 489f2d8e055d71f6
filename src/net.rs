//! Sockets, tasks and stages: what both listeners and the upstream stand on.

pub mod ca;
mod connect;
mod error;
mod listen;
mod stage;
mod tasks;
pub mod tls;
pub mod watch;

pub use connect::{ConnectError, Connector, Dial, Http, Opening, Wire, wired};
pub use error::BoxError;
pub use listen::{Door, Listener, ServeSettings, Shutter, serve};
pub use stage::{Stage, Stages};
pub use tasks::Tasks;
