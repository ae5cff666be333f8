//! The rosters of the other servers, as they announce them.

use std::collections::{BTreeMap, HashMap};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::entry::Fields;
use super::news::News;
use super::presence::{EXPIRY, Place};
use super::{Shared, key};
use crate::rooms::author::Author;
use crate::rooms::limits::NAME_GRACE;
use crate::rooms::lock;
use crate::rooms::names::{FoldedName, MemberName, RoomName};

/// Another server.
pub(super) struct Server {
    /// When it last announced anything.
    pub(super) heard_at: Instant,
    /// When its members leave, since it has stopped.
    leaves_at: Option<Instant>,
    pub(super) members: BTreeMap<Place, (MemberName, Author)>,
    listeners: HashMap<RoomName, usize>,
}

impl Shared {
    /// Takes in what another server announces.
    pub(super) fn hear(&self, fields: &Fields) {
        let (Some(server), Some(news)) = (fields.get("server"), fields.get("news")) else {
            return;
        };
        let Some(news) = News::from_json(news) else {
            return;
        };
        // The last spelling on the feed counts at every server, this one's own included.
        let spellings = news.joined.clone();
        if *server != self.server {
            self.take_in(server, news);
        }
        for (room, name, author) in spellings {
            self.hub.respell(&room, &name, author);
            let place = (room, name.folded());
            self.presence.note_spelling(&place, &name, author);
        }
    }

    fn take_in(&self, id: &str, news: News) {
        let servers = &mut *lock(&self.presence.servers);
        let now = Instant::now();
        if news.is_first
            && let Some(server) = servers.remove(id)
        {
            self.depart(servers, server);
        }
        let server = servers
            .entry(id.to_owned())
            .or_insert_with(|| Server::new(now));
        server.heard_at = now;
        for (room, name, author) in news.left {
            let place = (room, name.folded());
            if server
                .members
                .get(&place)
                .is_some_and(|(_, known)| *known == author)
            {
                server.members.remove(&place);
                self.hub.depart(&place.0, &place.1, author);
            }
        }
        for (room, name, author) in news.joined {
            let folded = name.folded();
            self.hub_arrives(server, room, folded, name, author);
        }
        let mut changed: Vec<RoomName> = Vec::new();
        for (room, listeners) in news.listeners {
            server.listeners.insert(room.clone(), listeners);
            changed.push(room);
        }
        if news.has_stopped {
            server.leaves_at = Some(now + NAME_GRACE);
            changed.extend(server.listeners.drain().map(|(room, _)| room));
        }
        self.count_listeners(servers, changed);
    }

    fn hub_arrives(
        &self,
        server: &mut Server,
        room: RoomName,
        folded: FoldedName,
        name: MemberName,
        author: Author,
    ) {
        let known = server.members.get(&(room.clone(), folded.clone()));
        match known.map(|(_, known)| *known) {
            // The roster had it already.
            Some(known) if known == author => return,
            Some(known) => self.hub.depart(&room, &folded, known),
            None => {}
        }
        self.hub.arrive(&room, &name, author);
        server.members.insert((room, folded), (name, author));
    }

    fn count_listeners(&self, servers: &HashMap<String, Server>, rooms: Vec<RoomName>) {
        for room in rooms {
            let counts = servers
                .values()
                .filter_map(|server| server.listeners.get(&room));
            self.hub.listen_elsewhere(&room, counts.sum());
        }
    }

    /// Removes the members of a server that is no longer among the servers.
    fn depart(&self, servers: &HashMap<String, Server>, server: Server) {
        for ((room, folded), (_, author)) in server.members {
            self.hub.depart(&room, &folded, author);
        }
        self.count_listeners(servers, server.listeners.into_keys().collect());
    }

    /// Removes the members of servers that are silent, or that stopped a grace ago.
    pub(super) fn forget_dead(&self) {
        let now = Instant::now();
        let servers = &mut *lock(&self.presence.servers);
        let is_dead = |server: &Server| {
            now.duration_since(server.heard_at) >= EXPIRY
                || server.leaves_at.is_some_and(|leaves_at| leaves_at <= now)
        };
        let dead = servers.iter().filter(|(_, server)| is_dead(server));
        let dead: Vec<String> = dead.map(|(id, _)| id.clone()).collect();
        for id in dead {
            if let Some(server) = servers.remove(&id) {
                self.depart(servers, server);
            }
        }
    }

    /// Loads the rosters of the other servers.
    pub(super) async fn load_rosters(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(key("servers"));
        let servers: Vec<String> = command.query_async(connection).await?;
        for server in servers {
            let roster = key(&format!("roster:{server}"));
            let mut command = redis::cmd("HGETALL");
            command.arg(&roster);
            let fields: Fields = command.query_async(connection).await?;
            if fields.is_empty() {
                let mut command = redis::cmd("SREM");
                command.arg(key("servers")).arg(&server);
                let () = command.query_async(connection).await?;
            } else if server != self.server {
                self.take_in(&server, News::from_roster(fields));
            }
        }
        Ok(())
    }
}

impl Server {
    fn new(now: Instant) -> Server {
        Server {
            heard_at: now,
            leaves_at: None,
            members: BTreeMap::new(),
            listeners: HashMap::new(),
        }
    }
}
