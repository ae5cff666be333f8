//! What people may be called, what rooms may be called, and what may be said.
//!
//! A value of these types has been checked: behind this file, a name with a line break in it
//! cannot exist.

use std::fmt;
use std::sync::Arc;

/// Characters in a room's name at most.
pub const ROOM_NAME_CHARS: usize = 64;
/// Characters in a member's name at most.
pub const MEMBER_NAME_CHARS: usize = 32;
/// Characters in an idempotency key at most.
pub const KEY_CHARS: usize = 64;

/// The name of a room: 1 to 64 letters, digits, `-`, `_` and `.`, the last not first.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoomName(Arc<str>);

/// The name of a person or bot, as it is shown: 1 to 32 visible characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberName(Arc<str>);

/// A member's name as it is compared: without case.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct FoldedName(Box<str>);

/// What is said: not empty, without white space at its end, within the limit of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessageText(Box<str>);

/// A poster's own mark on a message, by which a repeat is known: 1 to 64 visible ASCII characters.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IdempotencyKey(Arc<str>);

/// The value breaks the rule of its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value breaks the rule of its type")
    }
}

impl std::error::Error for Malformed {}

/// Why something cannot be said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BadText {
    /// Nothing but white space.
    Empty,
    /// More bytes than the server takes.
    TooLong,
}

impl RoomName {
    /// Checks a room's name.
    pub fn parse(text: &str) -> Result<RoomName, Malformed> {
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = (1..=ROOM_NAME_CHARS).contains(&text.chars().count());
        if fits && text.chars().all(allowed) && !text.starts_with('.') {
            Ok(RoomName(text.into()))
        } else {
            Err(Malformed)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MemberName {
    /// Checks a member's name.
    pub fn parse(text: &str) -> Result<MemberName, Malformed> {
        let fits = (1..=MEMBER_NAME_CHARS).contains(&text.chars().count());
        if fits && text.trim() == text && !text.chars().any(deceives) {
            Ok(MemberName(text.into()))
        } else {
            Err(Malformed)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Upper case first, so that letters with two lower cases (final sigma, long s) meet.
    pub(crate) fn folded(&self) -> FoldedName {
        let folded: String = self
            .0
            .chars()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect();
        FoldedName(folded.into())
    }
}

impl MessageText {
    /// Cuts the white space at the end off and checks what is left against `max_bytes`.
    pub fn parse(text: &str, max_bytes: usize) -> Result<MessageText, BadText> {
        match text.trim_end() {
            "" => Err(BadText::Empty),
            text if text.len() > max_bytes => Err(BadText::TooLong),
            text => Ok(MessageText(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IdempotencyKey {
    /// Checks a key.
    pub fn parse(text: &str) -> Result<IdempotencyKey, Malformed> {
        let fits = (1..=KEY_CHARS).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(IdempotencyKey(text.into()))
        } else {
            Err(Malformed)
        }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for MemberName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Characters that make one name look like another, or like none: controls, line separators, the
/// format characters of Unicode 16 (zero-width, bidi; general category Cf), and blank letters.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{2028}' | '\u{2029}'
            | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}'
            | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rooms() {
        for good in ["lobby", "a", "Café-3_x.y", "聊天室", &"x".repeat(64), "٣"] {
            assert!(RoomName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            ".x",
            "a b",
            "a/b",
            "a\nb",
            "a\u{200b}b",
            "💬",
            &"x".repeat(65),
            "a%b",
            "a\0",
        ] {
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn members() {
        for good in [
            "bob",
            "Alice B.",
            "爱丽丝",
            "مريم",
            "🦀",
            &"x".repeat(32),
            "<img>",
            "e\u{301}",
        ] {
            assert!(MemberName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            "   ",
            " bob",
            "bob ",
            "bo\tb",
            "bo\nb",
            "b\u{200b}ob",
            "\u{202e}bob",
            "b\0b",
            "\u{3164}",
            "b\u{2028}b",
            &"x".repeat(33),
        ] {
            assert!(MemberName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_compared_without_case() {
        let folded = |name: &str| MemberName::parse(name).expect("a name").folded();
        assert_eq!(folded("ÀLICE"), folded("àlice"));
        assert_eq!(folded("ΟΔΟΣ"), folded("οδος"));
        assert_eq!(folded("STRASSE"), folded("straße"));
        assert_ne!(folded("alice"), folded("álice"));
    }

    #[test]
    fn texts() {
        let text = |s: &str| MessageText::parse(s, 8).map(|t| t.as_str().to_owned());
        assert_eq!(text(" a\n b \r\n\n"), Ok(" a\n b".into()));
        assert_eq!(text(" \n\u{2003}"), Err(BadText::Empty));
        assert_eq!(text(""), Err(BadText::Empty));
        assert_eq!(text("12345678   "), Ok("12345678".into()));
        assert_eq!(text("123456789"), Err(BadText::TooLong));
        assert_eq!(text("\0"), Ok("\0".into()));
    }

    #[test]
    fn keys() {
        assert!(IdempotencyKey::parse("a!~-Z").is_ok());
        for bad in ["", " ", "a b", "é", "a\n", &"k".repeat(65)] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_never_panics(text in ".*") {
            let _ = RoomName::parse(&text);
            let _ = IdempotencyKey::parse(&text);
            let _ = text.parse::<crate::chat::id::EventId>();
            let _ = MessageText::parse(&text, 10);
            if let Ok(name) = MemberName::parse(&text) {
                let breaks = ['\n', '\r', '\u{2028}', '\u{200b}'];
                prop_assert!(!name.as_str().contains(breaks));
                prop_assert_eq!(name.folded(), name.folded());
            }
        }
    }
}
