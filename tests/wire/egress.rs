//! Section 12: an egress proxy on the way to Graph, to other hosts and to services.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use graphward::config::{Config, EnvVars, Overrides};
use graphward::net::{Dialer, EgressProxyUrl, HttpClientError, tls};
use graphward::types::error_chain;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::credential_service::client_with;
use super::support::egress_proxy::EgressProxy;
use super::support::{
    Client, ConnectionAction, Origin, ProxyConfig, ProxyProcess, TIMEOUT, TestPki, TestProxy, client,
};
use super::support::{free_ports, refusing_address};

/// The lines of `[upstream]` for Graph at a port of this machine, by its address: `connect_to` would bypass a proxy.
fn upstream(origin: &Origin) -> String {
    format!("origin = \"https://127.0.0.1:{}\"\n", origin.port)
}

fn with_environment(origin: &Origin, environment: &str) -> ProxyProcess {
    ProxyProcess::start(
        1,
        ProxyConfig::upstream(&upstream(origin)),
        &format!("export {environment};"),
    )
}

#[test]
fn requests_go_through_the_proxy_of_the_environment_in_either_spelling_with_its_credentials() {
    let (origin, egress) = (Origin::plain("graph's own"), EgressProxy::start());
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let process = with_environment(&origin, &format!("{name}='{}'", egress.url()));
        for _ in 0..2 {
            let response = client::get(process.proxy, "/v23.0/me");
            assert_eq!((response.status, response.text().as_str()), (200, "graph's own"));
        }
        // One connection, one tunnel.
        assert_eq!(egress.take(), [format!("127.0.0.1:{}", origin.port)], "{name}");
        let output = process.stdout() + &process.stderr();
        let line = format!("the egress proxy 127.0.0.1:{} of {name}", egress.port);
        assert!(output.contains(&line), "{output}");
        assert!(!output.contains("hunter2") && !output.contains("bWU6"), "{output}");
    }
}

#[test]
fn no_proxy_and_connect_to_and_none_lead_around_the_proxy() {
    let (origin, egress) = (Origin::plain("x"), EgressProxy::start());
    let proxy = format!("HTTPS_PROXY='{}'", egress.url());
    for no_proxy in [
        "NO_PROXY='*'",
        "no_proxy=127.0.0.0/8",
        "NO_PROXY='.example.com, 127.0.0.1'",
    ] {
        let process = with_environment(&origin, &format!("{proxy} {no_proxy}"));
        assert_eq!(client::get(process.proxy, "/").status, 200, "{no_proxy}");
    }
    let export = format!("export {proxy};");
    let process = ProxyProcess::start(origin.port, ProxyConfig::default(), &export);
    assert_eq!(client::get(process.proxy, "/").status, 200, "connect_to");
    let off = upstream(&origin) + "proxy = \"none\"";
    let process = ProxyProcess::start(1, ProxyConfig::upstream(&off), &export);
    assert_eq!(client::get(process.proxy, "/").status, 200, "none");
    assert_eq!(egress.take(), [""; 0]);
    // A name that only looks like an excepted one is not excepted.
    let process = with_environment(&origin, &format!("{proxy} NO_PROXY=.1,27.0.0.1,10.0.0.0/8"));
    assert_eq!(client::get(process.proxy, "/").status, 200);
    assert_eq!(egress.take().len(), 1);
}

