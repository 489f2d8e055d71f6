//! Short constructors of settings, and the tables of two real apps.

use std::time::Duration;

use graphward::net::Tasks;
use graphward::source::{PostgresSettings, PostgresSource};
use graphward::token::{ObtainError, Source as _, Token};
use graphward::types::Secret;

/// The table of one app: a row for each configuration of a tenant, of which one is active.
pub(crate) const CONFIG_TABLE: &str = "
    CREATE TABLE tenant_whatsapp_config (
        id serial PRIMARY KEY, tenant_id uuid NOT NULL, is_active boolean NOT NULL,
        access_token text, previous_access_token text, expires_at timestamptz);
    INSERT INTO tenant_whatsapp_config (tenant_id, is_active, access_token) VALUES
        ('6f1d8c1e-4b1a-4c55-9a57-0d3c3f6e2a11', true, 'EAAGlive'),
        ('6f1d8c1e-4b1a-4c55-9a57-0d3c3f6e2a11', false, 'EAAGretired'),
        ('00000000-0000-0000-0000-000000000002', true, 'EAAGother')";
pub(crate) const TENANT_ID: &str = "6f1d8c1e-4b1a-4c55-9a57-0d3c3f6e2a11";
pub(crate) const CONFIG_QUERY: &str =
    "SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = $1 AND is_active";
pub(crate) const CONFIG_UPDATE: &str = "UPDATE tenant_whatsapp_config \
    SET previous_access_token = access_token, access_token = $1 WHERE tenant_id = $2 AND is_active";

/// The table of another app: a row for each phone number.
pub(crate) const NUMBER_TABLE: &str = "
    CREATE TABLE whatsapp_numbers (
        phone_number_id bigint PRIMARY KEY, api_token varchar(500), previous_api_token varchar(500));
    INSERT INTO whatsapp_numbers VALUES (109876543210987, 'EAAGnumber')";
pub(crate) const PHONE_NUMBER_ID: &str = "109876543210987";
pub(crate) const NUMBER_QUERY: &str = "SELECT api_token FROM whatsapp_numbers WHERE phone_number_id = $1";
pub(crate) const NUMBER_UPDATE: &str = "UPDATE whatsapp_numbers \
    SET previous_api_token = api_token, api_token = $1 WHERE phone_number_id = $2";

/// Settings that poll once a minute and store nothing.
pub(crate) fn settings(query: &str, params: &[&str]) -> PostgresSettings {
    PostgresSettings {
        query: query.to_owned(),
        params: params.iter().map(|text| (*text).to_owned()).collect(),
        update: None,
        listen: None,
        poll_interval: Duration::from_secs(60),
        ca_file: None,
    }
}

/// A source at this URL.
pub(crate) fn open(url: &str, settings: PostgresSettings) -> PostgresSource {
    PostgresSource::new(url, settings, Tasks::default()).unwrap()
}

/// A read-only source.
pub(crate) fn source(url: &str, query: &str, params: &[&str]) -> PostgresSource {
    open(url, settings(query, params))
}

/// Settings for [`CONFIG_TABLE`] that can store.
pub(crate) fn writable_settings() -> PostgresSettings {
    PostgresSettings {
        update: Some(CONFIG_UPDATE.to_owned()),
        ..settings(CONFIG_QUERY, &[TENANT_ID])
    }
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

pub(crate) fn token(text: &str) -> Token {
    Token::without_expiry(secret(text))
}

/// Loads the token.
pub(crate) async fn load_token(source: &mut PostgresSource) -> String {
    let token = source.load().await.unwrap();
    token.secret.expose().to_owned()
}

/// The message of an error with its causes.
pub(crate) fn error_chain(error: &ObtainError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
