//! The store that keeps entries in a file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::counters::Counters;
use crate::refusal::Refusal;
use crate::report::Reporter;
use crate::rooms::entries::Committed;
use crate::rooms::hub::Hub;
use crate::rooms::message::Draft;
use crate::rooms::names::RoomName;

/// When a message counts as stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fsync {
    /// When it is on the disk: it survives a power cut.
    Always,
    /// When the system has it: it survives a crash of the server, and after a second a power cut.
    #[default]
    EverySecond,
    /// When the system has it, which writes it in its own time.
    No,
}

/// The journal, as posts see it.
pub(crate) struct Journal {
    hub: Arc<Hub>,
}

impl Journal {
    pub(crate) fn open(
        _folder: &Path,
        _fsync: Fsync,
        hub: Arc<Hub>,
        _counters: Arc<Counters>,
        _report: Reporter,
    ) -> io::Result<Journal> {
        Ok(Journal { hub })
    }
    pub(crate) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        self.hub.commit(room, draft)
    }
    pub(crate) fn shorten(&self) {}
    pub(crate) async fn close(&self) {}
    pub(crate) fn has_failed(&self) -> bool {
        false
    }
}
