//! Multipart forms.

use proptest::prelude::*;

use super::*;

const MULTIPART_BOUNDARY_B: &str = "multipart/form-data; boundary=b";

fn replaced(body: &str) -> String {
    let (left, _) = scrub_in_memory(MULTIPART_BOUNDARY_B, ClientCredentialPolicy::Replace, body.as_bytes()).unwrap();
    for lengths in [&[1][..], &[2, 5], &[usize::MAX]] {
        let pushed = scrub_in_chunks(
            MULTIPART_BOUNDARY_B,
            ClientCredentialPolicy::Replace,
            ScrubMode::Remove,
            body.as_bytes(),
            lengths,
        );
        assert_eq!(pushed.unwrap().0, left, "{body:?}");
    }
    String::from_utf8(left).unwrap()
}

#[test]
fn a_token_is_removed_however_its_part_is_framed() {
    let data = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
    let token = "Content-Disposition: form-data; name=access_token\r\n\r\nEAAG";
    for (sent, left) in [
        // As it should be; at the end; without an end; without the last line end.
        (format!("--b\r\n{token}\r\n{data}--b--\r\n"), format!("{data}--b--\r\n")),
        (format!("{data}--b\r\n{token}\r\n--b--\r\n"), format!("{data}--b--\r\n")),
        (format!("{data}--b\r\n{token}\r\n--b--"), format!("{data}--b--")),
        (format!("{data}--b\r\n{token}\r\n"), data.to_owned()),
        (format!("{data}--b\r\n{token}"), data.to_owned()),
        // A preamble, an epilogue, white space after the boundary.
        (
            format!("p\r\n--b\r\n{token}\r\n--b--\r\ne"),
            "p\r\n--b--\r\ne".to_owned(),
        ),
        (format!("\r\n--b\r\n{token}\r\n--b--"), "\r\n--b--".to_owned()),
        (format!("--b \t \r\n{token}\r\n--b--"), "--b--".to_owned()),
        (
            format!("--b\r\n{token}\r\n--b--\r\n--b\r\n{token}"),
            "--b--\r\n".to_owned(),
        ),
        // Bare line feeds.
        (
            format!("--b\n{}\n--b--\n", token.replace("\r\n", "\n")),
            "--b--\n".to_owned(),
        ),
        // No line end of its own before the boundary.
        (
            "--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\n--b--".to_owned(),
            "--b--".to_owned(),
        ),
        // A value that has lines, some of them like a boundary.
        (format!("--b\r\n{token}\r\n\r\n--bb\r\n--\r\n--b--"), "--b--".to_owned()),
        (
            "--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\n--b".to_owned(),
            "--b".to_owned(),
        ),
        // A part that has no head.
        (
            format!("--b\r\n\r\nx\r\n--b\r\n{token}\r\n--b--"),
            "--b\r\n\r\nx\r\n--b--".to_owned(),
        ),
    ] {
        assert_eq!(replaced(&sent), left, "{sent}");
    }
}

#[test]
fn parts_no_parser_reads_a_token_from_are_unchanged() {
    let head = "Content-Disposition: form-data; name=access_token\r\n\r\nEAAG\r\n";
    let long = "a".repeat(17 * 1024);
    for sent in [
        String::new(),
        "access_token=EAAG".to_owned(),
        head.to_owned(),
        format!("--c\r\n{head}--c--\r\n"),
        format!("--bb\r\n{head}--bb--\r\n"),
        format!(" --b\r\n{head}"),
        format!("-b\r\n{head}"),
        format!("--b x\r\n{head}"),
        format!("--b-\r\n{head}"),
        format!("--b--\r\n{head}"),
        "--b\r\nContent-Disposition: form-data; name=access_token".to_owned(),
        format!("--b{}\r\n{head}--b--\r\n", " ".repeat(300)),
        format!("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n{head}--b--\r\n"),
    ] {
        assert_eq!(replaced(&sent), sent);
    }
    let long_head = format!("--b\r\nX: {long}\r\n{head}--b--\r\n");
    let format = BodyFormat::from_headers(&headers(MULTIPART_BOUNDARY_B)).unwrap();
    let scrub = |signs| {
        let rules = ScrubRules::new(ClientCredentialPolicy::Replace, signs);
        scrub(&format, rules, long_head.clone().into())
    };
    assert_eq!(scrub(SignPolicy::Ignore).unwrap().0, long_head);
    let refused = scrub(SignPolicy::Read);
    assert!(
        matches!(refused, Err(ScrubError::CannotScrub(_))),
        "it may name a tenant"
    );
}

