use super::super::routes::{Found, find};
use super::*;

const KEY: &str = "a-key-of-the-operators";

fn guarded(policy: &AccessPolicy, exposed: Option<SocketAddr>, request: &[(&str, &str)]) -> [&'static str; 2] {
    let request: Vec<_> = request.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    guarded_bytes(policy, exposed, &request)
}

/// The same with fields that are no text.
fn guarded_bytes(policy: &AccessPolicy, exposed: Option<SocketAddr>, fields: &[(&str, &[u8])]) -> [&'static str; 2] {
    let address = AdminAddress {
        url: "http://127.0.0.1:9080".to_owned(),
        exposed,
        hosts: vec!["graphward".to_owned()],
    };
    let guard = Guard {
        policy,
        address: &address,
    };
    [(Method::GET, "/admin/events"), (Method::PUT, "/admin/token")].map(|(method, path)| {
        let Found::Route(route) = find(&method, path) else {
            panic!("{path}");
        };
        let request = |target: &str, is_sent: &dyn Fn(&str) -> bool| {
            let mut builder = Request::builder().method(&method).uri(target);
            for (name, value) in fields.iter().filter(|(name, _)| is_sent(name)) {
                builder = builder.header(*name, *value);
            }
            builder.body(())
        };
        let result = named(guard.check(route, &request(path, &|_| true).unwrap()));
        // Over HTTP/2, the target names the host.
        let hosts: Vec<_> = fields.iter().filter(|(name, _)| *name == "host").collect();
        if let [(_, host)] = hosts[..] {
            let target = format!("http://{}{path}", str::from_utf8(host).unwrap());
            if let Ok(request) = request(&target, &|name| name != "host") {
                assert_eq!(named(guard.check(route, &request)), result, "{target}");
            }
        }
        result
    })
}

fn named(checked: Result<(), AccessError>) -> &'static str {
    match checked {
        Ok(()) => "yes",
        Err(AccessError::Exposed(_)) => "exposed",
        Err(AccessError::ReadOnly) => "read-only",
        Err(AccessError::NoKey) => "key",
        Err(AccessError::WrongKey) => "wrong key",
        Err(AccessError::NoHeader) => "header",
        Err(AccessError::ForeignHost | AccessError::UnknownHost) => "host",
        Err(AccessError::ForeignOrigin) => "origin",
        Err(AccessError::Repeated(_)) => "twice",
    }
}

const LOCAL: (&str, &str) = ("host", "localhost:9080");
const YES: (&str, &str) = ("graphward-admin", "yes");

#[test]
fn without_a_key_looks_and_changes_are_of_this_machine_and_of_no_other_page() {
    let policy = AccessPolicy {
        key: None,
        writes: true,
    };
    for (headers, expected) in [
        (vec![LOCAL, YES], ["yes", "yes"]),
        (vec![LOCAL], ["yes", "header"]),
        (vec![YES], ["host", "host"]),
        (vec![("host", "[::1]:9080"), YES], ["yes", "yes"]),
        (vec![("host", "rebound.example"), YES], ["host", "host"]),
        (vec![("host", "127.0.0.1.nip.io"), YES], ["host", "host"]),
        (vec![LOCAL, ("host", "evil.example"), YES], ["twice", "twice"]),
        (vec![("host", "evil.example@localhost"), YES], ["host", "host"]),
        (vec![("host", "localhost:abc"), YES], ["host", "host"]),
        (vec![("host", "[::1]:99999"), YES], ["host", "host"]),
        (vec![LOCAL, YES, ("origin", "http://localhost:9080")], ["yes", "yes"]),
        (
            vec![LOCAL, YES, ("origin", "http://localhost:3000")],
            ["origin", "origin"],
        ),
        (
            vec![LOCAL, YES, ("origin", "https://evil.example")],
            ["origin", "origin"],
        ),
        (vec![LOCAL, YES, ("origin", "null")], ["origin", "origin"]),
        (
            vec![LOCAL, YES, ("origin", "foo://localhost:9080")],
            ["origin", "origin"],
        ),
        (vec![LOCAL, YES, ("sec-fetch-site", "cross-site")], ["origin", "origin"]),
        (vec![LOCAL, YES, ("sec-fetch-site", "same-site")], ["origin", "origin"]),
        (vec![LOCAL, YES, ("sec-fetch-site", "same-origin")], ["yes", "yes"]),
        (vec![LOCAL, YES, ("sec-fetch-site", "none")], ["yes", "yes"]),
    ] {
        assert_eq!(guarded(&policy, None, &headers), expected, "{headers:?}");
    }
}

