//! Appending, by the script.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;
use tokio::time::sleep;

use super::entry::{self, Fields, Raw};
use super::link::Script;
use super::{EPOCH_PAUSE, FEED_ENTRIES, Shared, key, presence, room_key};
use crate::refusal::Refusal;
use crate::rooms::entries::Committed;
use crate::rooms::limits::Limits;
use crate::rooms::message::{Draft, Message};
use crate::rooms::names::RoomName;

impl Shared {
    /// Appends a draft, however often that has to be tried, and waits until it is published here.
    pub(super) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        let (keys, mut arguments) = self.append_parts(room, &draft);
        loop {
            arguments[0] = self.epoch().to_string();
            // The link paces the attempts.
            let Ok(answer) = self.link.run(Script::Append, &keys, &arguments).await else {
                continue;
            };
            let answer: Vec<Value> = answer;
            let mut answer = answer.into_iter();
            let mut text = || -> Option<String> { redis::from_redis_value(answer.next()?).ok() };
            let status = text().unwrap_or_default();
            let id = text().and_then(|id| id.parse().ok());
            match (status.as_str(), id) {
                ("new", Some(id)) => {
                    let is_member = text().is_some_and(|member| member == "1");
                    self.published(id).await;
                    let entry = with_member(draft, is_member).into_entry(room, id, id.milliseconds);
                    return Ok(Committed::New(entry.frame));
                }
                ("old", Some(id)) => {
                    self.published(id).await;
                    let fields = answer.next().map(redis::from_redis_value::<Fields>);
                    let fields = fields.and_then(Result::ok).unwrap_or_default();
                    return repeated(&draft, &Raw { id, fields });
                }
                ("taken", _) => return Err(Refusal::NameTaken { room: room.clone() }),
                ("none", _) => return Err(Refusal::NoSuchMessage),
                _ => {
                    self.is_outdated.store(true, Ordering::Relaxed);
                    sleep(EPOCH_PAUSE).await;
                }
            }
        }
    }

    /// The keys and arguments of the append script; the epoch is missing.
    fn append_parts(&self, room: &RoomName, draft: &Draft) -> (Vec<String>, Vec<String>) {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Limits {
            history,
            history_age,
            room_ttl,
            ..
        } = self.hub.limits();
        let ttl = [*history_age, *room_ttl].into_iter().flatten().min();
        let oldest = history_age.map(|age| {
            let now = self.hub.clock().unix_ms();
            format!("{}-0", now.saturating_sub(milliseconds(age)))
        });
        let retained = if *history == usize::MAX { 0 } else { *history };
        let mut arguments = vec![
            String::new(),
            room.to_string(),
            retained.to_string(),
            ttl.map_or(0, milliseconds).to_string(),
            oldest.unwrap_or_default(),
            FEED_ENTRIES.to_string(),
        ];
        let mut name_key = String::new();
        match draft {
            Draft::Message {
                name,
                author,
                member,
                text,
                key,
            } => {
                name_key = presence::name_key(room, &name.folded());
                arguments.extend([
                    "message".to_owned(),
                    name.to_string(),
                    author.map_or(String::new(), |author| author.to_string()),
                    u8::from(*member).to_string(),
                    text.to_string(),
                    key.as_ref().map_or(String::new(), ToString::to_string),
                ]);
            }
            Draft::Removal { removed, by } => arguments.extend([
                "removal".to_owned(),
                removed.to_string(),
                by.as_str().to_owned(),
            ]),
        }
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let keys = vec![
            key("feed"),
            room_key(room),
            key("rooms"),
            key(&format!("keys:{room}")),
            if name_key.is_empty() {
                key("none")
            } else {
                name_key
            },
            key(&format!("token:{}:{attempt}", self.server)),
            key("epoch"),
        ];
        (keys, arguments)
    }
}

/// What a draft repeats.
fn repeated(draft: &Draft, raw: &Raw) -> Result<Committed, Refusal> {
    let (_, entry) = entry::decode(raw).ok_or(Refusal::StoreUnreachable)?;
    if let Draft::Message { name, text, .. } = draft {
        let first = Message::from_frame(&entry.frame).ok_or(Refusal::Removed)?;
        if first.name.folded() != name.folded() || first.text != *text {
            return Err(Refusal::KeyReused);
        }
    }
    Ok(Committed::Duplicate(entry.frame))
}

/// The draft as the store took it: its sender may be a member at another server.
fn with_member(mut draft: Draft, is_member: bool) -> Draft {
    if let Draft::Message { member, .. } = &mut draft {
        *member = is_member;
    }
    draft
}
