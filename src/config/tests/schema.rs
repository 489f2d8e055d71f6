//! The JSON Schema that is shipped.

use super::*;

#[test]
fn the_shipped_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/graphward.schema.json");
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if env_var("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert!(
        shipped == schema,
        "run `UPDATE_SCHEMA=1 cargo test --lib shipped_schema`"
    );
}

#[test]
fn the_schema_describes_units_and_kinds() {
    let schema = json_schema();
    let at = |pointer: &str| {
        schema
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer}: {schema:#}"))
    };
    assert_eq!(at("/properties/heal/properties/hold_timeout/type"), "string");
    assert_eq!(at("/properties/heal/properties/body_disk/type"), "string");
    assert_eq!(at("/properties/log/properties/level/oneOf/0/const"), "error");
    assert_eq!(at("/properties/heal/additionalProperties"), false);
    let renewers = at("/properties/token/properties/renew").to_string();
    for kind in ["exchange", "mint", "instagram", "threads", "http", "exec"] {
        assert!(renewers.contains(&format!("\"{kind}\":{{")), "{kind}: {renewers}");
    }
    assert!(!schema.to_string().contains("null"));
}