#[test]
fn a_listener_that_others_reach_changes_nothing_without_its_key_and_shows_nothing_to_a_rebound_name() {
    let open = AccessPolicy {
        key: None,
        writes: true,
    };
    let exposed = Some(SocketAddr::from(([0, 0, 0, 0], 9080)));
    assert_eq!(guarded(&open, exposed, &[LOCAL, YES]), ["yes", "exposed"]);
    assert_eq!(
        guarded(&open, exposed, &[("host", "graphward:9080"), YES]),
        ["yes", "exposed"]
    );
    for address in ["10.0.0.7:9080", "[2001:db8::7]:9080"] {
        assert_eq!(guarded(&open, exposed, &[("host", address)]), ["yes", "exposed"]);
    }
    for name in ["rebound.example", "10.0.0.7.nip.io", "graphward.evil.example", ""] {
        assert_eq!(
            guarded(&open, exposed, &[("host", name)]),
            ["host", "exposed"],
            "{name}"
        );
    }
    let locked = AccessPolicy {
        key: Some(Secret::new(KEY).unwrap()),
        writes: true,
    };
    let right = format!("Bearer {KEY}");
    for exposed in [exposed, None] {
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer a-key-of-the-operator",
            "Basic YTpi",
            KEY,
        ] {
            let headers = [LOCAL, YES, ("authorization", wrong)];
            assert_eq!(
                guarded(&locked, exposed, &headers),
                ["wrong key", "wrong key"],
                "{wrong}"
            );
        }
        assert_eq!(guarded(&locked, exposed, &[LOCAL, YES]), ["key", "key"]);
        for scheme in ["Bearer", "bearer"] {
            let headers = [
                ("host", "graphward:9080"),
                ("authorization", &format!("{scheme} {KEY}")),
            ];
            assert_eq!(guarded(&locked, exposed, &headers), ["yes", "yes"], "{scheme}");
        }
        let page = [LOCAL, ("authorization", &right), ("origin", "https://evil.example")];
        assert_eq!(guarded(&locked, exposed, &page), ["origin", "origin"]);
    }
}

#[test]
fn changes_can_be_switched_off() {
    for key in [None, Some(Secret::new(KEY).unwrap())] {
        let policy = AccessPolicy { key, writes: false };
        let key = format!("Bearer {KEY}");
        let headers = [LOCAL, YES, ("authorization", key.as_str())];
        assert_eq!(guarded(&policy, None, &headers), ["yes", "read-only"]);
        // Without the key, a request is not told what is switched off.
        let refused = ["key", "wrong key"].map(|word| {
            if policy.key.is_some() {
                [word; 2]
            } else {
                ["yes", "read-only"]
            }
        });
        let wrong = [LOCAL, YES, ("authorization", "Bearer wrong")];
        assert_eq!(guarded(&policy, None, &[LOCAL, YES]), refused[0]);
        assert_eq!(guarded(&policy, None, &wrong), refused[1]);
    }
}

#[test]
fn a_field_that_guards_is_there_once_and_can_be_read() {
    let open = AccessPolicy {
        key: None,
        writes: true,
    };
    for (name, first, second) in [
        ("origin", "http://localhost:9080", "https://evil.example"),
        ("sec-fetch-site", "same-origin", "cross-site"),
        ("graphward-admin", "yes", "no"),
        ("host", "localhost:9080", "localhost:9080"),
    ] {
        let fields = [LOCAL, YES].into_iter().filter(|(known, _)| *known != name);
        let fields: Vec<_> = fields.chain([(name, first), (name, second)]).collect();
        assert_eq!(guarded(&open, None, &fields), ["twice", "twice"], "{name}");
    }
    for name in ["origin", "sec-fetch-site"] {
        let fields = [
            (LOCAL.0, LOCAL.1.as_bytes()),
            (YES.0, YES.1.as_bytes()),
            (name, b"\xff"),
        ];
        assert_eq!(guarded_bytes(&open, None, &fields), ["origin", "origin"], "{name}");
    }
    let locked = AccessPolicy {
        key: Some(Secret::new(KEY).unwrap()),
        writes: true,
    };
    let right = format!("Bearer {KEY}");
    for other in ["Bearer wrong", &right] {
        let fields = [LOCAL, ("authorization", &right), ("authorization", other)];
        assert_eq!(guarded(&locked, None, &fields), ["twice", "twice"], "{other}");
    }
}

#[test]
fn the_command_line_of_a_refusal_repeats_nothing_that_may_be_a_secret() {
    let policy = AccessPolicy {
        key: Some(Secret::new(KEY).unwrap()),
        writes: true,
    };
    let address = AdminAddress {
        url: "http://127.0.0.1:9080".to_owned(),
        exposed: None,
        hosts: Vec::new(),
    };
    let guard = Guard {
        policy: &policy,
        address: &address,
    };
    for (method, target, shown) in [
        (
            Method::GET,
            "/admin/tenants?state=dead&limit=5",
            "/admin/tenants?state=dead&limit=5",
        ),
        (
            Method::GET,
            "/admin/tenants?key=KEY&limit=5&KEY",
            "/admin/tenants?limit=5",
        ),
        (Method::GET, "/admin/tenants?key=KEY", "/admin/tenants"),
        (
            Method::GET,
            "/admin/tenants?search=EAAGm0PX4ZCpsBAKZAhunter2hunter2",
            "/admin/tenants",
        ),
        (Method::DELETE, "/admin/tenants/acme?key=KEY", "/admin/tenants/acme"),
        (
            Method::DELETE,
            "/admin/tenants/EAAGm0PX4ZCpsBAKZAhunter2hunter2",
            "/admin/tenants/NAME",
        ),
    ] {
        let target: Uri = target.replace("KEY", KEY).parse().unwrap();
        let Found::Route(route) = find(&method, target.path()) else {
            panic!("{target}");
        };
        let line = guard.command_line(route, &target);
        let url = format!("http://127.0.0.1:9080{shown}");
        let word = if shown.contains('?') { format!("'{url}'") } else { url };
        assert!(line.ends_with(&format!(" {word}")), "{line}");
    }
}
