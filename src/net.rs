//! Sockets, tasks and stages: what both listeners and the upstream stand on.

pub mod ca;
pub mod command;
mod connect;
mod endpoint;
mod error;
mod http_client;
mod lifecycle;
mod listen;
mod serve;
mod server_cert;
mod shutdown;
mod sniff;
mod tasks;
pub mod tls;
mod tunnel;
mod validity;
pub mod watch;

pub use connect::{BoxedIo, ConnectError, ConnectFuture, Connector, ConnectorConfig, HttpVersion, boxed_io};
pub use endpoint::{HttpEndpoint, HttpEndpointError};
pub use error::BoxError;
pub use http_client::{AllowedSchemes, HttpClient, HttpClientConfig, HttpClientError};
pub use lifecycle::{Lifecycle, Stage};
pub use listen::{InMemoryConnector, Listener};
pub use serve::{ConnectionInfo, ServeConfig, TlsMode, TransportSecurity, serve};
pub use server_cert::{CertReloader, ServerCert, ServerCertError};
pub use shutdown::Shutdown;
pub use tasks::Tasks;
pub use tunnel::{TunnelSender, connect_tcp};
