//! The status page: HTML with its style and its scripts, which are files of their own.
//!
//! # Why
//!
//! The policy that comes with each file allows no other script or style, so nothing that the page shows can become one, and
//! no request to another host. Nothing in the files is secret, so they need no key: a browser cannot send one when it opens
//! a page. What the page shows it requests as any other client does.

use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

use super::response::{AdminResponse, respond};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// Answers with a file of the page.
pub(super) fn page(path: &str) -> AdminResponse {
    let (content_type, text) = match path {
        "/page.css" => ("text/css; charset=utf-8", include_str!("page.css")),
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page.js")),
        "/draw.js" => ("text/javascript; charset=utf-8", include_str!("draw.js")),
        _ => ("text/html; charset=utf-8", include_str!("page.html")),
    };
    let mut response = respond(StatusCode::OK, content_type, text);
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::super::routes::{Endpoint, ROUTES};
    use super::*;

    #[test]
    fn each_file_comes_with_the_policy_and_needs_only_files_that_are_there() {
        let routes = ROUTES.iter().filter(|route| route.endpoint == Endpoint::Page);
        let paths: Vec<_> = routes.map(|route| route.path).collect();
        assert_eq!(paths.len(), 4);
        for path in &paths {
            assert_eq!(page(path).headers()[CONTENT_SECURITY_POLICY], POLICY, "{path}");
        }
        let sources = [
            include_str!("page.html"),
            include_str!("page.js"),
            include_str!("draw.js"),
        ];
        for text in sources.iter().flat_map(|source| source.split('"')) {
            let is_file = text.ends_with(".js") || text.ends_with(".css");
            let path = format!("/{}", text.trim_start_matches("./"));
            assert!(!is_file || paths.contains(&path.as_str()), "{path}");
        }
    }
}
