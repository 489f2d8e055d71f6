//! What leaves towards Graph: everything the app sent, less its credentials and what ends here, and our token.

use graphward::graph::ClientCredentialPolicy;

use crate::support::{
    FIRST_TOKEN, PROTOCOL_PAIRS, Protocol, Protocols, TestProxy, TestProxyBuilder, get, post, request, sized,
    sorted_names, with,
};

#[tokio::test(start_paused = true)]
async fn the_live_token_takes_the_place_of_what_the_app_sent() {
    let ours = format!("Bearer {FIRST_TOKEN}");
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for presented in [
            &[][..],
            &[("authorization", "Bearer EAAstale")],
            &[("authorization", "bearer EAAstale")],
            &[("authorization", "Bearer null")],
            &[("authorization", "Bearer undefined")],
            &[("authorization", "Bearer None")],
            &[("authorization", "Bearer")],
            &[("authorization", "")],
            &[("authorization", "Basic dXNlcjpwYXNz")],
            &[("authorization", "Bearer EAAone"), ("authorization", "Bearer EAAtwo")],
            &[("authorization", "Bearer 123|abc"), ("authorization", "Bearer EAAtwo")],
        ] {
            let seen = proxy.forwarded(with(get("/me"), presented)).await;
            assert_eq!(seen.all("authorization"), [ours.as_str()], "{presented:?}");
        }
        let oauth = with(get("/me"), &[("authorization", "OAuth EAAstale")]);
        let seen = proxy.forwarded(oauth).await;
        assert_eq!(seen.all("authorization"), [format!("OAuth {FIRST_TOKEN}")]);
        let presented = r#"graphward_client_credentials_replaced_total{tenant="default",location="header"}"#;
        assert_eq!(proxy.metric(presented).await, 6, "words for none are none");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_token_in_a_form_goes_and_a_file_that_is_called_a_form_stays_as_it_is() {
    const FILE: &str = "a=1&access_token=EAAstale&b=%zz";
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for typed in [
            &[("content-type", "application/x-www-form-urlencoded")][..],
            // As fbgraph has it.
            &[],
        ] {
            let seen = proxy.forwarded(with(post(sized(FILE)), typed)).await;
            assert_eq!(seen.all("content-length"), ["9"]);
            assert_eq!(seen.body.unwrap(), "a=1&b=%zz", "{typed:?}");
            let upload = "/v21.0/upload:MTphdHRhY2g=?sig=ARZqkGCA";
            let upload = with(request("POST", upload, sized(FILE)), typed);
            assert_eq!(proxy.forwarded(upload).await.body.unwrap(), FILE, "{typed:?}");
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_token_in_the_query_goes_and_all_other_bytes_stay() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (sent, left) in [
            ("/me?access_token=EAAstale", "/me"),
            ("/me?a=1&access_token=EAAstale&b=%20&c", "/me?a=1&b=%20&c"),
            ("/me?%61ccess_token=EAAstale&b", "/me?b"),
            ("/me?access_token=null&b", "/me?b"),
            ("/me?access_token=&b", "/me?b"),
            ("/me?access_token=EAAx&appsecret_proof=ab&appsecret_time=1", "/me"),
            (
                "/v21.0/upload:MTphdHRhY2g=?sig=ARZqkGCA&x=a%7Cb",
                "/v21.0/upload:MTphdHRhY2g=?sig=ARZqkGCA&x=a%7Cb",
            ),
            ("//a//./b/../c;d?&&e=1&e=2&", "//a//./b/../c;d?&&e=1&e=2&"),
            ("/a%2Fb%2fc?input_token=EAAother", "/a%2Fb%2fc?input_token=EAAother"),
            (
                "/1/insights?metric[0]=a&filters=[{%22f%22:1}]",
                "/1/insights?metric[0]=a&filters=[{%22f%22:1}]",
            ),
        ] {
            let seen = proxy.forwarded(get(sent)).await;
            assert_eq!(seen.target(), left);
            seen.assert_bearer(FIRST_TOKEN);
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_token_is_left_alone_and_nothing_is_added() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.accept("123|abc");
        let seen = proxy
            .forwarded(with(
                get("/debug_token?input_token=x"),
                &[("authorization", "Bearer 123|abc")],
            ))
            .await;
        assert_eq!(seen.all("authorization"), ["Bearer 123|abc"]);
        for query in ["access_token=123|abc&b=1", "a=1&access_token=123%7Cabc"] {
            let target = format!("/debug_token?{query}");
            let answer = proxy.app.get(&target).await;
            assert_eq!(answer.status, 401, "the scripted Graph reads headers only");
            let seen = proxy.graph.last_request();
            assert_eq!(seen.target(), target);
            assert!(seen.all("authorization").is_empty());
        }
        assert_eq!(
            (proxy.graph.attempts(), proxy.source.loads()),
            (3, 1),
            "their 190 is not ours to heal"
        );
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_makes_tokens_is_passed_on_as_it_is() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for target in [
            "/oauth/access_token?grant_type=fb_exchange_token&client_id=1&client_secret=s&fb_exchange_token=EAAx",
            "/v21.0/oauth/access_token?access_token=EAAx&appsecret_proof=ab",
        ] {
            assert_eq!(proxy.app.get(target).await.status, 401);
            let seen = proxy.graph.last_request();
            assert_eq!(seen.target(), target);
            assert!(seen.all("authorization").is_empty());
        }
        assert_eq!((proxy.graph.attempts(), proxy.source.loads()), (2, 1));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_headers_only_an_app_token_goes_where_tokens_are_made() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.graph.accept("123|abc");
    for (header, target, left) in [
        ("Bearer EAAstale", "/oauth/access_token", &[][..]),
        ("Basic dXNlcjpwYXNz", "/oauth/access_token", &[]),
        ("Bearer null", "/oauth/access_token", &[]),
        ("Bearer 123|abc", "/oauth/access_token", &["Bearer 123|abc"]),
        ("Bearer EAAstale", "/debug_token?access_token=123|abc", &[]),
    ] {
        proxy.app.fetch(with(get(target), &[("authorization", header)])).await;
        let seen = proxy.graph.last_request();
        assert_eq!(seen.target(), target);
        assert_eq!(seen.all("authorization"), left, "{header} {target}");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_makes_tokens_needs_no_token_of_ours() {
    let proxy = TestProxyBuilder::new().empty().start().await;
    assert_eq!(proxy.app.get("/oauth/access_token?client_id=1").await.status, 401);
    assert_eq!(proxy.graph.attempts(), 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn presented_credentials_are_refused_where_that_is_asked_for() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols)
            .with_client_credentials(ClientCredentialPolicy::Refuse)
            .start()
            .await;
        let header = with(get("/me"), &[("authorization", "Bearer EAAstale")]);
        proxy.app.fetch(header).await.refused(403, "http_request_denied");
        proxy
            .app
            .get("/me?access_token=EAAstale")
            .await
            .refused(403, "http_request_denied");
        let spelled = proxy.app.get("/me?+access_token=EAAstale").await;
        spelled.refused(403, "http_request_denied");
        for form in [
            "access.token=EAAstale",
            r#"+batch=[{"method":"GET","relative_url":"1?access_token=EAAstale"}]"#,
        ] {
            let post = request("POST", "/v25.0/", sized(form));
            proxy.app.fetch(post).await.refused(403, "http_request_denied");
        }
        assert_eq!(proxy.graph.attempts(), 0);
        assert_eq!(proxy.app.get("/me").await.status, 200);
        let placeholder = with(get("/me?access_token=null"), &[("authorization", "Bearer null")]);
        assert_eq!(proxy.app.fetch(placeholder).await.status, 200);
        assert_eq!(proxy.requests_with_outcome("refused_client_credential").await, 5);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn presented_credentials_are_kept_where_that_is_asked_for_and_never_healed() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols)
            .with_client_credentials(ClientCredentialPolicy::Keep)
            .start()
            .await;
        let header = with(get("/me?access_token=EAAown"), &[("authorization", "Bearer EAAown")]);
        assert_eq!(proxy.app.fetch(header).await.status, 401);
        let seen = proxy.graph.last_request();
        assert_eq!(seen.all("authorization"), ["Bearer EAAown"]);
        assert_eq!(seen.target(), "/me?access_token=EAAown");
        assert_eq!(proxy.app.get("/me?access_token=EAAown").await.status, 401);
        assert!(proxy.graph.last_request().all("authorization").is_empty());
        assert_eq!((proxy.graph.attempts(), proxy.source.loads()), (2, 1));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_one_connection_ends_there_and_all_else_is_passed() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let mut fields = vec![
            ("x-custom", "1"),
            ("x-custom", "2"),
            ("user-agent", "app/1"),
            ("content-type", "application/json"),
            ("cookie", "session=secret"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("proxy-authorization", "Basic eA=="),
            ("expect", "100-continue"),
        ];
        if protocols.app == Protocol::Http1 {
            fields.extend([
                ("connection", "x-listed"),
                ("connection", "keep-alive, X-Other"),
                ("x-listed", "1"),
                ("x-other", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABk"),
                ("proxy-connection", "keep-alive"),
            ]);
        }
        let seen = proxy.forwarded(with(post(sized("x")), &fields)).await;
        assert_eq!(seen.all("x-custom"), ["1", "2"]);
        let names = sorted_names(&seen.head.headers);
        let mut expected = vec![
            "authorization",
            "content-length",
            "content-type",
            "user-agent",
            "x-custom",
        ];
        if protocols.graph == Protocol::Http1 {
            expected.insert(3, "host");
            assert_eq!(seen.all("host"), ["graph.facebook.com"]);
        } else {
            assert_eq!(seen.head.uri.authority().unwrap(), "graph.facebook.com");
        }
        assert_eq!(names, expected);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn codings_that_could_not_be_read_are_not_offered() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (offered, left) in [
            ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
            ("gzip;q=0.5, lzma, sdch", "gzip;q=0.5"),
            ("*", "identity"),
            ("gzip, *", "gzip"),
            ("compress", "identity"),
        ] {
            let seen = proxy.forwarded(with(get("/me"), &[("accept-encoding", offered)])).await;
            assert_eq!(seen.all("accept-encoding"), [left]);
        }
        assert!(proxy.forwarded(get("/me")).await.all("accept-encoding").is_empty());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn via_is_said_and_forwards_are_counted_only_where_that_is_asked_for() {
    for protocols in PROTOCOL_PAIRS {
        let hops = |left| with(request("OPTIONS", "/me", sized("")), &[("max-forwards", left)]);
        let proxy = TestProxy::start(protocols).await;
        let seen = proxy.forwarded(hops("0")).await;
        assert_eq!((seen.all("via").len(), seen.all("max-forwards")), (0, vec!["0"]));
        proxy.shutdown().await;
        let proxy = TestProxy::start_with(protocols, |config| config.upstream.via = true).await;
        let seen = proxy.forwarded(with(hops("3"), &[("via", "1.0 fred")])).await;
        assert_eq!(seen.all("via"), ["1.0 fred", "1.1 graphward"]);
        assert_eq!(seen.all("max-forwards"), ["2"]);
        let answer = proxy.app.fetch(hops("0")).await;
        assert_eq!((answer.status, answer.header("allow").is_empty()), (204, false));
        assert_eq!(proxy.graph.attempts(), 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_of_a_request_end_here() {
    let proxy = TestProxyBuilder::over(Protocols::new(Protocol::Http1, Protocol::Two))
        .start()
        .await;
    proxy.rotate_token();
    let answer = proxy
        .app
        .send_raw(
            b"POST /me HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntrailer: x-end\r\n\
              transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\nauthorization: Bearer EAAx\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(proxy.graph.accepted(), ["hello"]);
    assert!(proxy.graph.last_request().all("trailer").is_empty());
    proxy.shutdown().await;
}
