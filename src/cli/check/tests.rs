use std::time::Duration;

use super::compare::{breaking, compare};
use super::diagnose::diagnose;
use super::facts::{AccountFacts, AppFacts, Facts, IdOrigin, NumberAnswer, NumberFacts, Refusal, TokenFacts};
use super::report::{Finding, Level};
use crate::config::{Config, EnvVars, Overrides};
use crate::graph::{Expiry, Inspection, PhoneNumber, TokenKind};
use crate::token::{ProofAnswer, Token};
use crate::types::{Clock, Secret};
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config() -> Config {
    let mut config = Config::load(Overrides::default(), &EnvVars::new()).unwrap().config;
    config.app.id = Some("42".to_owned());
    config
}

fn inspection() -> Inspection {
    Inspection {
        kind: Some(TokenKind::SystemUser),
        app_id: Some("42".to_owned()),
        expires_at: Expiry::Never,
        scopes: Some(
            ["whatsapp_business_messaging", "whatsapp_business_management"]
                .map(str::to_owned)
                .to_vec(),
        ),
        whatsapp_accounts: vec!["500".to_owned()],
        ..Inspection::default()
    }
}

fn changed(change: impl FnOnce(&mut Inspection)) -> Inspection {
    let mut changed = inspection();
    change(&mut changed);
    changed
}

fn token(secret: &str, inspection: Inspection) -> TokenFacts {
    TokenFacts {
        source: "file token".to_owned(),
        inspection: Some(Ok(inspection)),
        proof: Some(ProofAnswer::Accepted),
        ..TokenFacts::unasked(Token::without_expiry(Secret::new(secret).unwrap()))
    }
}

fn phone(id: &str, display: &str) -> PhoneNumber {
    PhoneNumber {
        id: id.to_owned(),
        display_phone_number: Some(display.to_owned()),
        code_verification_status: Some("VERIFIED".to_owned()),
        ..PhoneNumber::default()
    }
}

fn account(numbers: &[PhoneNumber]) -> AccountFacts {
    AccountFacts {
        id: "500".to_owned(),
        numbers: Ok(numbers.to_vec()),
    }
}

fn number(id: &str, origin: IdOrigin, answer: NumberAnswer) -> NumberFacts {
    let id = id.to_owned();
    NumberFacts { id, origin, answer }
}

fn refused() -> NumberAnswer {
    NumberAnswer::Refused(Refusal {
        text: "code 100, subcode 33".to_owned(),
        is_transient: false,
    })
}

fn findings(token: TokenFacts) -> Vec<Finding> {
    let facts = Facts {
        token: Some(token),
        app: AppFacts::Right,
        ..Facts::default()
    };
    diagnose(&facts, &config(), Clock::system().now())
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    let found = findings.iter().filter(|finding| finding.level > Level::Good);
    found.map(|finding| finding.code).collect()
}

#[test]
fn an_id_is_judged_by_what_is_known_of_the_accounts() {
    use IdOrigin::{Named, Object};
    let known = phone("106540352242922", "+49 170 1234567");
    let transient = NumberAnswer::Refused(Refusal {
        text: "throttled".to_owned(),
        is_transient: true,
    });
    for (accounts, number, code) in [
        (
            vec![account(std::slice::from_ref(&known))],
            number("491701234567", Named, refused()),
            Some("number_in_place_of_id"),
        ),
        (
            vec![account(std::slice::from_ref(&known))],
            number("+49 170 1234567", Named, NumberAnswer::NoId),
            Some("number_in_place_of_id"),
        ),
        (
            vec![],
            number("491701234567", Named, refused()),
            Some("number_in_place_of_id"),
        ),
        (
            vec![],
            number("106540352242922", Named, refused()),
            Some("number_unreadable"),
        ),
        (
            vec![account(&[])],
            number("106540352242922", Named, refused()),
            Some("number_unreadable"),
        ),
        (
            vec![account(std::slice::from_ref(&known))],
            number("999999999999999", Named, refused()),
            Some("number_of_other_account"),
        ),
        (
            vec![account(std::slice::from_ref(&known))],
            number("1", Named, NumberAnswer::Phone(phone("1", "+1"))),
            Some("number_of_other_account"),
        ),
        (
            vec![],
            number("500", Named, NumberAnswer::Account(vec![known.clone()])),
            Some("account_in_place_of_id"),
        ),
        (
            vec![],
            number("500", Object, NumberAnswer::Account(vec![known.clone()])),
            None,
        ),
        (vec![], number("1", Named, NumberAnswer::Phone(phone("1", "+1"))), None),
        (
            vec![account(std::slice::from_ref(&known))],
            number("106540352242922", Object, NumberAnswer::Phone(known.clone())),
            None,
        ),
        (vec![], number("106540352242922", Named, transient), Some("not_asked")),
    ] {
        let shown = format!("{accounts:?} {number:?}");
        let facts = TokenFacts {
            accounts,
            numbers: vec![number],
            ..token("EAAGone", inspection())
        };
        assert_eq!(codes(&findings(facts)), code.into_iter().collect::<Vec<_>>(), "{shown}");
    }
}

