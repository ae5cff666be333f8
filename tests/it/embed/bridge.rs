//! A bridge between rooms of two chats: what is said in one is said in the other, once, however often
//! the bridge is restarted.

use std::sync::Mutex;

use chatroom::{Chat, EventId, Heard, Message, PageAt, Refusal};

use crate::common::{Change as _, Folder, Random, eventually, unlimited, within};

/// How far the bridge has carried what is said, in each of the two chats.
type Positions = Mutex<[EventId; 2]>;

async fn bridge(chats: &[Chat; 2], room: &str, carried: &Positions) -> Result<(), Refusal> {
    let [a, b] = *carried.lock().expect("nobody panics with the lock");
    let mut a = chats[0].join([room], "bridge", Some(a)).await?;
    let mut b = chats[1].join([room], "bridge", Some(b)).await?;
    loop {
        let (heard, from, to, side) = tokio::select! {
            heard = a.next() => (heard, &a, &b, 0),
            heard = b.next() => (heard, &b, &a, 1),
        };
        let Some(heard) = heard else {
            return Ok(());
        };
        if let Heard::Message(message) = &heard
            && message.author != from.author()
        {
            let text = format!("{}: {}", message.name, message.text);
            // If the bridge ends before it has noted this, it comes here again.
            to.post_once(room, text, message.id.to_string()).await?;
        }
        if let Some(position) = heard.position() {
            carried.lock().expect("nobody panics with the lock")[side] = position;
        }
    }
}

async fn said(chat: &Chat) -> Vec<Message> {
    let page = chat.history("lobby", PageAt::End, usize::MAX).await;
    page.expect("a room").messages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_between_two_chats_carries_everything_once_and_nothing_back() {
    let folder = Folder::new();
    let chats = ["a", "b"].map(|name| {
        let options = unlimited().data(folder.path().join(name));
        options.build().expect("a chat")
    });
    let carried = Positions::default();
    let mut chance = Random::seeded(1);
    for n in 0..100 {
        let mut watcher = chats[1].listen(["lobby"], None).await.expect("a room");
        for (chat, name) in chats.iter().zip(["ann", "bob"]) {
            let said = chat.post("lobby", name, n.to_string()).await;
            said.expect("posted");
        }
        // It is cut as soon as a message has arrived, whether it has noted that or not.
        let mut left = 1 + chance.below(2);
        let cut = async {
            while left > 0 {
                let heard = within("a message", watcher.next()).await;
                left -= usize::from(matches!(heard, Some(Heard::Message(_))));
            }
        };
        tokio::select! {
            biased;
            () = cut => {}
            ended = bridge(&chats, "lobby", &carried) => panic!("{ended:?}"),
        }
    }
    let of = |all: &[Message], name: &str| -> Vec<String> {
        let by = all.iter().filter(|message| message.name == name);
        by.map(|message| message.text.to_string()).collect()
    };
    let expected =
        |name: &str| -> Vec<String> { (0..100).map(|n| format!("{name}: {n}")).collect() };
    tokio::select! {
        ended = bridge(&chats, "lobby", &carried) => panic!("{ended:?}"),
        () = eventually("all of it on both sides", async || {
            let [a, b] = [said(&chats[0]).await, said(&chats[1]).await];
            a.len() >= 200 && b.len() >= 200
        }) => {}
    }
    let [a, b] = [said(&chats[0]).await, said(&chats[1]).await];
    assert_eq!(of(&a, "bridge"), expected("bob"));
    assert_eq!(of(&b, "bridge"), expected("ann"));
    assert_eq!((a.len(), b.len()), (200, 200));
}
