//! What a program does as a moderator, without a request.

use std::time::Duration;

use super::Chat;
use crate::author::Author;
use crate::clock::milliseconds;
use crate::http::bans::to_the_end;
use crate::refusal::Refusal;
use crate::rooms::id::EventId;
use crate::rooms::message::RemovedBy;
use crate::store::bans::Ban;

/// What the log calls the moderator.
const BY: &str = "the program";

impl Chat {
    /// Removes a message, as a moderator does. Removing it again changes nothing.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`, `not-found`, `storage-full`, `storage-failed`, `draining`; with
    /// Redis also `store-unreachable`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use chatroom::PageAt;
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let spam = chat.post("lobby", "bot", "Buy now!").await?;
    /// chat.remove("lobby", spam.id).await?;
    /// assert!(chat.history("lobby", PageAt::End, 50).await?.messages.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn remove(&self, room: impl AsRef<str>, message: EventId) -> Result<(), Refusal> {
        let room = self.room(room.as_ref())?;
        let by = RemovedBy::Moderator;
        self.site.remove(&room, message, by, BY).await.map(drop)
    }

    /// Removes all messages of an author that are retained, in every room. To be called after
    /// [`Chat::ban`]: what the author has under way is then removed too.
    ///
    /// # Errors
    /// `storage-full`, `storage-failed`, `draining`; with Redis also `store-unreachable`. Some messages
    /// may be removed already.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use chatroom::PageAt;
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let bot = chat.join(["a", "b"], "bot", None).await?;
    /// bot.post("a", "Buy now!").await?;
    /// let spam = bot.post("b", "Buy now!").await?;
    /// if let Some(author) = spam.author {
    ///     chat.remove_all_of(author).await?;
    /// }
    /// assert!(chat.history("a", PageAt::End, 50).await?.messages.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn remove_all_of(&self, author: Author) -> Result<(), Refusal> {
        self.site.remove_all_of(author, BY).await
    }

    /// Bans an author for a while from taking part, together with the address at which the author
    /// was last seen if `with_address` is set. Streams that this concerns end at once. A ban of an author
    /// who is banned already replaces it.
    ///
    /// # Errors
    /// `too-many-bans`, `storage-failed`, `draining`, or `bad-request` if the address is a trusted
    /// proxy's; with Redis also `store-unreachable`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let bot = chat.join(["lobby"], "bot", None).await?;
    /// let spam = bot.post("lobby", "Buy now!").await?;
    /// let author = spam.author.expect("a bot that has joined has one");
    /// let ban = chat.ban(author, Duration::from_secs(24 * 60 * 60), true).await?;
    /// assert_eq!(ban.name.as_deref(), Some("bot"));
    /// assert_eq!(bot.post("lobby", "Buy!").await.expect_err("banned").code(), "banned");
    /// assert_eq!(chat.bans(), [ban]);
    /// chat.unban(author).await?;
    /// assert!(chat.bans().is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn ban(
        &self,
        author: Author,
        time: Duration,
        with_address: bool,
    ) -> Result<Ban, Refusal> {
        let now = self.site.hub.clock().unix_ms();
        let until = now.saturating_add(milliseconds(time));
        let site = self.site.clone();
        to_the_end(async move { site.ban(author, until, with_address, BY).await }).await
    }

    /// Lifts the ban of an author.
    ///
    /// # Errors
    /// `not-found` (there is none), `storage-failed`, `draining`; with Redis also `store-unreachable`.
    pub async fn unban(&self, author: Author) -> Result<(), Refusal> {
        let site = self.site.clone();
        to_the_end(async move { site.lift_ban(author, BY).await }).await
    }

    /// The bans that hold, in the order in which they were set.
    pub fn bans(&self) -> Vec<Ban> {
        self.site.bans()
    }
}
