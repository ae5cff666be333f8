//! Who you are, and how you are the same on another device.

use hyper::body::Body as HttpBody;
use hyper::header::SET_COOKIE;
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::answer::{self, Answer};
use super::body::Body;
use super::request::read_object;
use super::site::Site;
use super::visitor::Visitor;
use crate::author::SessionId;
use crate::refusal::Refusal;
use crate::store::codes::{self, CODE_MS, Code};

/// Says who the visitor is.
pub(crate) fn tell(site: &Site, visitor: &Visitor<'_>) -> Response<Body> {
    let author = Value::from(visitor.author.map(|author| author.to_string()));
    let user = Value::from(visitor.name.as_ref().map(|name| name.as_str()));
    let moderator = visitor.is_moderator;
    let moderators = moderator || site.has_moderators();
    answer::json(
        StatusCode::OK,
        format!(
            r#"{{"author":{author},"user":{user},"moderator":{moderator},"moderators":{moderators}}}"#
        ),
    )
}

/// Gives out a code for the visitor's session. What the request carries, the other device gets.
pub(crate) async fn give_code<B: HttpBody>(site: &Site, visitor: &Visitor<'_>, body: B) -> Answer {
    let session = visitor.session.ok_or(Refusal::NotFound)?;
    let (carried, _) = read_object(visitor.head, body).await?;
    let now = site.hub.clock().unix_ms();
    let (SessionId(random), expires_at) = (site.sessions.issue(), now + CODE_MS);
    let bits = random as u64 % (1 << codes::BITS);
    let code = Code {
        bits,
        session,
        address: visitor.address.ip(),
        expires_at,
        carried,
    };
    site.store.put_code(&site.codes, code, now).await?;
    let code = codes::written(bits);
    let json = format!(r#"{{"code":"{code}","expiresAt":{expires_at}}}"#);
    Ok(answer::json(StatusCode::CREATED, json))
}

/// Gives the session behind a code to this device.
pub(crate) async fn use_code<B: HttpBody>(site: &Site, visitor: &Visitor<'_>, body: B) -> Answer {
    if visitor.name.is_some() {
        // A user is the same on every device.
        return Err(Refusal::NotFound);
    }
    let (_, fields) = read_object(visitor.head, body).await?;
    let given = fields.get("code").and_then(Value::as_str);
    let given = given.ok_or(Refusal::BadRequest(
        "Send the code that the other device shows: {\"code\":\"XXXXX-XXXXX\"}.",
    ))?;
    site.guard.check_attempts(visitor.address)?;
    let now = site.hub.clock().unix_ms();
    let taken = match codes::read(given) {
        Some(bits) => site.store.take_code(&site.codes, bits, now).await?,
        None => None,
    };
    let Some((session, carried)) = taken else {
        site.guard.note_wrong("code", visitor.address);
        return Err(Refusal::WrongCode);
    };
    let mut response = answer::json(StatusCode::OK, carried);
    let cookie = site.sessions.set_cookie(session, visitor.https);
    cookie.map(|cookie| response.headers_mut().insert(SET_COOKIE, cookie));
    Ok(response)
}
