//! Unicode's Normalization Form C (UAX #15), by two tables of Unicode 18: texts that are the same to
//! the standard are then the same bytes.
//!
//! A line of `pairs.txt` is a character and the two that it is composed of; or a character, a `:`, and what
//! always takes its place. A line of `classes.txt` is the first and the last character of a range of
//! marks, and their combining class. The compatibility ideographs are left out: no name may have any.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a character is made of: a line of the table behind the character.
static PARTS: LazyLock<HashMap<char, &str>> = LazyLock::new(|| {
    let lines = include_str!("pairs.txt").lines();
    let split = |line: &'static str| {
        let mut rest = line.chars();
        Some((rest.next()?, rest.as_str()))
    };
    lines.filter_map(split).collect()
});

/// What two characters make together.
static WHOLES: LazyLock<HashMap<&str, char>> = LazyLock::new(|| {
    let pairs = PARTS.iter().filter(|(_, parts)| !parts.starts_with(':'));
    pairs.map(|(whole, parts)| (*parts, *whole)).collect()
});

/// Ranges of marks with their combining classes, in order. Every other character has class 0.
static CLASSES: LazyLock<Vec<(char, char, u8)>> = LazyLock::new(|| {
    let range = |line: &str| {
        let mut rest = line.chars();
        Some((rest.next()?, rest.next()?, rest.as_str().parse().ok()?))
    };
    let lines = include_str!("classes.txt").lines();
    lines.filter_map(range).collect()
});

/// Hangul syllables are composed by arithmetic (The Unicode Standard, section 3.12).
const SYLLABLES: u32 = 0xac00;
const LEADS: (u32, u32) = (0x1100, 19);
const VOWELS: (u32, u32) = (0x1161, 21);
const TRAILS: (u32, u32) = (0x11a7, 28);

/// The text in Normalization Form C.
pub(super) fn nfc(text: &str) -> String {
    let mut parts = Vec::new();
    text.chars().for_each(|c| decompose(c, &mut parts));
    let mut classes: Vec<(char, u8)> = parts.into_iter().map(|c| (c, class(c))).collect();
    // A character and its marks, in the order of their classes.
    for marked in classes.chunk_by_mut(|_, (_, class)| *class > 0) {
        marked.sort_by_key(|(_, class)| *class);
    }
    let mut composed: Vec<char> = Vec::with_capacity(classes.len());
    let (mut base, mut last_class) = (None, 0);
    for (c, class) in classes {
        if let Some(base) = base
            && (composed.len() == base + 1 || last_class < class)
            && let Some(both) = compose(composed[base], c)
        {
            composed[base] = both;
            continue;
        }
        if class == 0 {
            base = Some(composed.len());
        }
        last_class = class;
        composed.push(c);
    }
    composed.into_iter().collect()
}

fn decompose(c: char, parts: &mut Vec<char>) {
    if let Some(syllable) = within(c, (SYLLABLES, LEADS.1 * VOWELS.1 * TRAILS.1)) {
        let (pair, trail) = (syllable / TRAILS.1, syllable % TRAILS.1);
        let jamo = [
            LEADS.0 + pair / VOWELS.1,
            VOWELS.0 + pair % VOWELS.1,
            TRAILS.0 + trail,
        ];
        let given = if trail > 0 { 3 } else { 2 };
        parts.extend(jamo.into_iter().take(given).filter_map(char::from_u32));
        return;
    }
    match PARTS.get(&c) {
        None => parts.push(c),
        Some(pair) => match pair.strip_prefix(':') {
            Some(always) => parts.extend(always.chars()),
            None => pair.chars().for_each(|part| decompose(part, parts)),
        },
    }
}

fn compose(first: char, second: char) -> Option<char> {
    if let Some((lead, vowel)) = within(first, LEADS).zip(within(second, VOWELS)) {
        return char::from_u32(SYLLABLES + (lead * VOWELS.1 + vowel) * TRAILS.1);
    }
    let pairs = (SYLLABLES, LEADS.1 * VOWELS.1 * TRAILS.1);
    if let Some((syllable, trail)) = within(first, pairs).zip(within(second, TRAILS))
        && syllable % TRAILS.1 == 0
        && trail > 0
    {
        return char::from_u32(first as u32 + trail);
    }
    let pair = String::from_iter([first, second]);
    WHOLES.get(pair.as_str()).copied()
}

fn class(c: char) -> u8 {
    let next = CLASSES.partition_point(|(first, ..)| *first <= c);
    let range = next.checked_sub(1).map(|place| CLASSES[place]);
    range.map_or(0, |(_, last, class)| if c <= last { class } else { 0 })
}

fn within(c: char, (start, count): (u32, u32)) -> Option<u32> {
    (c as u32)
        .checked_sub(start)
        .filter(|offset| *offset < count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::super::unicode::is_compatibility_ideograph;
    use super::*;

    #[test]
    fn every_character_is_as_the_standard_says() {
        // Beyond, no character is composed or a mark.
        for c in ('\0'..'\u{20000}').filter(|c| !is_compatibility_ideograph(*c)) {
            let mut texts = vec![String::from(c)];
            if PARTS.contains_key(&c) || class(c) > 0 {
                texts.extend([format!("e{c}\u{301}"), format!("\u{1100}{c}\u{11a8}")]);
            }
            for text in texts {
                assert_eq!(nfc(&text), text.nfc().collect::<String>(), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_text_is_as_the_standard_says(text in "[a-z\u{41}-\u{250}\u{300}-\u{345}\u{390}-\u{3cf}\u{5b0}-\u{5ea}\u{900}-\u{ddf}\u{1100}-\u{11ff}\u{3040}-\u{309a}\u{ac00}-\u{acff}]{0,12}") {
            prop_assert_eq!(nfc(&text), text.nfc().collect::<String>());
        }

        #[test]
        fn what_is_normal_stays(text in ".*") {
            let once = nfc(&text);
            prop_assert_eq!(nfc(&once), once);
        }
    }
}
