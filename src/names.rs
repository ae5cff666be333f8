//! What people may be called, what rooms may be called, and what may be said.
//!
//! A value of these types has been checked: behind this file, a name with a line break in it
//! cannot exist.

mod canonical;
mod unicode;

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use canonical::nfc;
use unicode::{is_deceptive, is_ignorable};

/// The most characters in a room's name.
pub const ROOM_NAME_CHARS: usize = 64;
/// Bytes that a character of the normal form may have taken as it was sent: U+16126 may come as three
/// characters of four bytes. What is longer is refused unread.
const SENT_BYTES: usize = 12;
/// Characters of the key of a room that is found by its link alone: 22 hold 113 bits of chance.
const ROOM_KEY_CHARS: RangeInclusive<usize> = 22..=40;
/// The most characters in a member's name.
pub const MEMBER_NAME_CHARS: usize = 32;
/// Bytes of a user's id, as a proxy names it, at most.
const USER_ID_BYTES: usize = 512;
/// The most characters in an idempotency key.
const KEY_CHARS: usize = 64;

/// The name of a room: 1 to 64 visible characters in Normalization Form C, none of them white space, and
/// of ASCII only letters, digits, `-`, `_` and `.` (not first).
///
/// It may end in `~` and a key of 22 to 40 characters `a-z0-9`. Such a room is for those who know the
/// whole name, and is never listed.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoomName(Arc<str>);

/// The name of a person or bot as it is shown: 1 to 32 visible characters in Normalization Form C, with
/// single spaces between them.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberName(Arc<str>, FoldedName);

/// A member's name as it is compared: without case, and without what cannot be seen.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct FoldedName(Arc<str>);

/// What is said: not empty, without white space at its end, within the server's limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessageText(Box<str>);

/// What a poster marks a message with so that a repeat of it is recognized: 1 to 64 visible ASCII
/// characters.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct IdempotencyKey(Arc<str>);

/// The text breaks the rule of its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("empty, too long, or not of the form that is expected")
    }
}

impl std::error::Error for Malformed {}

impl RoomName {
    /// Checks a room's name.
    ///
    /// # Errors
    /// It breaks the rule of the type.
    ///
    /// ```
    /// let room = chatroom::RoomName::parse("dev")?;
    /// assert_eq!(room, "dev");
    /// # Ok::<(), chatroom::Malformed>(())
    /// ```
    pub fn parse(text: &str) -> Result<RoomName, Malformed> {
        let allowed = |c: char| match c.is_ascii() {
            true => c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~'),
            false => !c.is_whitespace() && !is_deceptive(c) && !is_ignorable(c),
        };
        let is_key = |key: &str| {
            ROOM_KEY_CHARS.contains(&key.len())
                && key
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        match text.split_once('~') {
            _ if text.starts_with('.') => Err(Malformed),
            Some((_, key)) if !is_key(key) => Err(Malformed),
            _ => checked(text, ROOM_NAME_CHARS, allowed).map(RoomName),
        }
    }

    /// Whether the room is for those alone who know its whole name.
    pub fn is_by_link(&self) -> bool {
        self.0.contains('~')
    }
}

impl MemberName {
    /// Checks a member's name.
    ///
    /// # Errors
    /// It breaks the rule of the type.
    ///
    /// ```
    /// let name = chatroom::MemberName::parse("Ann B.")?;
    /// assert!(name != "ann b." && chatroom::MemberName::parse(" ann").is_err());
    /// # Ok::<(), chatroom::Malformed>(())
    /// ```
    pub fn parse(text: &str) -> Result<MemberName, Malformed> {
        let allowed = |c: char| !is_deceptive(c) && (c == ' ' || !c.is_whitespace());
        let name = checked(text, MEMBER_NAME_CHARS, allowed)?;
        let visible = visible(&name);
        if visible.is_empty() || visible.trim() != visible || visible.contains("  ") {
            return Err(Malformed);
        }
        Ok(MemberName::folding(name))
    }

