//! An archive of what is said, as a program that embeds the chat keeps it: killed at random moments, it
//! has every message once and in order.

use std::error::Error;
use std::fs::{OpenOptions, read_to_string};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use chatroom::{Chat, EventId, Heard, Options, PageAt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::common::{Change as _, Folder, Random, longer, within};

const ROOMS: [&str; 2] = ["lobby", "dev"];
/// How often the program is killed.
const KILLS: u64 = 6;
/// It sends so many messages at most before it is killed.
const MOST_POSTS: usize = 150;
/// The archive begins when so many messages were sent: it has to find them.
const LATE: usize = 20;
/// Tells the program that is killed where its files are.
const FOLDER: &str = "TEST_ARCHIVE_FOLDER";

async fn archive(chat: &Chat, path: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut file = OpenOptions::new();
    let mut file = file.create(true).read(true).append(true).open(path)?;
    let mut lines = String::new();
    file.read_to_string(&mut lines)?;
    // A line without its break was being written when the program was killed.
    let whole = lines.rfind('\n').map_or(0, |end| end + 1);
    file.set_len(whole as u64)?;
    let last = lines[..whole].lines().last();
    let last = last.and_then(|line| line.split(' ').next());
    let last: EventId = last.map(str::parse).transpose()?.unwrap_or_default();
    let mut listener = chat.listen(ROOMS, Some(last)).await?;
    while let Some(heard) = listener.next().await {
        if let Heard::Message(message) = heard {
            // In pieces, so that some are torn.
            write!(file, "{} ", message.id)?;
            write!(file, "{}: ", message.name)?;
            writeln!(file, "{}", message.text)?;
        }
    }
    Ok(())
}

fn open(folder: &Path) -> Chat {
    let options = Options::default().data(folder.join("data"));
    let options = options.history(0).history_bytes(0);
    options.build().expect("the folder is free")
}

/// What the test below starts and kills; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_an_archive() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let chat = open(&folder);
    for n in 0_usize.. {
        if n == LATE {
            let (archived, path) = (chat.clone(), folder.join("archive"));
            let archiving = async move { archive(&archived, &path).await };
            tokio::spawn(async { archiving.await.expect("the archive is kept") });
        }
        let said = chat.post(ROOMS[n % 2], "bot", format!("text {n}")).await;
        println!("said {}", said.expect("posted").id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_killed_at_random_moments_has_every_message_once_and_in_order() {
    let (folder, kills) = (Folder::new(), KILLS * longer());
    let mut chance = Random::seeded(kills);
    let mut answered = Vec::new();
    for _ in 0..kills {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        let (_, module) = module_path!().split_once("::").expect("a crate");
        command.arg(format!("{module}::a_program_with_an_archive"));
        command
            .args(["--exact", "--nocapture"])
            .env(FOLDER, folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.kill_on_drop(true).spawn().expect("it starts");
        let output = program.stdout.take().expect("it is a pipe");
        let mut lines = BufReader::new(output).lines();
        let mut left = 1 + chance.below(MOST_POSTS);
        while left > 0 {
            let line = within("a message", lines.next_line()).await;
            let line = line.expect("text").expect("it goes on");
            if let Some((_, id)) = line.split_once("said ") {
                answered.push(id.parse::<EventId>().expect("an id"));
                left -= 1;
            }
        }
        within("the end", program.kill()).await.expect("it ran");
        let mut printed = String::new();
        let mut errors = program.stderr.take().expect("it is a pipe");
        errors.read_to_string(&mut printed).await.expect("text");
        assert_eq!(printed, "", "the library prints nothing");
    }

    let chat = open(folder.path());
    let mut retained = Vec::new();
    for room in ROOMS {
        let backwards = backwards(&chat, room).await;
        assert_eq!(backwards, forwards(&chat, room).await, "{room}");
        retained.extend(backwards);
    }
    retained.sort_unstable();
    assert!(answered.iter().all(|id| retained.contains(id)));
    // A chat that closes still gives its listeners all that they have not heard.
    let path = folder.path().join("archive");
    let (archived, ()) = tokio::join!(archive(&chat, &path), chat.close());
    archived.expect("the archive is kept");
    let archived = read_to_string(&path).expect("it is there");
    let ids = archived.lines().map(|line| line.split(' ').next());
    let ids: Vec<EventId> = ids
        .map(|id| id.and_then(|id| id.parse().ok()).expect("an id"))
        .collect();
    assert_eq!(ids, retained);
}

/// Pages of a room's history, from its end to its beginning.
async fn backwards(chat: &Chat, room: &str) -> Vec<EventId> {
    let (mut all, mut at) = (Vec::new(), PageAt::End);
    loop {
        let page = chat.history(room, at, 7).await.expect("a page");
        let Some(first) = page.messages.first() else {
            return all;
        };
        at = PageAt::Before(first.id);
        all.splice(0..0, page.messages.iter().map(|message| message.id));
    }
}

/// The same the other way round.
async fn forwards(chat: &Chat, room: &str) -> Vec<EventId> {
    let (mut all, mut at) = (Vec::new(), PageAt::After(EventId::default()));
    loop {
        let page = chat.history(room, at, 7).await.expect("a page");
        if page.messages.is_empty() {
            return all;
        }
        at = PageAt::After(page.next);
        all.extend(page.messages.iter().map(|message| message.id));
    }
}
