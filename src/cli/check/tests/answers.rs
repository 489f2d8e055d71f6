//! What Graph's answers about the proof, the app and the accounts come to, and what is only unknown.

use super::super::graph_findings;
use super::*;
use crate::graph::ProofMode;
use crate::net::{ConnectFailure, ConnectFailureKind, ProbedAddress};
use crate::types::SecretRef;

/// The findings about a token that is for one number, with this configuration.
fn found(facts: Facts, config: &Config) -> Vec<Finding> {
    diagnose(&facts, config, Clock::system().now())
}

fn of_number() -> TokenFacts {
    TokenFacts {
        accounts: vec![account(&[phone("1", "+1")])],
        ..token("EAAGone", inspection())
    }
}

#[test]
fn each_answer_about_the_proof_is_judged_unless_proofs_are_off_or_the_secret_is_wrong() {
    let mut config = config();
    config.app.secret = Some(SecretRef::Env {
        name: "SECRET".to_owned(),
        pointer: None,
    });
    let answers = [
        (ProofAnswer::Accepted, None),
        (ProofAnswer::OnlyWithout, Some(("proof_refused", Level::Bad))),
        (ProofAnswer::Refused, Some(("proof_refused", Level::Bad))),
        (ProofAnswer::Unknown, Some(("not_asked", Level::Note))),
    ];
    for (answer, judged) in answers {
        let facts = |app| Facts {
            token: Some(TokenFacts {
                proof: Some(answer),
                ..of_number()
            }),
            app: Some(app),
            ..Facts::default()
        };
        for (mode, expected) in [
            (ProofMode::PerToken, judged),
            (ProofMode::Timestamped, judged),
            (ProofMode::Off, Some(("proof_off", Level::Note))),
        ] {
            config.app.proof = mode;
            let found = found(facts(Ok(())), &config);
            let of_proof = found.iter().find(|finding| finding.topic == "proof").unwrap();
            let expected = expected.unwrap_or(("", Level::Good));
            let shown = format!("{answer:?} {mode:?}: {of_proof:?}");
            assert_eq!(of_proof.level, expected.1, "{shown}");
            assert!(expected.0.is_empty() || of_proof.code == expected.0, "{shown}");
            assert_eq!(codes(&found).len(), usize::from(expected.1 > Level::Good), "{found:?}");
        }
        config.app.proof = ProofMode::PerToken;
        let wrong = || ObtainError::permanent("app_refused", "code 101");
        let with_wrong_secret = found(facts(Err(wrong())), &config);
        assert_eq!(codes(&with_wrong_secret), ["app_secret_wrong"], "{answer:?}");
    }
    config.app.secret = None;
    let facts = Facts {
        token: Some(of_number()),
        ..Facts::default()
    };
    let without_secret = found(facts, &config);
    assert_eq!(codes(&without_secret), ["no_app"]);
    assert_eq!(without_secret.iter().map(|it| it.level).max(), Some(Level::Note));
}

#[test]
fn an_account_that_cannot_be_read_is_a_warning_with_its_id() {
    let unreadable = AccountFacts {
        numbers: Err(ObtainError::transient("throttled", "rate limited")),
        ..account(&[])
    };
    let facts = TokenFacts {
        accounts: vec![unreadable],
        ..token("EAAGone", inspection())
    };
    let found = findings(facts);
    assert_eq!(codes(&found), ["account_unreadable"]);
    let finding = found.iter().find(|it| it.code == "account_unreadable").unwrap();
    assert_eq!(finding.level, Level::Warning);
    let message = "the phone numbers of the account 500 cannot be read: rate limited";
    assert_eq!(finding.message, message);
}

#[test]
fn what_is_known_of_the_current_token_alone_is_named() {
    let current = TokenFacts {
        numbers: vec![named("1", Ok(FoundObject::Phone(phone("1", "+1"))))],
        ..token("EAAGone", inspection())
    };
    let candidate = token("EAAGtwo", changed(|it| it.scopes = None));
    let found = compare(&current, &candidate);
    assert_eq!(codes(&found), ["number_unknown", "scopes_unknown"]);
    let warned = decide(&found).unwrap();
    assert!(warned.contains("number: unknown (current: 1)"), "{warned}");
    assert!(warned.contains("scopes: unknown (current: whatsapp_"), "{warned}");
}

