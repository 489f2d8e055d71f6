//! The value of `[token] renew`: what mints a token's successor.

use super::call::{command, optional, texts, web_call};
use super::fault::Fault;
use super::file::{Said, Value};
use super::read::{switch, text};
use super::secret::secret;
use super::settings::RenewerConfig;
use super::table::{Table, kind};
use crate::renew::TokenLifetime;

const KEY: &str = "token.renew";
const WRITE: &str = "must be one of { exchange = {} }, { mint = { … } }, { instagram = {} }, { threads = {} }, \
     { http = \"https://…\" } and { exec = [\"…\"] }";
pub(super) const KINDS: [&str; 6] = ["exchange", "mint", "instagram", "threads", "http", "exec"];
/// The keys beside those that say what kind of renewal it is.
pub(super) const OTHERS: [&str; 5] = ["headers", "keep_env", "key", "pointer", "timeout"];
const SIXTY_DAYS: &str = "set_token_expires_in_60_days";

/// Reads what renews; `{}` is nothing.
pub(super) fn renew(said: &Said, faults: &mut Vec<Fault>) -> Option<Option<RenewerConfig>> {
    if matches!(&said.value, Value::Table(entries) if entries.is_empty()) {
        return Some(None);
    }
    let table = Table::open(KEY, said, WRITE, faults)?;
    let (mut table, kind) = kind(table, &KINDS, &OTHERS, WRITE, SEVERAL)?;
    let renewal = match kind {
        "exchange" => table.ask_whole("exchange", exchange),
        "mint" => table.ask_whole("mint", mint),
        "instagram" => table.ask_whole("instagram", nothing).map(|()| RenewerConfig::Instagram),
        "threads" => table.ask_whole("threads", nothing).map(|()| RenewerConfig::Threads),
        "http" => web_call(&mut table).map(RenewerConfig::Http),
        "exec" => command(&mut table).map(RenewerConfig::Exec),
        _ => None,
    };
    table.close(&OTHERS).then_some(renewal).flatten().map(Some)
}

const SEVERAL: &str = "but a token is renewed in one way: keep one";

fn exchange(said: &Said, key: &str, faults: &mut Vec<Fault>) -> Option<RenewerConfig> {
    let write = "must be {} or { set_token_expires_in_60_days = true }";
    let mut table = Table::open(key, said, write, faults)?;
    let lasting = lasting(&mut table);
    table
        .close(&[])
        .then_some(lasting)
        .flatten()
        .map(|lasting| RenewerConfig::Exchange { lifetime: lasting })
}

fn mint(said: &Said, key: &str, faults: &mut Vec<Fault>) -> Option<RenewerConfig> {
    let write = "must be { system_user = \"1234567890\", token = { file = \"/run/graphward/admin-token\" }, \
         scopes = [\"whatsapp_business_messaging\"] }";
    let mut table = Table::open(key, said, write, faults)?;
    let system_user = table.need("system_user", |value| id(text(value)?));
    table.demand("token");
    let token = table.ask_whole("token", |said, key, faults| secret(key, said, faults));
    table.demand("scopes");
    let scopes = table.ask_whole("scopes", scopes);
    let lasting = lasting(&mut table);
    if !table.close(&[]) {
        return None;
    }
    Some(RenewerConfig::Mint {
        system_user: system_user?,
        token: token?,
        scopes: scopes?,
        lifetime: lasting?,
    })
}

fn scopes(said: &Said, key: &str, faults: &mut Vec<Fault>) -> Option<Vec<String>> {
    let scopes = texts(key, said, faults, |scope| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=100).contains(&scope.len()) && scope.bytes().all(fits) {
            Ok(scope.to_owned())
        } else {
            Err("must be the name of a permission, such as \"whatsapp_business_messaging\"".to_owned())
        }
    })?;
    if scopes.is_empty() {
        let what = "must name what the token may do, such as [\"whatsapp_business_messaging\", \
             \"whatsapp_business_management\"]";
        faults.push(Fault::new(&said.place, key, what));
        return None;
    }
    Some(scopes)
}

fn lasting(table: &mut Table<'_>) -> Option<TokenLifetime> {
    let sixty = optional(table, SIXTY_DAYS, switch)?;
    Some(if sixty == Some(true) {
        TokenLifetime::SixtyDays
    } else {
        TokenLifetime::Default
    })
}

fn nothing(said: &Said, key: &str, faults: &mut Vec<Fault>) -> Option<()> {
    let table = Table::open(key, said, "must be {}", faults)?;
    table.close(&[]).then_some(())
}

/// An id of Graph's.
pub(super) fn id(text: &str) -> Result<String, String> {
    if (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("must be an id, digits alone, in quotes".to_owned())
    }
}
