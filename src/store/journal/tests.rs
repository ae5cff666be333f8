use std::fs;

use super::super::test_folder::TestFolder;
use super::*;
use crate::names::{IdempotencyKey, MemberName, MessageText};
use crate::options::{Fsync, Options};
use crate::report::{LogLevel, Reporter};
use crate::rooms::frame::Frame;
use crate::rooms::id::EventId;
use crate::rooms::message::{Message, RemovedBy};

fn hub() -> Arc<Hub> {
    let options = Options {
        history: 10,
        data: Some("remembers".into()),
        fsync: Fsync::No,
        log: Reporter {
            level: LogLevel::Error,
            ..Reporter::default()
        },
        ..Options::default()
    };
    Arc::new(Hub::new(Arc::new(options)))
}

fn open(folder: &TestFolder) -> (Journal, Arc<Hub>) {
    let hub = hub();
    let data = DataFolder::open(folder.path()).expect("it can be made");
    let journal = Journal::open(data, hub.clone());
    (journal.expect("the folder can be used"), hub)
}

fn lobby() -> RoomName {
    RoomName::parse("lobby").expect("a room")
}

fn draft(key: Option<&str>, text: &str) -> Draft {
    Draft::Message {
        name: MemberName::parse("a").expect("a name"),
        author: None,
        member: Some(false),
        text: MessageText::parse(text, 100).expect("a text"),
        key: key.map(|key| IdempotencyKey::parse(key).expect("a key")),
    }
}

fn removal(removed: EventId) -> Draft {
    let by = RemovedBy::Author;
    Draft::Removal { removed, by }
}

fn new(committed: Result<Committed, Refusal>) -> Arc<Frame> {
    match committed {
        Ok(Committed::New(frame)) => frame,
        Ok(Committed::Duplicate(_)) => panic!("a duplicate"),
        Err(refusal) => panic!("{refusal}"),
    }
}

fn duplicate(committed: Result<Committed, Refusal>) -> Arc<Frame> {
    match committed {
        Ok(Committed::Duplicate(frame)) => frame,
        Ok(Committed::New(_)) => panic!("not a duplicate"),
        Err(refusal) => panic!("{refusal}"),
    }
}

fn stored_entries(folder: &TestFolder) -> usize {
    let journal = fs::read_to_string(folder.path().join("messages.jsonl"));
    let journal = journal.expect("a journal");
    journal
        .lines()
        .filter(|line| line.contains("\"eventId\""))
        .count()
}

/// All are queued before the writer runs, so they are one batch, and it is the last one.
#[tokio::test]
async fn repeats_within_the_closing_batch_are_answered_with_their_first() {
    let folder = TestFolder::new();
    let (journal, _) = open(&folder);
    let room = lobby();
    let (first, twin, other, late, ()) = tokio::join!(
        journal.append(&room, draft(Some("k"), "hello")),
        journal.append(&room, draft(Some("k"), "hello")),
        journal.append(&room, draft(Some("k"), "other")),
        journal.append(&room, draft(None, "late")),
        journal.close(),
    );
    let first = new(first);
    assert_eq!(duplicate(twin).bytes(), first.bytes());
    assert_eq!(other.err(), Some(Refusal::KeyReused));
    new(late);
    let after = journal.append(&room, draft(None, "after the end")).await;
    assert_eq!(after.err(), Some(Refusal::Draining));
    assert_eq!(journal.trouble(), None, "it has ended in good order");
    assert_eq!(stored_entries(&folder), 2);
}

#[tokio::test]
async fn a_message_removed_twice_in_one_batch_is_removed_once() {
    let folder = TestFolder::new();
    let (journal, hub) = open(&folder);
    let room = lobby();
    let message = new(journal.append(&room, draft(Some("k"), "hello")).await);
    let message = Message::from_frame(&message).expect("a message").id;
    let (first, twin) = tokio::join!(
        journal.append(&room, removal(message)),
        journal.append(&room, removal(message)),
    );
    assert_eq!(duplicate(twin).bytes(), new(first).bytes());
    let repeat = journal.append(&room, draft(Some("k"), "hello")).await;
    assert_eq!(repeat.err(), Some(Refusal::Removed));
    journal.close().await;
    assert_eq!(stored_entries(&folder), 1, "the removal alone");
    let (_, rooms) = hub.retained();
    assert!(matches!(&rooms[..], [(.., entries)] if entries.len() == 1));

    let (journal, _) = open(&folder);
    let repeat = journal.append(&room, draft(Some("k"), "hello")).await;
    assert_eq!(repeat.err(), Some(Refusal::Removed));
    let missing = journal.append(&room, removal(EventId::ZERO)).await;
    assert_eq!(missing.err(), Some(Refusal::NoSuchMessage));
    duplicate(journal.append(&room, removal(message)).await);
}

/// It would stay in the file after its time.
#[test]
fn what_is_stored_behind_a_rewrite_counts_as_the_oldest_in_an_empty_file() {
    let folder = TestFolder::new();
    let data = DataFolder::open(folder.path()).expect("it can be made");
    let status = Arc::new(Status::default());
    let file = JournalFile::open(data, drop, status.clone(), hub());
    let mut file = file.expect("the folder can be used");
    file.oldest = Some(0);
    status.request_rewrite();
    file.rewrite_where_due();
    assert_eq!(file.oldest, None);
    for (sent_at, oldest) in [(7, 7), (9, 7), (5, 5)] {
        file.store(b"{}\n", Some(sent_at)).expect("there is room");
        assert_eq!(file.oldest, Some(oldest));
    }
}

#[test]
fn posts_to_a_dead_writer_are_told_that_the_store_has_failed() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    };
    let folder = TestFolder::new();
    let writers = runtime();
    let journal = writers.block_on(async { open(&folder).0 });
    assert_eq!(journal.trouble(), None);
    drop(writers);
    assert_eq!(journal.trouble(), Some(Refusal::StorageFailed));
    let refused = runtime().block_on(journal.append(&lobby(), draft(None, "hello")));
    assert_eq!(refused.err(), Some(Refusal::StorageFailed));
}
