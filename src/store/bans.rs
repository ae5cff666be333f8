//! The bans that a moderator has set: `bans.json` in the data folder, one sealed line.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{durable, sealed};
use crate::author::Author;

const FILE: &str = "bans.json";
/// Bans at most: each is compared with every post, and the file is written anew with each.
pub(crate) const MOST_BANS: usize = 1_000;

/// Somebody who may not post or take part for a while.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ban {
    /// Who it is.
    pub author: Author,
    /// What the author was last called, where that is known.
    pub name: Option<String>,
    /// When it ends, in milliseconds since the Unix epoch.
    pub until: u64,
    /// The address that is banned too; of IPv6 the first of its /64.
    pub address: Option<IpAddr>,
}

/// Reads the bans in `folder`; none where there is no file.
///
/// # Errors
/// The file cannot be read, or it is damaged; the error says what to do.
pub(crate) fn load(folder: &Path) -> io::Result<Vec<Ban>> {
    let bans = durable::read(&folder.join(FILE), parse, " and with it every ban")?;
    Ok(bans.unwrap_or_default())
}

/// Replaces the bans in `folder`. When this returns, they are durable.
///
/// # Errors
/// The file cannot be written; the earlier bans are still there.
pub(crate) fn save(folder: &Path, bans: &[Ban]) -> io::Result<()> {
    let bans: Vec<Value> = bans.iter().map(to_json).collect();
    let mut line = format!("{{\"v\":1,\"bans\":{}", Value::Array(bans)).into_bytes();
    sealed::seal(&mut line, 0);
    durable::replace(folder, FILE, &line)
}

fn parse(content: &[u8]) -> Option<Vec<Ban>> {
    let json = sealed::open(content.strip_suffix(b"\n")?)?;
    let bans = json.get("bans")?.as_array()?;
    (bans.len() <= MOST_BANS).then(|| bans.iter().map(from_json).collect())?
}

pub(super) fn to_json(ban: &Ban) -> Value {
    let address = ban.address.map(|address| address.to_string());
    json!({
        "author": ban.author.to_string(), "name": ban.name, "until": ban.until, "address": address
    })
}

pub(super) fn from_json(json: &Value) -> Option<Ban> {
    let text = |key: &str| match json.get(key)? {
        Value::Null => Some(None),
        value => Some(Some(value.as_str()?.to_owned())),
    };
    Some(Ban {
        author: text("author")??.parse().ok()?,
        name: text("name")?,
        until: json.get("until")?.as_u64()?,
        address: text("address")?
            .map(|address| address.parse())
            .transpose()
            .ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::test_folder::TestFolder;
    use super::*;

    fn some(count: u64) -> Vec<Ban> {
        let ban = |n| Ban {
            author: Author(n),
            name: (n % 2 == 0).then(|| format!("n\"{n}\n")),
            until: u64::MAX - n,
            address: (n % 3 == 0).then_some([10, 0, 0, 1].into()),
        };
        (0..count).map(ban).collect()
    }

    #[test]
    fn come_back_as_they_were_and_for_the_owner_alone() {
        let folder = TestFolder::new();
        assert_eq!(load(folder.path()).ok(), Some(vec![]));
        for count in [1, MOST_BANS as u64, 0, 3] {
            save(folder.path(), &some(count)).expect("the folder can be written");
            assert_eq!(load(folder.path()).ok(), Some(some(count)));
        }
        let file = fs::metadata(folder.path().join(FILE)).expect("it was made");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.names(), [FILE]);
    }

    /// As after a crash while they were written: the earlier ones are whole.
    #[test]
    fn a_piece_of_a_new_file_changes_nothing() {
        let folder = TestFolder::new();
        save(folder.path(), &some(2)).expect("the folder can be written");
        fs::write(folder.path().join("bans.json.new"), "{\"v\":1").expect("it can be written");
        assert_eq!(load(folder.path()).ok(), Some(some(2)));
        save(folder.path(), &some(3)).expect("the folder can be written");
        assert_eq!(load(folder.path()).ok(), Some(some(3)));
        assert_eq!(folder.names(), [FILE]);
    }

    #[test]
    fn every_damage_is_told_and_nothing_is_changed() {
        let folder = TestFolder::new();
        let path = folder.path().join(FILE);
        save(folder.path(), &some(2)).expect("the folder can be written");
        let whole = fs::read(&path).expect("it was made");
        let flipped = (0..whole.len() * 8).map(|bit| {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        });
        let cut = (0..whole.len()).map(|end| whole[..end].to_vec());
        for damaged in flipped.chain(cut) {
            fs::write(&path, &damaged).expect("the folder can be written");
            let refused = load(folder.path()).expect_err("it is damaged").to_string();
            assert!(
                refused.starts_with(&format!("{}: is damaged", path.display())),
                "{refused}"
            );
            assert_eq!(fs::read(&path).ok(), Some(damaged));
        }
        save(folder.path(), &some(MOST_BANS as u64 + 1)).expect("it can be written");
        load(folder.path()).expect_err("it has too many");
    }
}
