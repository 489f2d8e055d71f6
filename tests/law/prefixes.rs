//! Checks that the docs name every prefix of tokens that the code knows.

use graphward::types::TOKEN_PREFIXES;

use super::read;

#[test]
fn the_docs_name_every_prefix_of_tokens() {
    for path in ["docs/limits.md", "src/graph/host.rs"] {
        let text = read(path);
        for (prefix, family) in TOKEN_PREFIXES {
            assert!(
                text.contains(&format!("`{prefix}…`")),
                "{path} lacks {prefix} of {family}"
            );
        }
    }
}
