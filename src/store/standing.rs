//! Who may do what: moderators, and those who are banned. Where several servers are one chat, this
//! is what the others have too.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::bans::{self, Ban, MOST_BANS};
use super::durable;
use super::seen::Seen;
use crate::author::Author;
use crate::lock::lock;
use crate::options::Options;
use crate::refusal::Refusal;

/// Sessions that are moderators at once, at most; beyond it the oldest has to log in again.
pub(super) const MAX_MODERATORS: usize = 1_000;

/// Moderators and bans.
pub(crate) struct Standing {
    pub(crate) bans: Mutex<Vec<Ban>>,
    pub(crate) seen: Seen,
    /// Held while bans are changed and written. Posts do not take it, and see the earlier bans meanwhile.
    changing: Mutex<()>,
    /// Moderators and until when they are, in milliseconds since the Unix epoch; oldest first.
    moderators: Mutex<VecDeque<(Author, u64)>>,
    /// Another server has changed something.
    has_changed: AtomicBool,
    /// For `data`, where bans are kept across restarts.
    options: Arc<Options>,
    /// There was no room for the file of the bans, so they are in memory alone.
    unsaved: AtomicBool,
}

/// A change of bans or moderators.
pub(crate) enum Change {
    Ban(Ban),
    Lift(Author),
    /// A moderator, until this time in milliseconds since the Unix epoch.
    LogIn(Author, u64),
    LogOut(Author),
}

impl Standing {
    /// Nobody is banned yet.
    pub(crate) fn new(options: Arc<Options>) -> Standing {
        Standing {
            bans: Mutex::default(),
            seen: Seen::default(),
            changing: Mutex::default(),
            moderators: Mutex::default(),
            has_changed: AtomicBool::new(false),
            options,
            unsaved: AtomicBool::new(false),
        }
    }

    /// Reads the bans that a previous run has kept.
    pub(crate) fn read(&self) -> io::Result<()> {
        if let Some(folder) = &self.options.data {
            *lock(&self.bans) = bans::load(folder)?;
        }
        Ok(())
    }

    /// When the last ban that `concerns` picks ends, in milliseconds since the Unix epoch.
    pub(crate) fn banned_until(
        &self,
        unix_ms: u64,
        concerns: impl Fn(&Ban) -> bool,
    ) -> Option<u64> {
        let bans = lock(&self.bans);
        let current = bans
            .iter()
            .filter(|ban| ban.until > unix_ms && concerns(ban));
        current.map(|ban| ban.until).max()
    }

    pub(crate) fn is_moderator(&self, author: Author, unix_ms: u64) -> bool {
        let moderators = lock(&self.moderators);
        let is_this = |(known, until): &(Author, u64)| *known == author && *until > unix_ms;
        moderators.iter().any(is_this)
    }

    /// Carries out a change, and makes it durable. It blocks.
    ///
    /// # Errors
    /// There are too many bans, there is none to lift, or the change cannot be made durable.
    pub(super) fn apply(&self, change: Change, unix_ms: u64) -> Result<(), Refusal> {
        let (author, until) = match change {
            Change::Ban(ban) => return self.set_ban(ban.author, Some(ban), unix_ms),
            Change::Lift(author) => return self.set_ban(author, None, unix_ms),
            Change::LogIn(author, until) => (author, Some(until)),
            Change::LogOut(author) => (author, None),
        };
        let moderators = &mut *lock(&self.moderators);
        moderators.retain(|(known, _)| *known != author);
        moderators.extend(until.map(|until| (author, until)));
        if moderators.len() > MAX_MODERATORS {
            moderators.pop_front();
        }
        Ok(())
    }

    fn set_ban(&self, author: Author, ban: Option<Ban>, unix_ms: u64) -> Result<(), Refusal> {
        let _changing = lock(&self.changing);
        let bans = self.bans_with(author, ban, unix_ms)?;
        if let Some(folder) = &self.options.data {
            let saved = bans::save(folder, &bans);
            if let Err(error) = &saved {
                let refusal = durable::refusal(error);
                if refusal != Refusal::StorageFull {
                    self.options.log.error(format_args!(
                        "bans: cannot write, nothing was changed: {error}"
                    ));
                    return Err(refusal);
                }
                self.options.log.error(format_args!(
                    "bans: no room, a restart undoes the change unless there is room before: {error}"
                ));
            }
            self.unsaved.store(saved.is_err(), Ordering::Relaxed);
        }
        *lock(&self.bans) = bans;
        Ok(())
    }

    /// The bans, with that of an author set or lifted.
    ///
    /// # Errors
    /// There are too many bans, or there is none to lift.
    pub(super) fn bans_with(
        &self,
        author: Author,
        ban: Option<Ban>,
        unix_ms: u64,
    ) -> Result<Vec<Ban>, Refusal> {
        let mut bans = lock(&self.bans).clone();
        bans.retain(|old| old.until > unix_ms);
        let index = bans.iter().position(|old| old.author == author);
        let earlier = index.map(|index| bans.remove(index));
        match ban {
            None if earlier.is_none() => return Err(Refusal::NotFound),
            Some(_) if bans.len() >= MOST_BANS => return Err(Refusal::TooManyBans),
            ban => bans.extend(ban),
        }
        Ok(bans)
    }

    /// Whether there was no room for the bans.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved.load(Ordering::Relaxed)
    }

    /// Tries again to write the bans for which there was no room, unless they are being changed. It blocks.
    pub(crate) fn save(&self) {
        let Ok(_changing) = self.changing.try_lock() else {
            return;
        };
        let bans = lock(&self.bans).clone();
        let folder = self.options.data.as_ref().filter(|_| self.is_unsaved());
        if folder.is_some_and(|folder| bans::save(folder, &bans).is_ok()) {
            self.unsaved.store(false, Ordering::Relaxed);
            self.options.log.info(format_args!(
                "bans: there is room again, all changes are stored"
            ));
        }
    }

    /// Takes over what the servers have in common.
    #[cfg(feature = "redis")]
    pub(super) fn replace(&self, bans: Vec<Ban>, moderators: Vec<(Author, u64)>) {
        *lock(&self.bans) = bans;
        *lock(&self.moderators) = moderators.into();
        self.has_changed.store(true, Ordering::Relaxed);
    }

    /// Whether another server may have changed something since this was last called.
    pub(crate) fn take_changed(&self) -> bool {
        self.has_changed.swap(false, Ordering::Relaxed)
    }
}