#[test]
fn the_boundary_may_be_odd() {
    for (parameter, boundary) in [
        ("boundary=\"b\"", "b"),
        ("boundary=\"a b\"", "a b"),
        ("BOUNDARY=--", "--"),
        ("charset=utf-8; boundary=\"'()+_,-./:=?\"", "'()+_,-./:=?"),
        ("boundary=\"a\\\"b\"", "a\"b"),
        ("boundary = b ; charset=utf-8", "b"),
    ] {
        for separator in [";", "; ", ","] {
            let content_type = format!("multipart/form-data{separator}{parameter}");
            let body = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=access_token\r\n\r\nEAAG\r\n--{boundary}--\r\n"
            );
            let (left, _) = scrub_in_memory(&content_type, ClientCredentialPolicy::Replace, body.as_bytes()).unwrap();
            let expected = format!("--{boundary}--\r\n");
            assert_eq!(std::str::from_utf8(&left), Ok(expected.as_str()), "{content_type}");
        }
    }
}

#[test]
fn restored_parts_come_before_the_closing_boundary() {
    let app = "--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\n12|s\r\n";
    let data = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1";
    let pushed = |body: String| {
        let left = scrub_in_chunks(
            MULTIPART_BOUNDARY_B,
            ClientCredentialPolicy::Replace,
            ScrubMode::Remove,
            body.as_bytes(),
            &[3],
        )?;
        Ok(String::from_utf8(left.0).unwrap())
    };
    for (sent, left) in [
        (format!("{app}{data}\r\n--b--e"), format!("{data}\r\n{app}--b--e")),
        (format!("{app}{data}\r\n"), format!("{data}\r\n{app}")),
        (format!("{app}{data}"), format!("{data}\r\n{app}")),
        (app.to_owned(), app.to_owned()),
        // A form that breaks off in a boundary line, or in a head.
        (format!("{app}{data}\r\n--b"), format!("{data}\r\n{app}--b")),
        (
            format!("{app}{data}\r\n--b\r\nX: y\r\n"),
            format!("{data}\r\n{app}--b\r\nX: y\r\n"),
        ),
        // What has been put back is final.
        (format!("{app}--b--\r\n{app}"), format!("{app}--b--\r\n{app}")),
    ] {
        assert_eq!(pushed(sent.clone()), Ok(left), "{sent}");
    }
    let late = format!("{app}--b--\r\n{}", app.replace("12|s", "EAAG"));
    assert!(matches!(pushed(late), Err(ScrubError::CannotScrub(_))));
}

#[test]
fn files_are_streamed() {
    let mut scrubber = scrubber(MULTIPART_BOUNDARY_B, ClientCredentialPolicy::Replace, ScrubMode::Remove);
    let mut out = BytesMut::new();
    let head = b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n";
    scrubber.push(head, &mut out).unwrap();
    assert_eq!(out, &head[..]);
    let chunk = [b"\r\n--a\r\n", &[b'x'; 4096][..]].concat();
    for _ in 0..100 {
        out.clear();
        scrubber.push(&chunk, &mut out).unwrap();
        assert_eq!(out, chunk, "nothing is kept");
    }
    out.clear();
    let end = b"\r\n--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\nEAAG\r\n--b--\r\n";
    scrubber.push(end, &mut out).unwrap();
    scrubber.finish(&mut out).unwrap();
    assert_eq!(out, &b"\r\n--b--\r\n"[..]);
}

