//! The description of the admin listener, in OpenAPI 3.1. It is written by hand, and the test compares it with the table of routes.

use http::StatusCode;

use super::response::{AdminResponse, respond};

const DESCRIPTION: &str = include_str!("openapi.json");

/// Answers with the description.
pub(super) fn description() -> AdminResponse {
    respond(StatusCode::OK, "application/json", DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::super::routes::{Access, Endpoint, ROUTES};
    use super::*;

    /// How a request proves that it may be sent.
    fn security(access: Access) -> Value {
        match access {
            Access::Open => json!([]),
            Access::Read => json!([{ "key": [] }, {}]),
            Access::Write => json!([{ "key": [] }, { "header": [] }]),
        }
    }

    #[test]
    fn the_description_has_every_route_with_its_access_its_body_and_its_parameters_and_no_other() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let mut described = BTreeMap::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let parameters = parameters.filter(|parameter| parameter["in"] == "query");
                let mut names: Vec<_> = parameters.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
                names.sort_unstable();
                let facts = (
                    operation["security"].clone(),
                    operation.get("requestBody").is_some(),
                    names,
                );
                described.insert((path.clone(), method.to_uppercase()), facts);
            }
        }
        // The status page is for people.
        let routes = ROUTES.iter().filter(|route| route.endpoint != Endpoint::Page);
        let routes = routes.map(|route| {
            let mut names: Vec<_> = route.parameters.iter().copied().map(str::to_owned).collect();
            names.sort_unstable();
            let facts = (security(route.access), route.has_body(), names);
            ((route.path.to_owned(), route.method.to_string()), facts)
        });
        assert_eq!(described, routes.collect());
        let text = description.to_string();
        for reference in text
            .split("\"$ref\":\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            assert!(description.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn no_object_has_a_field_that_is_not_described() {
        fn collect_open(schema: &Value, path: &str, open: &mut Vec<String>) {
            if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
                open.push(path.to_owned());
            }
            for (name, member) in schema.as_object().into_iter().flatten() {
                collect_open(member, &format!("{path}/{name}"), open);
            }
            for item in schema.as_array().into_iter().flatten() {
                collect_open(item, path, open);
            }
        }
        let mut open = Vec::new();
        collect_open(&serde_json::from_str(DESCRIPTION).unwrap(), "", &mut open);
        assert_eq!(open, Vec::<String>::new());
    }
}