#[test]
fn why_the_accounts_of_a_token_are_unknown_is_said_and_that_it_names_none_only_if_graph_said_so() {
    let of_app = |app: Option<Result<(), ObtainError>>, secret: &str, inspection: Inspection| {
        let facts = Facts {
            token: Some(TokenFacts {
                is_hidden_from_app: app.is_some(),
                ..token(secret, inspection)
            }),
            app,
            ..Facts::default()
        };
        let found = found(facts, &config());
        let finding = found.into_iter().find(|finding| finding.topic == "number").unwrap();
        assert_eq!(finding.level, Level::Note);
        (finding.code, finding.message)
    };
    let without_accounts = || changed(|it| it.whatsapp_accounts = vec![]);
    // Graph has accepted the token, and said no more of it.
    let accepted = Inspection::default;
    let refused = || ObtainError::permanent("app_refused", "code 101");
    for (app, secret, inspection, code, words) in [
        (
            None,
            "EAAGone",
            accepted(),
            "not_asked",
            "app.id and app.secret are not both set",
        ),
        (
            Some(Err(refused())),
            "EAAGone",
            accepted(),
            "not_asked",
            "it cannot be asked as the app",
        ),
        (
            Some(Ok(())),
            "EAAGone",
            accepted(),
            "not_asked",
            "belongs to another app",
        ),
        // It may ask about itself.
        (
            None,
            "EAAGone",
            without_accounts(),
            "no_number",
            "names no WhatsApp Business Account",
        ),
        (
            Some(Ok(())),
            "EAAGone",
            without_accounts(),
            "no_number",
            "names no WhatsApp Business Account",
        ),
        (
            None,
            "THQone",
            accepted(),
            "no_number",
            "names no WhatsApp Business Account",
        ),
    ] {
        let (found, message) = of_app(app, secret, inspection);
        assert_eq!(found, code, "{message}");
        assert!(
            message.contains(words) && message.ends_with("no phone number was checked"),
            "{message}"
        );
    }
}

#[test]
fn an_address_that_fails_is_a_warning_where_another_works_and_bad_where_none_does() {
    let address = |result: Result<&'static str, ConnectFailureKind>| ProbedAddress {
        address: "203.0.113.1:443".to_owned(),
        result: result.map_err(|kind| ConnectFailure {
            host: "graph.facebook.com".to_owned(),
            kind,
            cause: "it failed".to_owned(),
        }),
        took: Duration::from_millis(31),
    };
    let works = || address(Ok("TLS 1.3"));
    let fails = |kind| address(Err(kind));
    let (refused, unroutable) = (ConnectFailureKind::Refused, ConnectFailureKind::Unroutable);
    for (addresses, levels) in [
        (vec![works(), works()], vec![Level::Good, Level::Good]),
        (vec![fails(refused), works()], vec![Level::Warning, Level::Good]),
        (
            vec![works(), fails(ConnectFailureKind::Certificate)],
            vec![Level::Good, Level::Warning],
        ),
        // Many machines have no route for IPv6.
        (vec![fails(unroutable), works()], vec![Level::Note, Level::Good]),
        (vec![fails(refused), fails(unroutable)], vec![Level::Bad, Level::Bad]),
        (vec![fails(unroutable)], vec![Level::Bad]),
    ] {
        let found = graph_findings(&addresses);
        assert_eq!(found.iter().map(|it| it.level).collect::<Vec<_>>(), levels, "{found:?}");
        for finding in found {
            let expected = if finding.level == Level::Good {
                "ok"
            } else {
                "unreachable"
            };
            assert_eq!(finding.code, expected);
            assert!(finding.message.starts_with("203.0.113.1:443: "), "{}", finding.message);
        }
    }
}
