//! The tour names only what exists: each path, and in the same paragraph's files each item.

use std::fs;
use std::path::Path;

const TOUR: &str = include_str!("../../../src/guide/tour.md");

#[test]
fn every_path_and_item_of_the_tour_exists() {
    let mut checked = 0;
    for block in blocks(TOUR) {
        let spans: Vec<&str> = block.split('`').skip(1).step_by(2).collect();
        let (paths, others): (Vec<&str>, Vec<&str>) = spans.iter().partition(|span| is_path(span));
        let source: String = paths.iter().map(|path| read(path)).collect();
        for item in others.into_iter().filter(|span| is_name(span)) {
            assert!(
                defines(&source, item),
                "{item} is not in {paths:?}: {block}"
            );
            checked += 1;
        }
    }
    assert!(checked > 50, "the tour names items: {checked}");
}

#[test]
fn every_type_of_the_drawing_exists() {
    let drawing = TOUR.split("```").nth(1).expect("a drawing");
    let source = read("src");
    let words = drawing.split(|c: char| !c.is_alphanumeric());
    let types = words.filter(|word| word.starts_with(char::is_uppercase));
    for name in types {
        assert!(defines(&source, name), "{name}");
    }
}

/// Paragraphs, list items and rows of tables, without the drawing.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for text in text.split("```").step_by(2) {
        for line in text.lines() {
            let begins = line.is_empty() || line.starts_with(['|', '-', '#']);
            if begins || line.starts_with(|c: char| c.is_ascii_digit()) {
                blocks.push(String::new());
            }
            let block = blocks.last_mut().expect("there is always one");
            block.extend([line, "\n"]);
        }
    }
    blocks
}

fn is_path(span: &str) -> bool {
    ["src/", "tests/", "www/"]
        .iter()
        .any(|top| span.starts_with(top))
}

/// Whether a code span is the name of an item, and not a command or a header.
fn is_name(span: &str) -> bool {
    let is_word = span.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_word && !["curl", "fetch", "match", "Drop"].contains(&span)
}

/// The content of a file, or of all files under a folder.
fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if path.is_dir() {
        let entries = fs::read_dir(&path).expect("the folder can be read");
        let entries = entries.map(|entry| entry.expect("an entry").path());
        return entries
            .map(|entry| read(&entry.to_string_lossy()))
            .collect();
    }
    match fs::read(&path) {
        Ok(content) => String::from_utf8_lossy(&content).into_owned(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Whether Rust source declares a function, type, constant, variant or field of that name.
fn defines(source: &str, name: &str) -> bool {
    let declared = ["fn ", "struct ", "enum ", "trait ", "const ", "type "];
    source.match_indices(name).any(|(at, _)| {
        let (before, after) = (&source[..at], &source[at + name.len()..]);
        let is_word = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_variant = before.ends_with("    ") && after.starts_with([',', '(', ' ']);
        let is_field = before.ends_with([' ', '(']) && after.starts_with(": ");
        let is_item = declared.iter().any(|keyword| before.ends_with(keyword));
        is_word && (is_item || is_variant || is_field)
    })
}
