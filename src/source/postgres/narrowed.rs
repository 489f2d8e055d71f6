//! A query of many rows, narrowed to one of them.

/// Returns the query of one tenant's rows: its `$1` is the tenant's name.
///
/// # Why
///
/// The query becomes a subquery. There, a semicolon at its end is an error of syntax, and it may be followed by a comment. So
/// the query is read as PostgreSQL reads it, to tell where its last word ends.
///
/// A column may take `Shop` for `shop`, if its collation ignores case. The first condition can use an index of the column, the
/// second one compares the bytes.
pub(super) fn narrowed(query: &str) -> String {
    let condition = "t.tenant::text = $1 AND t.tenant::text COLLATE \"C\" = $1";
    format!("SELECT t.* FROM (\n{}\n) AS t WHERE {condition}", without_end(query))
}

/// Returns the query of a row without columns for each row of other tenants: its `$1` is the tenant's name.
pub(super) fn others(query: &str) -> String {
    let condition = "t.tenant::text COLLATE \"C\" <> $1";
    format!("SELECT FROM (\n{}\n) AS t WHERE {condition}", without_end(query))
}

fn without_end(query: &str) -> &str {
    query.get(..end_of_statement(query)).unwrap_or(query)
}

/// Returns where the last word, string or sign of a query ends that is no semicolon.
fn end_of_statement(query: &str) -> usize {
    let mut end = 0;
    let mut rest = query;
    while let Some(sign) = rest.chars().next() {
        let (length, is_part) = match sign {
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (comment_length(rest), false),
            'e' | 'E' if rest.get(1..2) == Some("'") => {
                (1 + quoted_length(rest.get(1..).unwrap_or_default(), Some('\\')), true)
            }
            '\'' | '"' => (quoted_length(rest, None), true),
            '$' => (dollar_quoted_length(rest), true),
            sign if sign.is_alphanumeric() || sign == '_' => (word_length(rest), true),
            sign => (sign.len_utf8(), sign != ';' && !sign.is_whitespace()),
        };
        rest = rest.get(length..).unwrap_or_default();
        if is_part {
            end = query.len() - rest.len();
        }
    }
    end
}

fn word_length(text: &str) -> usize {
    let is_in_word = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '$');
    text.find(|sign| !is_in_word(sign)).unwrap_or(text.len())
}

/// The length of a comment, in which there may be others.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth.saturating_sub(1), at + 2);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of a text that ends with the mark that it begins with. A doubled mark is two texts, which is the same here.
fn quoted_length(text: &str, escape: Option<char>) -> usize {
    let mut signs = text.char_indices();
    let mark = signs.next().map(|(_, mark)| mark);
    while let Some((at, sign)) = signs.next() {
        if Some(sign) == escape {
            signs.next();
        } else if Some(sign) == mark {
            return at + 1;
        }
    }
    text.len()
}

/// The length of a text such as `$tag$ … $tag$`, or of a parameter's `$`.
fn dollar_quoted_length(text: &str) -> usize {
    let tag = text.get(1..).and_then(|rest| rest.split_once('$')).map(|(tag, _)| tag);
    let is_tag = |tag: &&str| word_length(tag) == tag.len() && !tag.starts_with(|sign: char| sign.is_ascii_digit());
    let Some(tag) = tag.filter(is_tag) else {
        return 1;
    };
    let mark = format!("${tag}$");
    let inside = text.get(mark.len()..).unwrap_or_default();
    inside.find(&mark).map_or(text.len(), |at| at + 2 * mark.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_and_comments_at_the_end_are_left_out_and_nothing_else() {
        for (query, kept) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1;", "SELECT 1"),
            (" SELECT 1 ; -- the tenants; all\n", " SELECT 1"),
            ("SELECT 1 -- the last\n;", "SELECT 1"),
            ("SELECT 1 /* a /* b; */ ; */ ;;", "SELECT 1"),
            ("-- tenants\nSELECT 1", "-- tenants\nSELECT 1"),
            ("SELECT '-- ; it''s'; -- x", "SELECT '-- ; it''s'"),
            (r"SELECT E'it\'s; -- ' ;", r"SELECT E'it\'s; -- '"),
            (r"SELECT 'C:\' ; -- '", r"SELECT 'C:\'"),
            (r#"SELECT 1 AS "a;--" ;"#, r#"SELECT 1 AS "a;--""#),
            ("SELECT $a$ ; -- $a$ ; -- $", "SELECT $a$ ; -- $a$"),
            ("SELECT $$;$$;", "SELECT $$;$$"),
            ("SELECT a$b FROM c WHERE d = '1$' ;", "SELECT a$b FROM c WHERE d = '1$'"),
            ("SELECT 1 WHERE a = $1;", "SELECT 1 WHERE a = $1"),
            ("SELECT 2-1", "SELECT 2-1"),
            ("SELECT 'ö' AS ü; /* ö", "SELECT 'ö' AS ü"),
            ("SELECT name'x", "SELECT name'x"),
            ("", ""),
        ] {
            let end = end_of_statement(query);
            assert_eq!(query.get(..end), Some(kept), "{query}");
        }
        let narrowed = narrowed("SELECT 1 -- one;");
        assert_eq!(
            narrowed,
            "SELECT t.* FROM (\nSELECT 1\n) AS t WHERE t.tenant::text = $1 AND t.tenant::text COLLATE \"C\" = $1"
        );
    }
}