#[test]
fn what_the_proxy_answers_is_the_cause_in_the_message_and_in_the_log() {
    let origin = Origin::plain("x");
    let (_closed, closed) = refusing_address();
    let (open, forbidding) = (
        EgressProxy::start(),
        EgressProxy::answering("403 Forbidden\r\nContent-Length: 0"),
    );
    let failing = EgressProxy::answering("502 Bad Gateway\r\nContent-Length: 900000\r\n\r\nhalf");
    let encrypted = Origin::scripted(|exchange| {
        assert!(exchange.seen.has("proxy-authorization"));
        exchange.write("HTTP/1.1 429 Too Many Requests\r\n\r\n");
        ConnectionAction::Close
    });
    let garbled = EgressProxy::answering("what");
    for (url, cause) in [
        (
            format!("http://me:wrong-hunter2@127.0.0.1:{}", open.port),
            "it answered 407",
        ),
        (format!("http://127.0.0.1:{}", open.port), "it answered 407"),
        (forbidding.url(), "it answered CONNECT with 403 Forbidden"),
        (failing.url(), "it answered CONNECT with 502 Bad Gateway"),
        (garbled.url(), "invalid HTTP"),
        (format!("http://{closed}"), "Connection refused"),
        (
            format!("https://me:hunter2@127.0.0.1:{}", encrypted.port),
            "it answered CONNECT with 429 Too Many Requests",
        ),
    ] {
        let process = with_environment(&origin, &format!("HTTPS_PROXY='{url}'"));
        let response = client::get(process.proxy, "/");
        assert_eq!(response.status, 502, "{url}: {response:?}");
        let (text, details) = (response.text(), response.field("proxy-status").unwrap());
        let port = url.rsplit_once(':').unwrap().1;
        let proxy = format!(
            "the egress proxy 127.0.0.1:{port} of HTTPS_PROXY, for 127.0.0.1:{}",
            origin.port
        );
        for expected in [cause, &proxy] {
            assert!(text.contains(expected), "{url}: {text}");
            assert!(process.stdout().contains(expected), "{url}: {}", process.stdout());
        }
        assert!(details.contains(&proxy), "{details}");
        // A wrong password and a forbidden host do not pass by themselves.
        let is_transient = !cause.contains("407") && !cause.contains("403");
        assert!(text.contains(&format!(r#""is_transient":{is_transient}"#)), "{text}");
        let everything = text + &process.stdout() + &process.stderr();
        assert!(!everything.contains("hunter2"), "{everything}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_tunnel_of_the_app_goes_through_the_proxy_too() {
    let (origin, pki, egress) = (Origin::plain("x"), TestPki::new(), EgressProxy::start());
    // The tunnel's port is always 443, where nothing of this test listens: the egress proxy forbids it.
    let forbidding = EgressProxy::answering("403 Forbidden");
    let listen = format!("{}\ntunnel_hosts = [\"echo.example\"]", pki.listen_config());
    let url = format!("proxy = {{ file = \"{}\" }}", pki.path("proxy-url").display());
    std::fs::write(pki.path("proxy-url"), forbidding.url()).unwrap();
    let setup = ProxyConfig {
        listen: &listen,
        upstream: &(upstream(&origin) + &url),
        ..ProxyConfig::default()
    };
    let graphward = TestProxy::start_with(1, setup);
    let connect = "CONNECT echo.example:443 HTTP/1.1\r\nHost: echo.example\r\n\r\n";
    let response = Client::connect(graphward.proxy).round_trip(connect);
    assert_eq!(response.status, 502);
    let cause = "it answered CONNECT with 403 Forbidden (the egress proxy";
    assert!(response.text().contains(cause), "{}", response.text());
    assert_eq!(forbidding.take(), ["echo.example:443"]);
    assert_eq!(egress.take(), [""; 0]);
}

#[tokio::test]
async fn bytes_in_a_tunnel_through_the_proxy_are_unchanged() {
    let egress = EgressProxy::start();
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = echo.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _peer) = echo.accept().unwrap();
        let mut space = [0; 7];
        stream.read_exact(&mut space).unwrap();
        stream.write_all(&space).unwrap();
    });
    let graphward::net::Dialed::Tunneled(mut tunnel) = dialer(&egress).dial("echo.example", port).await.unwrap() else {
        panic!("it is not tunneled");
    };
    tunnel.write_all(b"\0\x16\xffabcd").await.unwrap();
    let mut echoed = Vec::new();
    tunnel.read_to_end(&mut echoed).await.unwrap();
    assert_eq!(echoed, b"\0\x16\xffabcd");
    assert_eq!(egress.take(), [format!("echo.example:{port}")]);
}

fn dialer(egress: &EgressProxy) -> Dialer {
    let url = EgressProxyUrl {
        set_by: "HTTPS_PROXY",
        url: egress.url().into(),
    };
    let tls = tls::client(None, &[b"http/1.1"]).unwrap();
    Dialer {
        egress: graphward::net::EgressProxy::new(&url, "direct.example", tls).unwrap(),
        timeout: TIMEOUT,
        ..Dialer::default()
    }
}

#[tokio::test]
async fn the_control_plane_goes_through_the_proxy_and_plain_http_goes_around_it() {
    let (origin, egress) = (Origin::plain("ok"), EgressProxy::start());
    let call = async |scheme: &str, port: u16, egress: &EgressProxy| {
        let client = client_with(|config| config.dialer = dialer(egress), TIMEOUT);
        let url = format!("{scheme}://localhost:{port}/debug_token?input_token=hunter2");
        client.send(Request::get(url).body("".into()).unwrap()).await
    };
    assert_eq!(call("https", origin.port, &egress).await.unwrap().body(), "ok");
    assert_eq!(egress.take(), [format!("localhost:{}", origin.port)]);
    let plain = Origin::without_tls(|exchange| exchange.ok("plain"));
    assert_eq!(call("http", plain.port, &egress).await.unwrap().body(), "plain");
    assert_eq!(egress.take(), [""; 0]);
    for (answer, cause) in [
        ("403 Forbidden", "it answered CONNECT with 403 Forbidden"),
        ("407 Proxy Authentication Required", "it answered 407: check the user"),
        ("502 Bad Gateway", "it answered CONNECT with 502 Bad Gateway"),
    ] {
        let denying = EgressProxy::answering(answer);
        let error = call("https", origin.port, &denying).await.unwrap_err();
        assert!(matches!(error, HttpClientError::Connect { .. }), "{error:?}");
        let shown = error_chain(&error);
        let proxy = format!("the egress proxy 127.0.0.1:{} of HTTPS_PROXY", denying.port);
        assert!(shown.contains(cause) && shown.contains(&proxy), "{shown}");
        assert!(!format!("{shown} {error:?}").contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_proxy_that_is_graphward_itself_is_refused_at_the_start_and_the_variable_named() {
    let [port] = free_ports();
    for (name, url) in [
        ("HTTPS_PROXY", format!("http://127.0.0.1:{port}")),
        ("https_proxy", format!("http://me:hunter2@localhost:{port}/")),
        ("HTTPS_PROXY", "socks5://me:hunter2@localhost:1080".to_owned()),
        ("HTTPS_PROXY", "http://$HUNTER2".to_owned()),
        ("https_proxy", "http://${hunter2}:3128".to_owned()),
        ("HTTPS_PROXY", "http://$hunter2.example:3128".to_owned()),
        ("HTTPS_PROXY", "http://me:${hunter2}@localhost:3128".to_owned()),
        ("HTTPS_PROXY", "%HUNTER2%".to_owned()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let listen = format!("\"127.0.0.1:{port}\"");
        let setup = ProxyConfig {
            proxy: Some(&listen),
            ..ProxyConfig::default()
        };
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_graphward"))
            .args(["serve", "--config"])
            .arg(setup.write(dir.path(), 1))
            .env_clear()
            .env(name, &url)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        let is_own = error.contains("where graphward itself listens");
        assert_eq!(
            is_own,
            url.ends_with(&port.to_string()) || url.ends_with('/'),
            "{error}"
        );
    }
}

#[test]
fn a_password_in_the_configuration_file_is_refused() {
    for (line, is_valid) in [
        ("proxy = \"http://proxy.example:3128\"", true),
        ("proxy = \"none\"", true),
        ("proxy = \"\"", true),
        ("proxy = { env = \"PROXY_URL\" }", true),
        ("proxy = \"http://me:hunter2@proxy.example:3128\"", false),
        ("proxy = \"me:hunter2@proxy.example:3128\"", false),
        ("proxy = \"socks5://proxy.example\"", false),
        ("proxy = \"proxy.example:3128\"", false),
        ("proxy = \"http://$hunter2\"", false),
        ("proxy = \"http://${hunter2}:3128\"", false),
        ("connect_to = { \"graph.facebook.com\" = \"$hunter2:443\" }", false),
        ("origin = \"https://${hunter2}\"", false),
        ("hosts = [\"$hunter2\"]", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let flags = Overrides {
            config: Some(ProxyConfig::upstream(line).write(dir.path(), 1)),
            ..Overrides::default()
        };
        let loaded = Config::load(flags, &EnvVars::new());
        assert_eq!(loaded.is_ok(), is_valid, "{line}");
        let shown = loaded.map_or_else(|error| error.to_string(), |loaded| format!("{:?}", loaded.config));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
