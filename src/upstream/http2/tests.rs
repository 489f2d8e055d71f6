use std::collections::VecDeque;

use h2::server::{self, SendResponse};
use http_body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;

use super::*;
use crate::net::{BoxError, boxed_io};

/// A body whose frames come one by one; it never ends without its last one.
enum TestBody {
    Ready(VecDeque<Bytes>),
    Arriving(mpsc::Receiver<Result<Bytes, BoxError>>),
}

impl http_body::Body for TestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.get_mut() {
            Self::Ready(frames) => frames.pop_front().map(Ok),
            Self::Arriving(frames) => ready!(frames.poll_recv(cx)),
        };
        Poll::Ready(frame.map(|frame| frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Ready(frames) if frames.is_empty())
    }
}

impl RequestBody for TestBody {
    fn is_arriving(&self) -> bool {
        matches!(self, Self::Arriving(_))
    }
}

type Server = server::Connection<DuplexStream, Bytes>;

async fn connect() -> (Arc<Http2>, Server, Tasks) {
    let (io, peer) = duplex(1 << 16);
    let tasks = Tasks::default();
    let io = boxed_io(io, Some(b"h2"));
    let (client, server) = tokio::join!(Http2::handshake(io, &tasks, || {}), server::handshake(peer));
    (client.unwrap(), server.unwrap(), tasks)
}

/// Serves the streams of a connection, and keeps it going.
fn serve<F: Future<Output = ()> + Send + 'static>(
    mut server: Server,
    handle: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + 'static,
) {
    drop(Tasks::default().spawn(async move {
        while let Some(Ok((request, respond))) = server.accept().await {
            drop(Tasks::default().spawn(handle(request, respond)));
        }
    }));
}

async fn send(
    connection: &Arc<Http2>,
    tasks: &Tasks,
    body: TestBody,
) -> Result<Response<Http2Body>, SendError<TestBody>> {
    let mut stream = connection.try_open(Instant::now()).unwrap();
    let origin = Origin::parse("https://graph.facebook.com").unwrap();
    let request = Request::post("/v21.0/me?x=1");
    stream.send(&origin, request.body(body).unwrap(), tasks).await
}

fn whole(bytes: impl Into<Bytes>) -> TestBody {
    TestBody::Ready([bytes.into()].into())
}

fn arriving() -> (mpsc::Sender<Result<Bytes, BoxError>>, TestBody) {
    let (frames, body) = mpsc::channel(1);
    (frames, TestBody::Arriving(body))
}

async fn received(mut stream: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        drop(stream.flow_control().release_capacity(data.len()));
        body.extend_from_slice(&data);
    }
    Ok(body)
}

async fn read(body: &mut Http2Body) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
        bytes.extend_from_slice(&data?);
    }
    Ok(bytes)
}

