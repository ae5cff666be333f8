//! What a server announces, as JSON on the feed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::entry::Fields;
use super::presence::{Announced, BATCH};
use crate::rooms::author::Author;
use crate::rooms::names::{MemberName, RoomName};

/// A member in a room.
type Member = (RoomName, MemberName, Author);

/// What an announcement says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    /// It is the first of this server: what is known of it so far no longer counts.
    pub(super) is_first: bool,
    pub(super) has_stopped: bool,
    pub(super) left: Vec<Member>,
    pub(super) joined: Vec<Member>,
    /// Listeners of rooms where that has changed.
    pub(super) listeners: Vec<(RoomName, usize)>,
}

impl News {
    /// What has changed.
    pub(super) fn between(before: &Announced, now: &Announced) -> News {
        let differing = |a: &Announced, b: &Announced| -> Vec<Member> {
            let members = a.members.iter().filter(|(place, (name, author, _))| {
                let other = b.members.get(place);
                other.is_none_or(|(other, of, _)| (other, of) != (name, author))
            });
            members
                .map(|((room, _), (name, author, _))| (room.clone(), name.clone(), *author))
                .collect()
        };
        let count = |of: &Announced, room: &RoomName| of.listeners.get(room).copied().unwrap_or(0);
        let rooms = before.listeners.keys().chain(now.listeners.keys());
        let rooms: BTreeSet<&RoomName> = rooms.collect();
        let changed = rooms
            .into_iter()
            .filter(|room| count(before, room) != count(now, room));
        News {
            is_first: !before.is_known,
            has_stopped: false,
            left: differing(before, now),
            joined: differing(now, before),
            listeners: changed
                .map(|room| (room.clone(), count(now, room)))
                .collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == News::default()
    }

    /// The news in parts of [`BATCH`] changes; at least one part.
    pub(super) fn parts(mut self) -> Vec<News> {
        let mut parts = Vec::new();
        loop {
            let take = |all: &mut Vec<Member>| all.split_off(all.len().saturating_sub(BATCH));
            let listeners = self
                .listeners
                .split_off(self.listeners.len().saturating_sub(BATCH));
            parts.push(News {
                is_first: std::mem::take(&mut self.is_first),
                has_stopped: self.has_stopped,
                left: take(&mut self.left),
                // Whoever left under a name goes before whoever joined under it.
                joined: if self.left.is_empty() {
                    take(&mut self.joined)
                } else {
                    Vec::new()
                },
                listeners,
            });
            if self.left.is_empty() && self.joined.is_empty() && self.listeners.is_empty() {
                return parts;
            }
        }
    }

    pub(super) fn to_json(&self) -> String {
        let members = |members: &[Member]| -> Value {
            let members = members.iter();
            members
                .map(|(room, name, author)| {
                    json!([room.as_str(), name.as_str(), author.to_string()])
                })
                .collect()
        };
        let listeners = self.listeners.iter();
        let listeners: Value = listeners
            .map(|(room, count)| json!([room.as_str(), count]))
            .collect();
        json!({
            "first": self.is_first,
            "stopped": self.has_stopped,
            "left": members(&self.left),
            "joined": members(&self.joined),
            "listeners": listeners
        })
        .to_string()
    }

    pub(super) fn from_json(text: &str) -> Option<News> {
        let json: Value = serde_json::from_str(text).ok()?;
        let room = |value: &Value| RoomName::stored(value.as_str()?).ok();
        let members = |field: &str| -> Option<Vec<Member>> {
            let members = json.get(field)?.as_array()?.iter();
            let member = |member: &Value| {
                let name = MemberName::stored(member.get(1)?.as_str()?).ok()?;
                let author = member.get(2)?.as_str()?.parse().ok()?;
                Some((room(member.get(0)?)?, name, author))
            };
            members.map(member).collect()
        };
        let listeners = json.get("listeners")?.as_array()?.iter();
        let count = |entry: &Value| {
            let count = usize::try_from(entry.get(1)?.as_u64()?).ok()?;
            Some((room(entry.get(0)?)?, count))
        };
        Some(News {
            is_first: json.get("first")?.as_bool()?,
            has_stopped: json.get("stopped")?.as_bool()?,
            left: members("left")?,
            joined: members("joined")?,
            listeners: listeners.map(count).collect::<Option<_>>()?,
        })
    }

    /// The whole roster of a server, from its hash.
    pub(super) fn from_roster(fields: Fields) -> News {
        let mut news = News {
            is_first: true,
            ..News::default()
        };
        for (field, value) in fields {
            let (room, folded) = field.split_once(':').unwrap_or((&field, ""));
            let Ok(room) = RoomName::stored(room) else {
                continue;
            };
            if folded.is_empty() {
                news.listeners
                    .extend(value.parse().ok().map(|count| (room, count)));
            } else if let Some((author, name)) = value.split_once(' ')
                && let (Ok(author), Ok(name)) = (author.parse(), MemberName::stored(name))
            {
                news.joined.push((room, name, author));
            }
        }
        news
    }
}
