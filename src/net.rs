//! Sockets, TLS, tasks and shutdown: what the listeners and the upstream connections are built on.

mod activity;
pub mod ca;
mod client_reader;
mod client_stream;
mod connect;
mod dial;
mod dialer;
mod egress;
mod endpoint;
mod error;
mod flood_guard;
mod host_name;
mod http_client;
mod lazy_timer;
mod lifecycle;
mod listen;
mod listen_addr;
mod phase;
mod probe;
mod resolve;
mod serve;
mod server_cert;
mod server_connection;
mod server_http;
mod shutdown;
mod socket_mode;
mod tasks;
pub mod tls;
mod tunnel;
mod wake_ups;

pub use client_reader::ClientReader;
pub use client_stream::{EarlyResponse, TransportSecurity};
pub use connect::{BoxedIo, ConnectFuture, Connector, ConnectorConfig, HttpVersion, IoCounters, boxed_io};
pub use dial::{ConnectFailure, ConnectFailureKind, connect_tcp};
pub use dialer::{Dialed, Dialer, VIA_GRAPHWARD};
pub use egress::{
    EGRESS_VARIABLES, EgressProxy, EgressProxyError, EgressProxyUrl, EgressVariables, NO_EGRESS_PROXY, is_proxy_url,
};
pub use endpoint::{HttpEndpoint, HttpEndpointError};
pub use error::BoxError;
pub use host_name::{HostNameError, dialed_host_name, host_and_port, host_name};
pub use http_client::{AllowedSchemes, HttpClient, HttpClientConfig, HttpClientError};
pub use lazy_timer::{LazySleep, TimeLimit};
pub use lifecycle::{Lifecycle, Stage};
pub use listen::{InMemoryConnector, ListenConfig, Listener, TunnelScope};
pub use listen_addr::{ListenAddr, ListenAddrError};
pub use phase::Phase;
pub use probe::ProbedAddress;
pub use serve::{ServeConfig, serve};
pub use server_cert::{CertReloader, ServerCert, ServerCertError, TlsFiles};
pub use server_http::{ConnectionInfo, HttpServer, http_server};
pub use shutdown::{Shutdown, ShutdownPhase};
pub use socket_mode::SocketMode;
pub use tasks::Tasks;
pub use tunnel::TunnelSender;
pub use wake_ups::WakeUps;
