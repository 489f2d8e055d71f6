//! A tenant and a credential never travel apart: only a tenant makes what a request is sent with, from its own credentials.

use std::collections::BTreeMap;

use super::parameters::signatures;
use super::{code_without_comments, is_test, source_files};

/// The functions of the data path that take a credential as such. The first makes an `Authorization` and is private to the tenant;
/// the second sends nothing.
const TAKE_A_CREDENTIAL: [&str; 2] = [
    "src/proxy/classify.rs: redact_headers",
    "src/proxy/tenant.rs: authorize",
];
/// The file that writes a credential into a request, from an `Authorization`.
const WRITES_HEADERS: &str = "src/proxy/outbound.rs";

#[test]
fn only_a_tenant_makes_what_a_request_is_sent_with() {
    let faults = faults(&data_path());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_credential_that_travels_without_its_tenant_would_be_noticed() {
    for (path, addition) in [
        (
            "src/proxy/attempt.rs",
            "fn f(tenant: &Tenant, credential: &Credential) {}",
        ),
        (
            "src/proxy/heal.rs",
            "async fn f(\n    credential: Option<Arc<Credential>>,\n) {}",
        ),
        (
            "src/proxy/tenant.rs",
            "pub(crate) const fn new(tenant: &Tenant, credential: Arc<Credential>) {}",
        ),
        (
            "src/proxy/tenant.rs",
            "fn f() { Authorization { tenant, credential: other } }",
        ),
        ("src/proxy/tenant.rs", "pub(crate) fn authorize(&self) {}"),
        (
            "src/proxy/forward.rs",
            "fn f() { headers.insert(AUTHORIZATION, credential.bearer.clone()); }",
        ),
    ] {
        let mut files = data_path();
        let text = files.get_mut(path).unwrap();
        *text = format!("{addition}\n{text}");
        assert!(!faults(&files).is_empty(), "{path}: {addition}");
    }
}

fn faults(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut takers: Vec<String> = Vec::new();
    for (path, text) in files {
        let code = code_without_comments(text);
        let signatures = signatures(text).into_iter();
        let with_credential = signatures.filter(|(_, list)| {
            list.split(|letter: char| !letter.is_alphanumeric())
                .any(|word| word == "Credential")
        });
        takers.extend(with_credential.map(|(name, _)| format!("{path}: {name}")));
        let is_written = [".bearer", ".oauth"].iter().any(|field| code.contains(field));
        if is_written != (path == WRITES_HEADERS) {
            faults.push(format!(
                "{path} writes a credential into a request, or {WRITES_HEADERS} does not"
            ));
        }
        let made = code.matches("Authorization {").count();
        let expected = if path == "src/proxy/tenant.rs" { 2 } else { 0 };
        if made != expected {
            faults.push(format!("{path} has `Authorization {{` {made} times, not {expected}"));
        }
        if code.contains("pub(crate) fn authorize") || code.contains("pub(crate) const fn authorize") {
            faults.push(format!("{path}: authorize is not private"));
        }
    }
    takers.dedup();
    if takers != TAKE_A_CREDENTIAL {
        faults.push(format!("{takers:?} take a credential, and not {TAKE_A_CREDENTIAL:?}"));
    }
    faults
}

fn data_path() -> BTreeMap<String, String> {
    let files = source_files().into_iter();
    files
        .filter(|(path, _)| path.starts_with("src/proxy") && !is_test(path))
        .collect()
}