#[test]
fn a_number_that_may_not_send_for_long_is_a_warning() {
    for (verification, quality, code) in [
        (Some("NOT_VERIFIED"), Some("GREEN"), Some("not_verified")),
        (Some("VERIFIED"), Some("RED"), Some("quality_red")),
        // An old code is usual, and keeps no message back.
        (Some("EXPIRED"), Some("YELLOW"), None),
        (None, None, None),
    ] {
        let [verification, quality] = [verification, quality].map(|text| text.map(str::to_owned));
        let number = PhoneNumber {
            code_verification_status: verification,
            quality_rating: quality,
            ..phone("1", "+1")
        };
        let facts = TokenFacts {
            accounts: vec![account(&[number])],
            ..token("EAAGone", inspection())
        };
        assert_eq!(codes(&findings(facts)), code.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_token_is_judged_by_its_kind_app_end_and_permissions() {
    let at = |days| Expiry::At(Clock::system().now() + DAY * days);
    let scopes = |scopes: &[&str]| Some(scopes.iter().map(ToString::to_string).collect());
    let pages = || scopes(&["pages_messaging"]);
    for (inspection, code) in [
        (changed(|it| it.kind = Some(TokenKind::Page)), vec!["page_token"]),
        (changed(|it| it.kind = Some(TokenKind::User)), vec!["user_token"]),
        (
            changed(|it| {
                it.kind = Some(TokenKind::App);
                it.scopes = None;
            }),
            vec!["app_token"],
        ),
        (
            changed(|it| {
                it.kind = Some(TokenKind::Page);
                it.scopes = pages();
            }),
            vec!["page_token", "no_whatsapp_scopes"],
        ),
        (
            changed(|it| it.app_id = Some("43".to_owned())),
            vec!["token_of_other_app"],
        ),
        (changed(|it| it.app_id = None), vec![]),
        (changed(|it| it.expires_at = at(3)), vec!["expires_soon"]),
        (changed(|it| it.expires_at = at(30)), vec![]),
        (
            changed(|it| it.data_access_expires_at = at(3)),
            vec!["data_access_expires_soon"],
        ),
        (
            changed(|it| it.scopes = scopes(&["whatsapp_business_management"])),
            vec!["missing_scopes"],
        ),
        (changed(|it| it.scopes = None), vec![]),
    ] {
        let shown = format!("{inspection:?}");
        let facts = TokenFacts {
            accounts: vec![account(&[phone("1", "+1")])],
            ..token("EAAGone", inspection)
        };
        assert_eq!(codes(&findings(facts)), code, "{shown}");
    }
    let other = TokenFacts {
        is_of_other_app: true,
        accounts: vec![account(&[phone("1", "+1")])],
        ..token(
            "EAAGone",
            changed(|it| {
                it.app_id = None;
                it.kind = None;
            }),
        )
    };
    assert_eq!(codes(&findings(other)), ["token_of_other_app"]);
}

#[test]
fn a_token_that_breaks_what_works_needs_force_and_its_successor_does_not() {
    let works = |id: &str| number(id, IdOrigin::Named, NumberAnswer::Phone(phone(id, "+1")));
    let current = || TokenFacts {
        numbers: vec![works("1")],
        ..token("EAAGone", inspection())
    };
    let candidate = |inspection: Inspection, answer| TokenFacts {
        numbers: vec![number("1", IdOrigin::Named, answer)],
        ..token("EAAGtwo", inspection)
    };
    let like = || NumberAnswer::Phone(phone("1", "+1"));
    let accounts = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (inspection, answer, code, is_breaking) in [
        (inspection(), like(), vec![], false),
        (
            changed(|it| {
                it.user_id = None;
                it.expires_at = Expiry::Unknown;
            }),
            like(),
            vec![],
            false,
        ),
        (
            changed(|it| it.whatsapp_accounts = accounts(&["500", "600"])),
            like(),
            vec![],
            false,
        ),
        (changed(|it| it.whatsapp_accounts = vec![]), like(), vec![], false),
        (
            changed(|it| it.scopes = Some(vec![])),
            like(),
            vec!["scopes_lost"],
            false,
        ),
        (
            changed(|it| it.kind = Some(TokenKind::User)),
            like(),
            vec!["other_kind"],
            true,
        ),
        (
            changed(|it| it.app_id = Some("43".to_owned())),
            like(),
            vec!["other_app"],
            true,
        ),
        (
            changed(|it| it.whatsapp_accounts = accounts(&["600"])),
            like(),
            vec!["other_account"],
            true,
        ),
        (inspection(), refused(), vec!["number_lost"], true),
        (
            changed(|it| it.error = Some(Default::default())),
            like(),
            vec!["candidate_invalid"],
            false,
        ),
    ] {
        let shown = format!("{inspection:?}");
        let found = compare(&current(), &candidate(inspection, answer));
        assert_eq!(codes(&found), code, "{shown}");
        assert_eq!(!breaking(&found).is_empty(), is_breaking, "{shown}");
    }
    assert_eq!(codes(&compare(&current(), &current())), ["same_token"]);
    let unknown = TokenFacts {
        inspection: Some(Err("no answer".to_owned())),
        ..candidate(inspection(), like())
    };
    assert_eq!(codes(&compare(&current(), &unknown)), ["not_compared"]);
}
