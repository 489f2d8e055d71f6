//! Sockets, TLS, tasks and shutdown: what the listeners and the upstream connections are built on.

pub mod ca;
mod connect;
mod dial;
mod endpoint;
mod error;
mod host_name;
mod http_client;
mod lifecycle;
mod listen;
mod listen_addr;
mod phase;
mod serve;
mod server_cert;
mod shutdown;
mod sniff;
mod socket_mode;
mod tasks;
pub mod tls;
mod tunnel;

pub use connect::{BoxedIo, ConnectFuture, Connector, ConnectorConfig, HttpVersion, boxed_io};
pub use dial::{ConnectFailure, ConnectFailureKind, connect_tcp};
pub use endpoint::{HttpEndpoint, HttpEndpointError};
pub use error::BoxError;
pub use host_name::{HostNameError, dialed_host_name, host_and_port, host_name};
pub use http_client::{AllowedSchemes, HttpClient, HttpClientConfig, HttpClientError};
pub use lifecycle::{Lifecycle, Stage};
pub use listen::{InMemoryConnector, ListenConfig, Listener};
pub use listen_addr::{ListenAddr, ListenAddrError};
pub use phase::Phase;
pub use serve::{ConnectionInfo, ServeConfig, serve};
pub use server_cert::{CertReloader, ServerCert, ServerCertError, TlsFiles};
pub use shutdown::{Shutdown, ShutdownPhase};
pub use sniff::TransportSecurity;
pub use socket_mode::SocketMode;
pub use tasks::Tasks;
pub use tunnel::TunnelSender;