#[test]
fn a_credential_that_is_too_long_is_refused() {
    let long = "a".repeat(17 * 1024);
    for (name, value) in [("access_token", long.clone()), ("batch", long.repeat(64))] {
        let body = format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n--b--\r\n");
        for lengths in [&[usize::MAX][..], &[1000]] {
            let left = scrub_in_chunks(
                MULTIPART_BOUNDARY_B,
                ClientCredentialPolicy::Replace,
                ScrubMode::Remove,
                body.as_bytes(),
                lengths,
            );
            assert!(matches!(left, Err(ScrubError::CannotScrub(_))));
        }
    }
    // What may have to be put back is bounded too.
    let app_token = "--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\n1|s\r\n";
    let many = app_token.repeat(8 * 1024);
    let left = scrub_in_chunks(
        MULTIPART_BOUNDARY_B,
        ClientCredentialPolicy::Replace,
        ScrubMode::Remove,
        many.as_bytes(),
        &[1000],
    );
    assert!(matches!(left, Err(ScrubError::CannotScrub(_))));
    // Where nothing is held, there may be any number.
    assert_eq!(replaced(&many.replace("1|s", "EAAG")), "");
}

#[test]
fn a_batch_is_reported() {
    let body = "--b\r\nContent-Disposition: form-data; name=batch\r\n\r\n[]\r\n--b--\r\n";
    let (left, scrubbed) =
        scrub_in_memory(MULTIPART_BOUNDARY_B, ClientCredentialPolicy::Replace, body.as_bytes()).unwrap();
    assert_eq!((&left[..], scrubbed.has_batch), (body.as_bytes(), true));
}

/// How a body is framed.
#[derive(Clone, Debug)]
struct Frame {
    boundary: &'static str,
    line_end: &'static str,
    padding: &'static str,
    preamble: &'static str,
    end: &'static str,
}

fn frame() -> impl Strategy<Value = Frame> {
    let boundaries = prop::sample::select(vec![
        "b",
        "--",
        "a b",
        "----WebKitFormBoundary7MA4YWxkTrZu0gW",
        "'()+_,-./:=?",
    ]);
    (
        boundaries,
        prop::sample::select(vec!["\r\n", "\n"]),
        prop::sample::select(vec!["", " ", " \t "]),
        prop::sample::select(vec!["", "\r\n", "x\r\n", "--\n"]),
        prop::sample::select(vec!["", "--", "--\r\n", "--\nepilogue\r\n", "-- \r\n--"]),
    )
        .prop_map(|(boundary, line_end, padding, preamble, end)| Frame {
            boundary,
            line_end,
            padding,
            preamble,
            end,
        })
}

/// The kind of a part, how its head writes its name, and its value.
fn part() -> impl Strategy<Value = (TestParameter, &'static str, &'static str, String)> {
    let styles = prop::sample::select(vec![
        "Content-Disposition: form-data; name=\"NAME\"",
        "content-disposition:form-data;name=NAME",
        "Content-Type: text/plain; charset=\"UTF-8\"|Content-Disposition: form-data;| name='NAME'",
        "CONTENT-DISPOSITION : form-data; x=\"\\\";\"; Name=\"NAME\" ; y|X-Y: name=a",
        "Content-Disposition: form-data; name*=UTF-8''NAME|Content-Length: 1",
    ]);
    let hard = "(\r\n|\n|--|-|\u{e4}|BOUNDARY|\r\n--BOUNDARYx|\n--BOUNDARY-|\r\n--|a| |access_token){0,9}";
    let proof = prop::sample::select(vec!["appsecret_proof", "appsecret_time"]);
    let one = prop_oneof![
        (
            prop::sample::select(vec![
                "a",
                "access_tokens",
                "input_token",
                "x\"; filename=\"access_token"
            ]),
            hard
        )
            .prop_map(|(name, value)| (TestParameter::Data, name, value)),
        (proof, "[a-f0-9]{0,64}").prop_map(|(name, value)| (TestParameter::Proof, name, value)),
        "|null|NONE|undefined| |\r\n".prop_map(|value| (TestParameter::Placeholder, "access_token", value)),
        "[0-9]{1,9}\\|[a-z=]{0,9}".prop_map(|value| (TestParameter::App, "access_token", value)),
        "(EAA|IGAA|-)[a-zA-Z0-9]{9,60}".prop_map(|value| (TestParameter::Token, "access_token", value)),
    ];
    (styles, one).prop_map(|(style, (kind, name, value))| (kind, style, name, value))
}

