//! Passwords come in files, and a server that anybody can reach should have one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

/// A password file of a test, removed at its end.
struct File(PathBuf);

impl File {
    fn new(test: &str, content: &[u8], mode: u32) -> File {
        let path = std::env::temp_dir().join(format!("chatroom-{test}-{}", std::process::id()));
        std::fs::write(&path, content).expect("the folder can be written");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        File(path)
    }

    fn as_str(&self) -> &str {
        self.0.to_str().expect("the path is UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_password_file_holds_one_password_and_nothing_else() {
    for option in ["--password-file", "--moderator-password-file"] {
        for (content, expected) in [
            (&b""[..], "empty"),
            (b"\n", "empty"),
            (b" \t \r\n", "blank"),
            (b"one\ntwo\n", "more than one line"),
            (b"one\n\n", "more than one line"),
            (b"\xef\xbb\xbfone\n", "byte order mark"),
        ] {
            let file = File::new(&option[2..], content, 0o600);
            let error = error(&[option, file.as_str()], &[]);
            let begins = format!("{option} {}: ", file.as_str());
            assert!(
                error.starts_with(&begins) && error.contains(expected),
                "{error}"
            );
        }
    }
    let file = File::new("mode", b"secret\r\n", 0o600);
    assert!(
        options(&["--password-file", file.as_str()])
            .warnings
            .is_empty()
    );
    let file = File::new("mode", b"secret", 0o644);
    let warnings = options(&["--password-file", file.as_str()]).warnings;
    assert!(
        matches!(&warnings[..], [one] if one.contains("chmod 600")),
        "{warnings:?}"
    );
}

#[test]
fn one_password_for_both_would_make_everybody_a_moderator() {
    let door = File::new("door", b"secret\n", 0o600);
    let moderators = File::new("moderators", b"secret\r\n", 0o600);
    for second in [&door, &moderators] {
        let both = [
            "--password-file",
            door.as_str(),
            "--moderator-password-file",
            second.as_str(),
        ];
        let error = error(&both, &[]);
        assert!(error.starts_with("--moderator-password-file: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn an_exposed_server_brings_a_warning() {
    let file = File::new("exposed", b"secret\n", 0o600);
    let password = ["--password-file", file.as_str()];
    let open = ["--listen", "0.0.0.0:80"];
    let warnings = |parts: &[&[&str]]| options(&parts.concat()).warnings.join("\n");
    assert_eq!(warnings(&[&password]), "");
    assert_eq!(warnings(&[&["--listen", "[::1]:80"]]), "");
    assert!(warnings(&[&open]).contains("without a password"));
    assert!(warnings(&[&open, &password]).contains("unencrypted"));
    let proxy = ["--trusted-proxy", "10.0.0.1"];
    assert_eq!(warnings(&[&open, &password, &proxy]), "");
    // A proxy makes public what listens on loopback.
    assert!(warnings(&[&proxy]).contains("without a password"));
    assert_eq!(warnings(&[&proxy, &password]), "");
}
