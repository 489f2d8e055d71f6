//! Until when a connection serves: PINGs, SETTINGS, requests without a response.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_loses_its_requests_after_half_a_minute() {
    let (connection, server, tasks) = connect().await;
    let started = Instant::now();
    let error = send(&connection, &tasks, whole("x")).await.err().unwrap();
    assert_eq!(error.fate(), Fate::Unknown);
    assert_eq!(started.elapsed().as_secs(), 30);
    assert!(connection.is_closed() && connection.try_open(Instant::now()).is_none());
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_answer_to_a_ping_comes_after_others_keeps_its_connection() {
    let (io, mut peer) = duplex(1 << 16);
    let tasks = Tasks::default();
    let connection = Http2::handshake(boxed_io(io, Some(b"h2")), &tasks, || {})
        .await
        .unwrap();
    // SETTINGS, and then WINDOW_UPDATE each nine seconds, as from a slow network; PINGs are not answered.
    peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    for _ in 0..20 {
        sleep(Duration::from_secs(9)).await;
        peer.write_all(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1]).await.unwrap();
    }
    assert!(!connection.is_closed());
    sleep(Duration::from_secs(31)).await;
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_keeps_its_connection() {
    let (connection, server, tasks) = connect().await;
    serve(server, |_request, mut respond| async move {
        sleep(Duration::from_secs(300)).await;
        respond.send_response(Response::new(()), true).unwrap();
    });
    assert_eq!(send(&connection, &tasks, whole("x")).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_no_more_requests_hands_them_back() {
    let (connection, mut server, tasks) = connect().await;
    let mut stream = connection.try_open(Instant::now()).unwrap();
    server.abrupt_shutdown(Reason::NO_ERROR);
    drop(poll_fn(|cx| server.poll_closed(cx)).await);
    sleep(Duration::from_millis(1)).await;
    let origin = Origin::parse("https://graph.facebook.com").unwrap();
    let sent = stream.send(&origin, Request::post("/me").body(whole("x")).unwrap(), &tasks);
    let Err(SendError::HandedBack(request)) = sent.await else {
        panic!("it was sent");
    };
    assert_eq!(request.uri(), "/me");
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn one_request_is_sent_before_the_settings_of_the_peer_are_known() {
    let (io, mut peer) = duplex(1 << 16);
    let tasks = Tasks::default();
    let (changed, mut changes) = mpsc::channel(4);
    let on_new_limit = move || changed.try_send(()).unwrap();
    let connection = Http2::handshake(boxed_io(io, Some(b"h2")), &tasks, on_new_limit)
        .await
        .unwrap();
    let stream = connection.try_open(Instant::now()).unwrap();
    assert!(connection.is_starting() && !connection.has_room());
    // SETTINGS with a limit of one stream, which is what had been assumed.
    peer.write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1])
        .await
        .unwrap();
    changes.recv().await.unwrap();
    assert!(!connection.is_starting() && !connection.has_room());
    drop(stream);
    assert!(connection.has_room());
    // All that hold the connection are gone: it closes.
    drop(connection);
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_settings_do_not_come_makes_room_for_another_one() {
    let (io, _peer) = duplex(1 << 16);
    let tasks = Tasks::default();
    let (changed, mut changes) = mpsc::channel(4);
    let started = Instant::now();
    let on_new_limit = move || changed.try_send(()).unwrap();
    let connection = Http2::handshake(boxed_io(io, Some(b"h2")), &tasks, on_new_limit)
        .await
        .unwrap();
    let _stream = connection.try_open(Instant::now()).unwrap();
    changes.recv().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 5);
    assert!(!connection.is_starting() && connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_takes_no_more_requests_after_one_had_no_response_for_long() {
    for (patience, is_closed) in [(9, false), (11, true)] {
        let (connection, server, tasks) = connect().await;
        serve(server, |request, respond| async move {
            sleep(Duration::from_secs(3600)).await;
            drop((request, respond));
        });
        let waited = timeout(Duration::from_secs(patience), send(&connection, &tasks, whole("x"))).await;
        assert!(waited.is_err());
        assert_eq!(connection.is_closed(), is_closed, "{patience} s");
    }
}
