//! An HTTP/1.1 client as an app has one: a connection that is kept.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::net::{BoxError, Tasks};

/// Sends one request after the other; connects when there is no connection.
pub(super) struct Client {
    address: SocketAddr,
    tasks: Tasks,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) const fn new(address: SocketAddr, tasks: Tasks) -> Self {
        Self {
            address,
            tasks,
            connection: None,
        }
    }

    /// Sends a request, once, and reads the whole answer.
    pub(super) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), BoxError> {
        let host = self.address.to_string().parse()?;
        request.headers_mut().insert(header::HOST, host);
        let mut connection = match self.connection.take() {
            Some(open) if !open.is_closed() => open,
            Some(_) | None => self.connect().await?,
        };
        connection.ready().await?;
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST).collect().await?;
        self.connection = Some(connection);
        Ok((status, body.to_bytes()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, BoxError> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // How it ends, the request in hand says.
        drop(self.tasks.spawn(connection));
        Ok(sender)
    }
}

/// The longest answer that is read.
const MOST: usize = 1024 * 1024;

/// What an address says at a path.
pub(super) async fn get(address: SocketAddr, path: &str, tasks: &Tasks) -> Result<String, BoxError> {
    let mut client = Client::new(address, tasks.clone());
    let request = Request::get(path).body(Full::default())?;
    let (status, body) = client.send(request).await?;
    if status != StatusCode::OK {
        return Err(format!("{path} was answered with {status}").into());
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
