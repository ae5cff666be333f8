//! Appending, by a script.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::RedisResult;
use tokio::time::sleep;

use super::entry::{self, Fields};
use super::presence::field_of;
use super::{APPEND, Call, EPOCH_PAUSE, Redis, call, key, patiently, room_key};
use crate::clock::milliseconds;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::entries::Committed;
use crate::rooms::message::Draft;

impl Redis {
    /// Appends a draft, however often that has to be tried, and waits until it is published here.
    ///
    /// # Errors
    /// `store-unreachable`: the draft may have been appended all the same.
    pub(crate) async fn append(
        &self,
        room: &RoomName,
        mut draft: Draft,
    ) -> Result<Committed, Refusal> {
        if let Some(frame) = self.hub.duplicate_of(room, &draft)? {
            return Ok(Committed::Duplicate(frame));
        }
        patiently(async {
            let _under_way = self.under_way.read().await;
            let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
            loop {
                let call = self.append_call(room, &draft, attempt);
                // The link paces the attempts.
                let answer: RedisResult<(String, String, Fields)> = self.link.run(&call).await;
                let Ok((status, id, fields)) = answer else {
                    continue;
                };
                match (status.as_str(), id.parse()) {
                    ("new", Ok(id)) => {
                        self.published(id).await;
                        if let Draft::Message { member, .. } = &mut draft {
                            // Its sender may be a member at another server.
                            *member = fields.get("member").map(|member| member == "1");
                        }
                        let entry = draft.into_entry(room, id, id.milliseconds);
                        return Ok(Committed::New(entry.frame));
                    }
                    ("old", Ok(id)) => {
                        self.published(id).await;
                        let entry = entry::decode(id, &fields);
                        let (_, entry) = entry.ok_or(Refusal::StoreUnreachable)?;
                        let repeated = match &draft {
                            Draft::Removal { .. } => Ok(entry.frame),
                            Draft::Message { name, text, .. } => {
                                entry.repeated_by(Some(name), text)
                            }
                        };
                        return repeated.map(Committed::Duplicate);
                    }
                    ("banned", _) => {
                        let left = Duration::from_millis(id.parse().unwrap_or_default());
                        return Err(Refusal::Banned { retry_after: left });
                    }
                    ("taken", _) => return Err(Refusal::NameTaken { room: room.clone() }),
                    ("none", _) => return Err(Refusal::NoSuchMessage),
                    _ => {
                        self.is_outdated.store(true, Ordering::Relaxed);
                        sleep(EPOCH_PAUSE).await;
                    }
                }
            }
        })
        .await
    }

    /// How long Redis keeps a room after its newest entry, in milliseconds; `None` means for good.
    pub(super) fn room_ms(&self) -> Option<u64> {
        let options = &self.hub.options;
        let times = [options.history_age, options.room_ttl];
        times.into_iter().flatten().min().map(milliseconds)
    }

    fn append_call(&self, room: &RoomName, draft: &Draft, attempt: u64) -> Call {
        let options = &self.hub.options;
        let too_old = self.hub.expired_before().map(|ms| format!("({ms}-0"));
        let mut call = call(&APPEND);
        call.key(room_key(room)).key(key("rooms"));
        call.key(key(&format!("keys:{room}")));
        call.key(key(&format!("token:{}:{attempt}", self.server)));
        call.key(key("bans"));
        call.arg(self.epoch().to_string()).arg(room.as_str());
        call.arg(options.history).arg(options.history_bytes);
        call.arg(self.room_ms().unwrap_or(0));
        call.arg(too_old.as_deref().unwrap_or("-"));
        match draft {
            Draft::Message {
                name,
                author,
                member,
                text,
                key,
            } => {
                if member.is_some() {
                    call.key(super::key("servers"));
                }
                call.arg("message").arg(name.as_str());
                call.arg(author.map_or(String::new(), |author| author.to_string()));
                call.arg(u8::from(*member == Some(true))).arg(text.as_str());
                call.arg(key.as_ref().map_or("", |key| key.as_str()));
                call.arg(super::key("roster:")).arg(field_of(room, name));
            }
            Draft::Removal { removed, by } => {
                call.arg("removal")
                    .arg(removed.to_string())
                    .arg(by.as_str());
            }
        }
        call
    }
}
