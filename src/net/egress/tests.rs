use super::*;
use crate::net::tls;

fn proxy(url: &str, no_proxy: &str) -> Result<EgressProxy, EgressProxyError> {
    let url = EgressProxyUrl {
        set_by: "HTTPS_PROXY",
        url: Zeroizing::new(url.to_owned()),
    };
    EgressProxy::new(&url, no_proxy, tls::client(None, &[b"http/1.1"]).unwrap())
}

#[test]
fn each_variable_has_two_spellings_and_the_upper_one_wins() {
    let read = |set: &[(&str, &str)]| {
        let value = |name: &str| {
            set.iter()
                .find(|(set, _)| *set == name)
                .map(|(_, value)| (*value).to_owned())
        };
        EgressVariables::read(value)
    };
    let upper = read(&[
        ("HTTPS_PROXY", "http://a"),
        ("https_proxy", "http://b"),
        ("no_proxy", "c"),
    ]);
    let proxy = upper.proxy.unwrap();
    assert_eq!((proxy.set_by, proxy.url.as_str()), ("HTTPS_PROXY", "http://a"));
    assert_eq!(upper.no_proxy, "c");
    let lower = read(&[("https_proxy", "http://b"), ("NO_PROXY", "d"), ("no_proxy", "c")]);
    assert_eq!(
        (lower.proxy.unwrap().set_by, lower.no_proxy.as_str()),
        ("https_proxy", "d")
    );
    assert_eq!(
        read(&[("HTTP_PROXY", "http://a"), ("ALL_PROXY", "http://a")]),
        EgressVariables::default()
    );
}

#[test]
fn no_proxy_takes_names_domains_networks_and_a_star() {
    for (no_proxy, host, is_direct) in [
        ("", "graph.facebook.com", false),
        ("*", "graph.facebook.com", true),
        (" * ", "127.0.0.1", true),
        ("graph.facebook.com", "graph.facebook.com", true),
        (".facebook.com", "graph.facebook.com", true),
        ("facebook.com", "graph.facebook.com", true),
        (" other.example , Facebook.COM", "graph.facebook.com", true),
        ("book.com", "graph.facebook.com", false),
        ("graph.facebook.com.evil.example", "graph.facebook.com", false),
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.0.0.0/8", "11.1.2.3", false),
        ("::1", "::1", true),
        ("fd00::/8", "fd12::1", true),
        ("fd00::/8", "::1", false),
    ] {
        let egress = proxy("http://proxy.example:3128", no_proxy).unwrap();
        assert_eq!(egress.for_host(host).is_none(), is_direct, "{no_proxy:?} {host}");
    }
}

#[test]
fn what_is_no_proxy_for_connect_is_an_error_that_names_the_variable_and_hides_the_url() {
    for url in [
        "socks5://me:hunter2@proxy.example:1080",
        "ftp://me:hunter2@proxy.example",
        "http://me:hunter2@",
        "/hunter2",
        "http://hunter2 example",
        "http://proxy.example:hunter2",
        "http://$HUNTER",
        "http://${hunter2}:3128",
        "http://$hunter2.example:3128",
        "http://%HUNTER%:3128",
        "hunter2_$PORT:3128",
        "",
    ] {
        let error = proxy(url, "").unwrap_err();
        assert_eq!(error, EgressProxyError::Url("HTTPS_PROXY"), "{url}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    for (url, address) in [
        ("http://proxy.example", "proxy.example:80"),
        ("https://proxy.example", "proxy.example:443"),
        ("proxy.example:3128", "proxy.example:3128"),
        ("http://me:hunter2@[::1]:3128/", "[::1]:3128"),
        ("http://me:$hunter2@10.0.0.1:3128", "10.0.0.1:3128"),
        ("http://egress_proxy:3128", "egress_proxy:3128"),
        ("http://proxy.example.:3128", "proxy.example.:3128"),
    ] {
        let egress = proxy(url, "").unwrap();
        assert_eq!(egress.to_string(), format!("the egress proxy {address} of HTTPS_PROXY"));
        assert!(!format!("{egress:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_listener_of_its_own_is_refused_however_it_is_spelled() {
    for (url, listener, is_own) in [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
        ("http://localhost:8080", "127.0.0.1:8080", true),
        ("127.0.0.1:8080", "0.0.0.0:8080", true),
        ("http://[::1]:8080", "[::]:8080", true),
        ("http://127.0.0.2:8080", "[::]:8080", true),
        ("http://[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true),
        ("http://0.0.0.0:8080", "127.0.0.1:8080", true),
        ("http://127.0.0.1:8080", "127.0.0.1:8081", false),
        ("http://127.0.0.1:8080", "127.0.0.2:8080", false),
        ("http://192.0.2.1:8080", "0.0.0.0:8080", false),
    ] {
        let listeners = ["127.0.0.1:9080".parse().unwrap(), listener.parse().unwrap()];
        let checked = proxy(url, "").unwrap().check_not_own_listener(&listeners).await;
        assert_eq!(checked.is_err(), is_own, "{url} {listener}");
    }
    let listeners = ["127.0.0.1:9080".parse().unwrap()];
    assert_eq!(EgressProxy::default().check_not_own_listener(&listeners).await, Ok(()));
}
