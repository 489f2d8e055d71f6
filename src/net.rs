//! Sockets, tasks and stages: what both listeners and the upstream stand on.

pub mod ca;
mod caller;
pub mod command;
mod connect;
mod endpoint;
mod error;
mod identity;
mod listen;
mod serve;
mod shutter;
mod sniff;
mod stage;
mod tasks;
pub mod tls;
mod tunnel;
mod validity;
pub mod watch;

pub use caller::{CallError, Caller};
pub use connect::{ConnectError, Connector, Dial, Http, Opening, Wire, wired};
pub use endpoint::{Endpoint, EndpointError};
pub use error::BoxError;
pub use identity::{Identity, IdentityError, Keeper};
pub use listen::{Door, Listener};
pub use serve::{Line, Security, ServeSettings, Tls, serve};
pub use shutter::Shutter;
pub use stage::{Stage, Stages};
pub use tasks::Tasks;
pub use tunnel::{Tunnels, dial};
