//! Hearing what is said in a room, inside the program.

use std::future::poll_fn;
use std::task::ready;

use super::{Chat, Refused};
use crate::chat::message::Message;
use crate::chat::subscription::Subscription;
use crate::http::error::Refusal;

/// What a [`Listener`] hears.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// Somebody said something.
    Message(Message),
    /// The listener was so slow that messages went by which the room holds no more. What follows
    /// is what it still holds.
    Missed,
}

/// A place in a room, for the program itself. The room never waits for it; dropping it leaves.
pub struct Listener {
    chat: Chat,
    subscription: Subscription,
}

impl Listener {
    pub(super) fn new(chat: Chat, subscription: Subscription) -> Listener {
        Listener { chat, subscription }
    }

    /// The next thing that is heard, in the order of the room; `None` when the chat closes.
    ///
    /// It may be dropped while it waits, and nothing is lost.
    pub async fn next(&mut self) -> Option<Heard> {
        poll_fn(|cx| {
            loop {
                let Some(frame) = ready!(self.subscription.poll_next(cx)) else {
                    return None.into();
                };
                match frame.event() {
                    "messages-missed" => return Some(Heard::Missed).into(),
                    "new-message" => {
                        if let Some(message) = frame.message() {
                            return Some(Heard::Message(message)).into();
                        }
                    }
                    // Who comes and goes is not heard here.
                    _ => {}
                }
            }
        })
        .await
    }

    /// Says something under the name that the room was joined with.
    ///
    /// # Errors
    /// Those of [`Chat::post`]; `name-required` where the room was not joined under a name.
    pub async fn post(&self, text: &str) -> Result<Message, Refused> {
        let claim = self.subscription.claim().ok_or(Refusal::NameRequired)?;
        let room = self.subscription.room().name().clone();
        self.chat.say(&room, claim.name.clone(), true, text).await
    }
}
