//! The fenced blocks of a page, each with a name by which a test takes it.

/// A fenced block of a page.
pub(crate) struct Block {
    /// `PAGE#SECTION LANGUAGE`, with ` 2` after it if it is the second of its language in the section.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The blocks of a page, in their order.
pub(crate) fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut section = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            section = line.trim_start_matches('#').trim();
        }
        let Some(language) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let first = format!("{page}#{section} {language}");
        let further = format!("{first} ");
        let before = |block: &&Block| block.name == first || block.name.starts_with(&further);
        let name = match found.iter().filter(before).count() {
            0 => first.clone(),
            count => format!("{first} {}", count + 1),
        };
        let inside = lines.by_ref().take_while(|line| line.trim_start() != "```");
        let text = inside.collect::<Vec<_>>().join("\n");
        found.push(Block { name, text });
    }
    found
}
