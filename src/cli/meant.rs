//! Which word was probably meant by one that is not known.

use std::cmp::Reverse;

/// The word that is closest to `given`, if one is close: at most two letters are different, one in
/// a short word; or the given one is how it begins.
pub(super) fn meant(
    given: &str,
    words: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    let distance = |word: &str| match word.strip_prefix(given) {
        Some(rest) if rest.starts_with('-') => 1,
        _ => edits(given, word),
    };
    let close = words.into_iter().filter_map(|word| {
        let distance = distance(word);
        (distance <= 1 + usize::from(word.len() > 5)).then_some((Reverse(distance), word))
    });
    close
        .max_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Letters to change, add, leave out, or swap with the next one, to make one word of another.
fn edits(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // More than any that counts, and a long argument costs nothing.
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let changed = rows[i][j] + usize::from(letter != other);
            let mut least = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && (letter, &a[i - 1]) == (&b[j - 1], other) {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 9] = [
        "listen",
        "log",
        "data",
        "room",
        "room-ttl",
        "redis",
        "history",
        "password-file",
        "moderator-password-file",
    ];

    #[test]
    fn a_slip_of_the_finger_is_close_and_another_word_is_not() {
        for (given, expected) in [
            ("password-fiel", Some("password-file")),
            ("passwordfile", Some("password-file")),
            ("password", Some("password-file")),
            ("moderator-password", Some("moderator-password-file")),
            ("pasword_file", Some("password-file")),
            ("histroy", Some("history")),
            ("histories", None),
            ("rooms", Some("room")),
            ("room-tll", Some("room-ttl")),
            ("logs", Some("log")),
            ("daat", Some("data")),
            ("date", Some("data")),
            ("tag", None),
            ("env", None),
            // What container tools set for a service of this program's name.
            ("port", None),
            ("name", None),
            ("service-host", None),
            ("service-port", None),
            ("port-8080-tcp-addr", None),
            ("redis-port", None),
            ("redis-service-host", None),
            ("", None),
        ] {
            assert_eq!(meant(given, WORDS), expected, "{given}");
        }
        assert_eq!(meant(&"x".repeat(1_000_000), WORDS), None);
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("abcd", "bacd", 1),
            ("abc", "abd", 1),
            ("abc", "abcde", 2),
            ("abc", "xabc", 1),
        ] {
            assert_eq!((edits(a, b), edits(b, a)), (count, count), "{a} {b}");
        }
    }
}
