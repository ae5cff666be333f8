//! The rooms as requests see them: which of them a request names, which are on offer, and who is in one.

use hyper::{Response, StatusCode};
use serde_json::Value;

use super::answer;
use super::body::Body;
use super::request::{Query, decode_value};
use super::site::Site;
use super::visitor::Visitor;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::frame::json_names;
use crate::rooms::limits::STREAM_ROOMS;

/// Parameters that name the rooms of a request, at most: each room may be named twice.
const ROOM_PARAMETERS: usize = 2 * STREAM_ROOMS;

impl Site {
    /// Checks that a room is on offer.
    pub(crate) fn check_offered(&self, room: &RoomName) -> Result<(), Refusal> {
        let rooms = &self.options.rooms;
        if rooms.is_empty() || rooms.contains(room) {
            Ok(())
        } else {
            Err(Refusal::RoomNotOffered)
        }
    }

    /// Checks that a room is on offer, to this visitor too.
    pub(super) fn check_offered_to(
        &self,
        visitor: &Visitor<'_>,
        room: &RoomName,
    ) -> Result<(), Refusal> {
        match &visitor.rooms {
            Some(rooms) if !rooms.contains(room) => Err(Refusal::RoomNotOffered),
            _ => self.check_offered(room),
        }
    }
}

/// Checks a room's name, once its encoding is undone.
pub(super) fn parse(name: Option<impl AsRef<str>>) -> Result<RoomName, Refusal> {
    let room = name.and_then(|name| RoomName::parse(name.as_ref()).ok());
    room.ok_or(Refusal::BadRoom)
}

/// The rooms of a request, each once, in the order asked for. More than `most` are refused.
pub(super) fn named(
    site: &Site,
    visitor: &Visitor<'_>,
    in_path: Option<RoomName>,
    most: usize,
    too_many: &'static str,
) -> Result<Vec<RoomName>, Refusal> {
    let (mut sent, mut rooms) = (Vec::new(), Vec::new());
    for (n, name) in Query::of(&visitor.head.uri).raw("room").enumerate() {
        let is_new = !sent.contains(&name);
        if n == ROOM_PARAMETERS || is_new && sent.len() == most {
            return Err(Refusal::BadRequest(too_many));
        }
        if !is_new {
            continue;
        }
        sent.push(name);
        let room = parse(decode_value(name))?;
        if !rooms.contains(&room) {
            rooms.push(room);
        }
    }
    if in_path.is_some() && !rooms.is_empty() {
        return Err(Refusal::BadRequest(
            "Name the rooms in the path or in the query, not in both.",
        ));
    }
    rooms.extend(in_path);
    if rooms.is_empty() {
        let own = visitor.rooms.as_ref().and_then(|rooms| rooms.first());
        rooms.push(own.cloned().unwrap_or_else(|| site.options.default_room()));
    }
    for room in &rooms {
        site.check_offered_to(visitor, room)?;
    }
    Ok(rooms)
}

/// Lists the rooms that there are for the visitor, but for those that are found by their link alone.
pub(super) fn list(site: &Site, visitor: &Visitor<'_>) -> Response<Body> {
    let own = visitor.rooms.as_ref();
    let summaries = site.hub.summaries(own.unwrap_or(&site.options.rooms));
    let rooms: Vec<String> = summaries
        .iter()
        .filter(|summary| !summary.room.is_by_link())
        .filter(|summary| site.check_offered_to(visitor, &summary.room).is_ok())
        .map(|summary| {
            let last = Value::from(summary.newest.map(|id| id.milliseconds));
            let room = Value::from(summary.room.as_str());
            let census = summary.census.json_members();
            format!(r#"{{"room":{room},{census},"lastMessageAt":{last}}}"#)
        })
        .collect();
    let json = format!(r#"{{"rooms":[{}]}}"#, rooms.join(","));
    answer::json(StatusCode::OK, json)
}

/// Says who is in a room. Moderators are told the authors too, in the order of the names: whom to ban who
/// never spoke.
pub(super) fn members(site: &Site, visitor: &Visitor<'_>, room: &RoomName) -> Response<Body> {
    let (members, census) = site.hub.members(room);
    let mut answer = format!(
        r#"{{"room":{},"members":{},{}"#,
        Value::from(room.as_str()),
        json_names(members.iter().map(|(name, _)| name)),
        census.json_members()
    );
    if visitor.is_moderator {
        let authors = members.iter().map(|(_, author)| author.to_string());
        answer += &format!(r#","authors":{}"#, Value::from_iter(authors));
    }
    answer::json(StatusCode::OK, answer + "}")
}