    /// The name of a user whom a proxy names: the beginning of the id.
    pub(crate) fn of_user(id: &str) -> Result<MemberName, Malformed> {
        if id.len() > USER_ID_BYTES || id.trim() != id || id.contains(is_deceptive) {
            return Err(Malformed);
        }
        let end = id.char_indices().nth(MEMBER_NAME_CHARS);
        MemberName::parse(id[..end.map_or(id.len(), |(end, _)| end)].trim_end())
    }

    /// The name with the form in which it is compared, made once, and not under the hub's lock. A name that is the
    /// same in both, as most are, needs no second text.
    fn folding(name: Arc<str>) -> MemberName {
        let folded = match name.is_ascii() {
            true => name.to_ascii_lowercase(),
            // Twice, as some letters lead to the others of their kind only in two steps: ẞ, ß, SS.
            false => nfc(&fold(&fold(&visible(&name)))),
        };
        let same = (*folded == *name).then(|| name.clone());
        MemberName(name, FoldedName(same.unwrap_or_else(|| folded.into())))
    }

    /// The name as it is compared.
    pub(crate) fn folded(&self) -> &FoldedName {
        &self.1
    }
}

#[cfg(feature = "redis")]
impl FoldedName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl MessageText {
    /// Removes the white space at the end and checks what is left against `max_bytes`.
    pub(crate) fn parse(text: &str, max_bytes: usize) -> Result<MessageText, Malformed> {
        match text.trim_end() {
            text if text.is_empty() || text.len() > max_bytes => Err(Malformed),
            text => Ok(MessageText(text.into())),
        }
    }
}

impl IdempotencyKey {
    /// Checks a key.
    pub(crate) fn parse(text: &str) -> Result<IdempotencyKey, Malformed> {
        checked(text, KEY_CHARS, |c| c.is_ascii_graphic()).map(IdempotencyKey)
    }

    /// The key as its owner's: nobody else can use it, or find out that it was used.
    pub(crate) fn of(&self, owner: impl fmt::Display) -> IdempotencyKey {
        IdempotencyKey(format!("{owner} {}", self.0).into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key without its owner, as earlier versions stored it.
    pub(crate) fn of_nobody(&self) -> IdempotencyKey {
        let key = self.0.split_once(' ').map_or(&*self.0, |(_, key)| key);
        IdempotencyKey(key.into())
    }

    /// A key with its owner, as it is stored.
    pub(crate) fn stored(text: &str) -> Result<IdempotencyKey, Malformed> {
        checked(text, usize::MAX, |c| matches!(c, ' '..='~')).map(IdempotencyKey)
    }
}

/// The text in its normal form, if that has 1 to `max_chars` characters, all of them allowed.
fn checked(
    text: &str,
    max_chars: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<Arc<str>, Malformed> {
    if text.len() > max_chars.saturating_mul(SENT_BYTES) {
        return Err(Malformed);
    }
    let normal = match text.is_ascii() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(nfc(text)),
    };
    let fits = !normal.is_empty() && normal.chars().nth(max_chars).is_none();
    if fits && normal.chars().all(allowed) {
        Ok(normal.into())
    } else {
        Err(Malformed)
    }
}

/// The text without the characters that leave no mark on the screen.
fn visible(text: &str) -> String {
    text.chars().filter(|&c| !is_ignorable(c)).collect()
}

/// Upper case first, so that letters with two lower cases (final sigma, long s) meet.
fn fold(text: &str) -> String {
    text.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

macro_rules! texts {
    ($($name:ident),+) => {$(
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, text: &str) -> bool {
                *self.0 == *text
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, text: &&str) -> bool {
                *self == **text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

texts!(RoomName, MemberName, MessageText);

macro_rules! names {
    ($($name:ident: $of:expr),+) => {$(
        impl $name {
            /// A name that an earlier version stored, whose rule may have been wider.
            pub(crate) fn stored(text: &str) -> Result<$name, Malformed> {
                checked(text, usize::MAX, |c| !c.is_control()).map($of)
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<$name, Malformed> {
                $name::parse(text)
            }
        }
    )+};
}

names!(RoomName: RoomName, MemberName: MemberName::folding);

#[cfg(test)]
mod tests;