/// Whether one of its lines is a boundary.
fn has_boundary(text: &str, boundary: &str) -> bool {
    text.split('\n').any(|line| {
        line.strip_prefix("--")
            .and_then(|line| line.strip_prefix(boundary))
            .is_some_and(|rest| rest.starts_with("--") || rest.trim_end().is_empty())
    })
}

proptest! {
    #[test]
    fn a_scrubbed_form_equals_the_form_without_its_credentials(
        frame in frame(),
        parts in prop::collection::vec(part(), 0..7),
        lengths in prop::collection::vec(1..90_usize, 1..9),
    ) {
        let Frame { boundary, line_end, padding, preamble, end } = frame;
        let mut pieces = Vec::new();
        for (kind, style, name, value) in &parts {
            let value = value.replace("BOUNDARY", boundary);
            prop_assume!(!has_boundary(&value, boundary));
            let head = style.replace('|', line_end);
            let head = head.replace("NAME", name);
            let piece = format!(
                "--{boundary}{padding}{line_end}{head}{line_end}{line_end}{value}{line_end}"
            );
            pieces.push((*kind, piece.into_bytes()));
        }
        let join = |pieces: &[&[u8]]| {
            let mut body = preamble.as_bytes().to_vec();
            body.extend(pieces.concat());
            if !end.is_empty() {
                body.extend(format!("--{boundary}{end}").bytes());
            }
            body
        };
        let mask = |piece: &[u8]| {
            let text = std::str::from_utf8(piece).unwrap();
            let blank = format!("{line_end}{line_end}");
            let (head, value) = text.split_once(&blank).unwrap();
            let value = value.strip_suffix(line_end).unwrap();
            let mut head = head.to_owned();
            for name in ["UTF-8''access_token", "access_token", "UTF-8''appsecret_proof",
                         "appsecret_proof", "UTF-8''appsecret_time", "appsecret_time"] {
                head = head.replace(name, &"x".repeat(name.len()));
            }
            let value = "x".repeat(value.len());
            format!("{head}{blank}{value}{line_end}").into_bytes()
        };
        let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
        let body = PiecewiseBody { content_type: &content_type, pieces: &pieces, join: &join };
        assert_follows_rules_in_memory(&body);
        assert_follows_rules_in_chunks(&body, &lengths, mask);
    }

    #[test]
    fn the_result_does_not_depend_on_the_chunks(
        text in "(\r\n|\n|--b|--|b|Content-Disposition: form-data; name=|access_token|batch|EAAG|1\\||appsecret_proof|\r\n\r\n|;|:|\"|\\\\){0,25}",
        lengths in prop::collection::vec(1..9_usize, 1..5),
    ) {
        for (policy, mode) in POLICIES.into_iter().flat_map(|policy| [(policy, ScrubMode::Remove), (policy, ScrubMode::Mask)]) {
            let in_one_chunk = scrub_in_chunks(MULTIPART_BOUNDARY_B, policy, mode, text.as_bytes(), &[usize::MAX]);
            let pushed = scrub_in_chunks(MULTIPART_BOUNDARY_B, policy, mode, text.as_bytes(), &lengths);
            prop_assert_eq!(&in_one_chunk, &pushed);
            let Ok((left, scrubbed)) = in_one_chunk else { continue };
            prop_assert!(mode == ScrubMode::Remove || left.len() == text.len());
            prop_assert!(scrubbed.is_changed || left == text.as_bytes());
            let again = scrub_in_chunks(MULTIPART_BOUNDARY_B, policy, mode, &left, &lengths);
            prop_assert_eq!(again.map(|(left, _)| left), Ok(left));
        }
    }
}