#[tokio::test(start_paused = true)]
async fn a_request_and_its_body_arrive_and_so_does_the_response_after_1xx() {
    let (connection, server, tasks) = connect().await;
    serve(server, |request, mut respond| async move {
        let (head, stream) = request.into_parts();
        assert_eq!(head.uri, "https://graph.facebook.com/v21.0/me?x=1");
        let names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
        assert!(names.is_empty(), "{names:?}");
        let body = received(stream).await.unwrap();
        respond
            .send_informational(Response::builder().status(103).body(()).unwrap())
            .unwrap();
        let response = Response::builder().header("content-length", body.len());
        let mut sending = respond.send_response(response.body(()).unwrap(), false).unwrap();
        sending.send_data(body.into(), true).unwrap();
    });
    // The second one is larger than the window of the stream, and than what a stream holds.
    for length in [5, 1 << 20] {
        let sent = vec![b'x'; length];
        let response = send(&connection, &tasks, whole(sent.clone())).await.unwrap();
        assert_eq!(response.status(), 200, "1xx is passed over");
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), Some(length as u64));
        assert!(read(&mut body).await.unwrap() == sent, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_has_not_its_declared_length_ends_in_an_error() {
    for declared in [4, 6] {
        let (connection, server, tasks) = connect().await;
        serve(server, move |_request, mut respond| async move {
            let response = Response::builder().header("content-length", declared);
            let mut sending = respond.send_response(response.body(()).unwrap(), false).unwrap();
            sending.send_data(Bytes::from_static(b"hello"), true).unwrap();
        });
        let result = match send(&connection, &tasks, whole("x")).await {
            Ok(response) => read(&mut response.into_body()).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        assert!(result.is_err(), "{declared}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_length_is_whole_only_when_the_stream_has_ended() {
    for (is_ended, reason) in [
        (true, Reason::NO_ERROR),
        (true, Reason::CANCEL),
        (false, Reason::NO_ERROR),
        (false, Reason::CANCEL),
    ] {
        let (connection, server, tasks) = connect().await;
        serve(server, move |_request, mut respond| async move {
            let mut sending = respond.send_response(Response::new(()), false).unwrap();
            sending.send_data(Bytes::from_static(b"hello"), is_ended).unwrap();
            sleep(Duration::from_millis(1)).await;
            sending.send_reset(reason);
        });
        let (_frames, body) = arriving();
        let mut response = send(&connection, &tasks, body).await.unwrap().into_body();
        sleep(Duration::from_millis(10)).await;
        let body = read(&mut response).await;
        assert_eq!(body.is_ok(), is_ended, "{is_ended} {reason}: {body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_declared_length_does_not_make_a_response_less_whole() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let (connection, server, tasks) = connect().await;
        serve(server, move |_request, mut respond| async move {
            let response = Response::builder().header("content-length", 5).body(()).unwrap();
            let mut sending = respond.send_response(response, false).unwrap();
            sending.send_data(Bytes::from_static(b"hello"), false).unwrap();
            sleep(Duration::from_millis(1)).await;
            sending.send_reset(reason);
        });
        let mut response = send(&connection, &tasks, whole("x")).await.unwrap().into_body();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(read(&mut response).await.unwrap(), b"hello", "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_response_that_ends_the_upload_keeps_its_status() {
    let (connection, server, tasks) = connect().await;
    serve(server, |_request, mut respond| async move {
        let response = Response::builder().status(413).body(()).unwrap();
        let mut sending = respond.send_response(response, false).unwrap();
        sending.send_data(Bytes::from_static(b"too large"), true).unwrap();
        sleep(Duration::from_millis(1)).await;
        sending.send_reset(Reason::NO_ERROR);
    });
    let (frames, body) = arriving();
    let response = send(&connection, &tasks, body).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(read(&mut response.into_body()).await.unwrap(), b"too large");
    // The rest of the body is not taken.
    frames.closed().await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_while_an_early_response_is_not_read() {
    let (connection, server, tasks) = connect().await;
    let (report, mut reports) = mpsc::channel(1);
    serve(server, move |request, mut respond| {
        let report = report.clone();
        async move {
            let mut sending = respond.send_response(Response::new(()), false).unwrap();
            report.send(received(request.into_body()).await).await.unwrap();
            sending.send_data(Bytes::from_static(b"done"), true).unwrap();
        }
    });
    let (frames, body) = arriving();
    let response = send(&connection, &tasks, body).await.unwrap();
    for _ in 0..100 {
        frames.send(Ok(vec![0; 10_000].into())).await.unwrap();
    }
    drop(frames);
    assert_eq!(reports.recv().await.unwrap().unwrap().len(), 1_000_000);
    assert_eq!(read(&mut response.into_body()).await.unwrap(), b"done");
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_which_nothing_is_taken_after_the_response_ends_within_two_minutes() {
    let (connection, server, tasks) = connect().await;
    serve(server, |request, mut respond| async move {
        respond.send_response(Response::new(()), true).unwrap();
        // It reads nothing, and resets nothing.
        sleep(Duration::from_secs(3600)).await;
        drop(request);
    });
    let (frames, body) = arriving();
    drop(send(&connection, &tasks, body).await.unwrap());
    let started = Instant::now();
    while frames.send(Ok(vec![0; 10_000].into())).await.is_ok() {}
    assert!(
        (60..=120).contains(&started.elapsed().as_secs()),
        "{:?}",
        started.elapsed()
    );
    assert!(!connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn what_the_app_breaks_off_resets_the_stream_and_the_connection_serves_on() {
    let (connection, server, tasks) = connect().await;
    let (report, mut reports) = mpsc::channel(1);
    serve(server, move |request, mut respond| {
        let report = report.clone();
        async move {
            let mut sending = respond.send_response(Response::new(()), false).unwrap();
            sending.send_data(Bytes::from_static(b"begin"), false).unwrap();
            let uploaded = received(request.into_body()).await.map(|body| body.len());
            let reset = match &uploaded {
                Ok(_whole) => poll_fn(|cx| sending.poll_reset(cx)).await.ok(),
                Err(error) => error.reason(),
            };
            report.send((uploaded.ok(), reset)).await.unwrap();
        }
    });
    // In mid-download.
    let response = send(&connection, &tasks, TestBody::Ready(VecDeque::new()))
        .await
        .unwrap();
    drop(response);
    assert_eq!(reports.recv().await, Some((Some(0), Some(Reason::CANCEL))));
    // In mid-upload: the body fails.
    let (frames, body) = arriving();
    let response = send(&connection, &tasks, body).await.unwrap();
    frames.send(Err("gone".into())).await.unwrap();
    assert_eq!(reports.recv().await, Some((None, Some(Reason::CANCEL))));
    drop(response);
    // In mid-upload: the response is dropped.
    let (frames, body) = arriving();
    drop(send(&connection, &tasks, body).await.unwrap());
    assert_eq!(reports.recv().await, Some((None, Some(Reason::CANCEL))));
    frames.closed().await;
    assert!(!connection.is_closed());
    assert!(send(&connection, &tasks, whole("x")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_request_in_mid_upload_that_is_given_up_resets_its_stream() {
    let (connection, server, tasks) = connect().await;
    let (report, mut reports) = mpsc::channel(1);
    serve(server, move |request, respond| {
        let report = report.clone();
        async move {
            let error = received(request.into_body()).await.unwrap_err();
            report.send(error.reason()).await.unwrap();
            drop(respond);
        }
    });
    let (frames, body) = arriving();
    let given_up = timeout(Duration::from_secs(1), send(&connection, &tasks, body)).await;
    assert!(given_up.is_err());
    assert_eq!(reports.recv().await, Some(Some(Reason::CANCEL)));
    assert!(frames.is_closed() && connection.is_idle());
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_request_is_told_by_the_peer() {
    for (reason, fate) in [
        (Reason::REFUSED_STREAM, Fate::NotProcessed),
        (Reason::INTERNAL_ERROR, Fate::Unknown),
        (Reason::CANCEL, Fate::Unknown),
    ] {
        let (connection, server, tasks) = connect().await;
        serve(server, move |_request, mut respond| async move {
            respond.send_reset(reason);
        });
        let error = send(&connection, &tasks, whole("x")).await.err().unwrap();
        assert_eq!(error.fate(), fate, "{reason}");
    }
}

mod life;
