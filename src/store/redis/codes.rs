//! Codes that take a session to another device, to be used at any server.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use super::{Redis, key, patiently};
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
        let put = self.run_once::<Vec<Vec<u8>>>(&call).await;
        put.map(drop)
    }

    /// Takes a code.
    pub(crate) async fn take_code(
        &self,
        bits: u64,
        unix_ms: u64,
    ) -> Result<Option<(SessionId, Vec<u8>)>, Refusal> {
        let taken: Vec<Vec<u8>> = self.run_once(&call(unix_ms, bits)).await?;
        let Ok([session, carried]) = <[Vec<u8>; 2]>::try_from(taken) else {
            return Ok(None);
        };
        let session = str::from_utf8(&session).ok();
        let session = session.and_then(|session| u128::from_str_radix(session, 16).ok());
        Ok(session.map(|session| (SessionId(session), carried)))
    }

    /// Runs a script that is not to be tried again: a code that was taken is gone.
    async fn run_once<T: redis::FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, Refusal> {
        let answer = async {
            self.link
                .run(call)
                .await
                .map_err(|_| Refusal::StoreUnreachable)
        };
        patiently(answer).await
    }
}

fn call(unix_ms: u64, bits: u64) -> ScriptInvocation<'static> {
    let mut call = CODES.key(key("codes"));
    call.key(key("codes:owners")).key(key("codes:carried"));
    call.arg(unix_ms).arg(bits);
    call
}
