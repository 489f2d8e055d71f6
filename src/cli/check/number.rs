//! What is right or wrong about phone numbers, and the mistakes that teams make with their ids.

use super::facts::{AccountFacts, Facts, FoundObject, NO_ID, NumberFacts, TokenFacts};
use super::report::{Finding, Level};
use crate::graph::{Inspection, PhoneNumber};
use crate::renew::token_family;
use crate::token::ErrorKind;
use crate::types::{TokenFamily, error_chain};

/// An id of a phone number is longer: what has fewer digits is the number itself.
const LONGEST_NUMBER: usize = 13;
/// The most phone numbers that an advice lists.
const MAX_LISTED: usize = 5;

/// The findings about the phone numbers of a token.
pub(super) fn number_findings(facts: &Facts, token: &TokenFacts) -> Vec<Finding> {
    let unreadable = token.accounts.iter().filter_map(|AccountFacts { id, numbers }| {
        let error = error_chain(numbers.as_ref().err()?);
        let message = format!("the phone numbers of the account {id} cannot be read: {error}");
        Some(Finding::new(Level::Warning, "number", "account_unreadable", message))
    });
    let mut findings: Vec<_> = unreadable.collect();
    findings.extend(token.numbers.iter().map(|number| id_finding(number, &token.accounts)));
    if token.numbers.is_empty() {
        let numbers = known(&token.accounts).map(|(number, account)| phone_finding(number, Some(account)));
        findings.extend(numbers);
    }
    if findings.is_empty() && token.proof.is_some() {
        let unknown = |reason| {
            (
                "not_asked",
                format!("Graph does not say which accounts the token names, as {reason}"),
            )
        };
        let none = || ("no_number", "the token names no WhatsApp Business Account".to_owned());
        let (code, accounts) = why_unknown(facts, token).map_or_else(none, unknown);
        let message = format!("{accounts}; no phone number was checked");
        let finding = Finding::new(Level::Note, "number", code, message);
        findings.push(finding.advise("To check one: --phone-number-id, or [check] phone_number_id."));
    }
    findings
}

/// The reason why it is unknown which accounts a token names: Graph tells that the app of the token, and the token itself.
fn why_unknown(facts: &Facts, token: &TokenFacts) -> Option<&'static str> {
    let is_told = |it: &Inspection| it.kind.is_some() || it.app_id.is_some();
    let is_of_facebook = token_family(&token.token.secret).is_none_or(|family| family == TokenFamily::Facebook);
    match &facts.app {
        _ if token.inspection().is_some_and(is_told) || !is_of_facebook => None,
        None => Some("app.id and app.secret are not both set"),
        Some(Ok(())) if token.is_hidden_from_app => Some("the token belongs to another app than app.id"),
        Some(_) => Some("it cannot be asked as the app of app.id and app.secret"),
    }
}

/// The phone numbers of all accounts, each with its account.
pub(super) fn known(accounts: &[AccountFacts]) -> impl Iterator<Item = (&PhoneNumber, &str)> {
    accounts.iter().flat_map(|account| {
        let numbers = account.numbers.iter().flatten();
        numbers.map(|number| (number, account.id.as_str()))
    })
}

/// A phone number that the token may use.
fn phone_finding(number: &PhoneNumber, account: Option<&str>) -> Finding {
    let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "unknown".to_owned());
    let message = format!(
        "{} \"{}\" (id {}, account {}), code verification {}, quality {}",
        text(&number.display_phone_number),
        text(&number.verified_name),
        number.id,
        account.unwrap_or("unknown"),
        text(&number.code_verification_status),
        text(&number.quality_rating),
    );
    if number.code_verification_status.as_deref() == Some("NOT_VERIFIED") {
        let finding = Finding::new(Level::Warning, "number", "not_verified", message);
        return finding.advise("Verify the number by its code in WhatsApp Manager, and register it.");
    }
    if number.quality_rating.as_deref() == Some("RED") {
        let finding = Finding::new(Level::Warning, "number", "quality_red", message);
        return finding.advise("Recipients block or report its messages: Graph lowers its limit if that goes on.");
    }
    Finding::good("number", message)
}

/// What an id is, or which mistake it shows.
fn id_finding(NumberFacts { id, is_named, found }: &NumberFacts, accounts: &[AccountFacts]) -> Finding {
    let mistake = |code, message: String| Finding::bad("number", code, message);
    if let Some((number, _)) = known(accounts).find(|(number, _)| number.is_written_as(id) && number.id != *id) {
        let message = format!("{id} is the phone number itself, not its id");
        return mistake("number_in_place_of_id", message).advise(format!("Its id is {}.", number.id));
    }
    let all: Vec<_> = known(accounts).map(|(number, _)| number).collect();
    let error = match found {
        Ok(FoundObject::Phone(number)) => {
            let account = known(accounts).find(|(known, _)| known.id == *id);
            let is_foreign =
                account.is_none() && !all.is_empty() && accounts.iter().all(|account| account.numbers.is_ok());
            if is_foreign {
                let message = format!("{id} is readable, but is in none of the accounts that the token names");
                let finding = Finding::new(Level::Warning, "number", "number_of_other_account", message);
                return finding.advise(right_ids(&all));
            }
            return phone_finding(number, account.map(|(_, account)| account));
        }
        Ok(FoundObject::Account(_)) if !is_named => {
            return Finding::good("number", format!("{id} is a WhatsApp Business Account of the token"));
        }
        Ok(FoundObject::Account(numbers)) => {
            let message = format!("{id} is the id of a WhatsApp Business Account, not of a phone number");
            let numbers: Vec<_> = numbers.iter().collect();
            return mistake("account_in_place_of_id", message).advise(right_ids(&numbers));
        }
        Err(error) => error,
    };
    let finding = if error.kind() == ErrorKind::Transient {
        let message = format!("Graph could not be asked about {id}: {}", error_chain(error));
        return Finding::new(Level::Warning, "number", "not_asked", message);
    } else if error.reason() == NO_ID || (all.is_empty() && id.len() <= LONGEST_NUMBER) {
        let message = format!("{id} seems to be the phone number itself, not its id");
        mistake("number_in_place_of_id", message)
    } else if all.is_empty() {
        let message = format!("the token may not use the phone number id {id}, or it does not exist: {error}");
        mistake("number_unreadable", message)
    } else {
        let accounts = Vec::from_iter(accounts.iter().map(|account| account.id.as_str())).join(", ");
        let message = format!("{id} is not a phone number of the token's WhatsApp Business Accounts ({accounts})");
        mistake("number_of_other_account", message)
    };
    finding.advise(right_ids(&all))
}

fn right_ids(numbers: &[&PhoneNumber]) -> String {
    if numbers.is_empty() {
        return "The id is at business.facebook.com > WhatsApp Manager > Phone numbers, below the number.".to_owned();
    }
    let ids = numbers.iter().take(MAX_LISTED).map(|number| {
        let display = number.display_phone_number.as_deref().unwrap_or("unknown");
        format!("{} ({display})", number.id)
    });
    format!("The ids of its phone numbers: {}.", ids.collect::<Vec<_>>().join(", "))
}
