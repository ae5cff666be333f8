//! The secret from which authors are derived: `secret` in the data folder, made once.
//!
//! The file has 32 hexadecimal digits, a space, and the CRC-32 of the digits.

use std::io;
use std::path::Path;

use super::{durable, sealed};

const FILE: &str = "secret";

/// Reads the secret in a folder; `None` if there is none yet.
///
/// # Errors
/// The file cannot be read, or it is damaged; the error says what to do.
pub(crate) fn load(folder: &Path) -> io::Result<Option<[u8; 16]>> {
    let loss =
        ": everybody then counts as a new author, and can no longer remove what they wrote before";
    durable::read(&folder.join(FILE), parse, loss)
}

/// Writes a new secret, and returns it.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn create(folder: &Path, secret: [u8; 16]) -> io::Result<[u8; 16]> {
    durable::replace(folder, FILE, format(secret).as_bytes())
        .map_err(|error| durable::problem(&folder.join(FILE), "cannot be written", error))?;
    Ok(secret)
}

fn format(secret: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(secret));
    let crc = sealed::crc32(digits.as_bytes());
    format!("{digits} {crc:08x}\n")
}

fn parse(content: &[u8]) -> Option<[u8; 16]> {
    let digits = std::str::from_utf8(content.get(..32)?).ok()?;
    let secret = u128::from_str_radix(digits, 16).ok()?.to_be_bytes();
    (format(secret).as_bytes() == content).then_some(secret)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::test_folder::TestFolder;
    use super::*;

    #[test]
    fn is_made_once_and_for_the_owner_alone() {
        let folder = TestFolder::new();
        // What a crash in the middle of making it would leave.
        fs::write(folder.path().join("secret.new"), "00").expect("the folder can be written");
        let secret = *b"0123456789\x00\xffabcd";
        assert_eq!(load(folder.path()).ok(), Some(None));
        assert_eq!(create(folder.path(), secret).ok(), Some(secret));
        assert_eq!(load(folder.path()).ok(), Some(Some(secret)));
        let file = fs::metadata(folder.path().join(FILE)).expect("it was made");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.names(), [FILE]);
    }

    #[test]
    fn every_damage_is_told_and_nothing_is_changed() {
        let folder = TestFolder::new();
        let path = folder.path().join(FILE);
        let whole = format([7; 16]).into_bytes();
        let flipped = (0..whole.len() * 8).map(|bit| {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        });
        let cut = (0..whole.len()).map(|end| whole[..end].to_vec());
        for damaged in flipped.chain(cut).chain([[&*whole, b"x"].concat()]) {
            fs::write(&path, &damaged).expect("the folder can be written");
            let refused = load(folder.path()).expect_err("it is damaged").to_string();
            assert!(
                refused.starts_with(&format!("{}: is damaged", path.display())),
                "{refused}"
            );
            assert_eq!(fs::read(&path).ok(), Some(damaged));
        }
    }
}
