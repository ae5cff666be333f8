//! Codes that take a session to another device, to be used at any server.

use std::sync::LazyLock;

use redis::Script;

use super::{Call, Redis, key, patiently};
use crate::author::SessionId;
use crate::refusal::Refusal;
use crate::store::codes::{Code, MOST_CODES, MOST_OF_ADDRESS};

static CODES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("codes.lua")));

impl Redis {
    /// Keeps a code, under the rules of [`Codes::put`](crate::store::codes::Codes::put).
    pub(crate) async fn put_code(&self, code: Code, unix_ms: u64) -> Result<(), Refusal> {
        let mut call = call(unix_ms, code.bits);
        call.arg(code.expires_at)
            .arg(format!("{:032x}", code.session.0));
        call.arg(code.address.to_string()).arg(code.carried);
        call.arg(MOST_OF_ADDRESS).arg(MOST_CODES);
        self.run_once(&call).await.map(drop)
    }

    /// Takes a code.
    pub(crate) async fn take_code(
        &self,
        bits: u64,
        unix_ms: u64,
    ) -> Result<Option<(SessionId, Vec<u8>)>, Refusal> {
        let taken = self.run_once(&call(unix_ms, bits)).await?;
        Ok(taken.and_then(|(session, carried)| {
            let session = u128::from_str_radix(&session, 16).ok()?;
            Some((SessionId(session), carried))
        }))
    }

    /// Runs a script that is not to be tried again: a code that was taken is gone.
    async fn run_once(&self, call: &Call) -> Result<Option<(String, Vec<u8>)>, Refusal> {
        let answer = self.link.run(call);
        patiently(async { answer.await.map_err(|_| Refusal::StoreUnreachable) }).await
    }
}

fn call(unix_ms: u64, bits: u64) -> Call {
    let mut call = CODES.key(key("codes"));
    call.key(key("codes:owners")).key(key("codes:carried"));
    call.arg(unix_ms).arg(bits);
    call
}
