use super::*;
use proptest::prelude::*;

#[test]
fn rooms() {
    for good in [
        "lobby",
        "a",
        "Café-3_x.y",
        "聊天室",
        &"x".repeat(64),
        "٣",
        "हिन्दी",
        "தமிழ்",
        "ภาษาไทย",
        "Cafe\u{301}",
        "กั้ง-\u{31}\u{301}",
        "💬",
        &format!("team~{}", "a1".repeat(11)),
        &format!("~{}", "z9".repeat(20)),
        &format!("聊天~{}", "0".repeat(22)),
    ] {
        assert!(RoomName::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        ".",
        ".x",
        "a b",
        "a/b",
        "a\nb",
        "a\u{200b}b",
        "a\u{3000}b",
        "a\u{2800}b",
        "a\u{202e}b",
        "a:b",
        &"x".repeat(65),
        "a%b",
        "a\0",
        "a\u{fe0f}",
        "a\u{3164}",
        "\u{f900}",
        "~",
        "a~b",
        &format!("a~{}", "a".repeat(21)),
        &format!("a~{}", "a".repeat(41)),
        &format!("a~{}A", "a".repeat(22)),
        &format!("a~{}-", "a".repeat(22)),
        &format!("a~{0}~{0}", "a".repeat(22)),
        &format!("~{}~", "a".repeat(22)),
        &format!(".a~{}", "a".repeat(22)),
        &format!("{}~{}", "x".repeat(42), "a".repeat(22)),
    ] {
        assert!(RoomName::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn members() {
    for good in [
        "bob",
        "Alice B.",
        "爱丽丝",
        "مريم",
        "🦀",
        &"x".repeat(32),
        "<img>",
        "e\u{301}",
        "❤\u{fe0f}",
        "葛\u{e0100}",
        "ខ\u{17b4}",
    ] {
        assert!(MemberName::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        "   ",
        " bob",
        "bob ",
        "bo\tb",
        "bo\nb",
        "b\u{200b}ob",
        "\u{202e}bob",
        "b\0b",
        "\u{3164}",
        "b\u{2028}b",
        "\u{2800}",
        "\u{1d159}",
        "\u{fe0f}",
        "\u{17b5}",
        "\u{180c}",
        "\u{fff0}",
        "\u{e0080}",
        "\u{e0101}\u{fe00}",
        "\u{fe0f} \u{fe0f}",
        "\u{fe0f} bob",
        "a  b",
        "a \u{fe0f} b",
        "a\u{a0}b",
        "a\u{2003}b",
        "\u{fa10}",
        &"x".repeat(33),
    ] {
        assert!(MemberName::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_are_compared_without_case() {
    let folded = |name: &str| MemberName::parse(name).expect("a name").1;
    assert_eq!(folded("ÀLICE"), folded("àlice"));
    assert_eq!(folded("ΟΔΟΣ"), folded("οδος"));
    assert_eq!(folded("STRASSE"), folded("straße"));
    assert_eq!(folded("Straße"), folded("STRAẞE"));
    assert_ne!(folded("alice"), folded("álice"));
}

#[test]
fn names_and_rooms_are_compared_in_their_normal_form() {
    let folded = |name: &str| MemberName::parse(name).expect("a name").1;
    assert_eq!(folded("Rene\u{301}"), folded("RENÉ"));
    assert_eq!(folded("a\u{302}\u{323}"), folded("\u{1ead}"));
    assert_eq!(folded("\u{1112}\u{1161}\u{11ab}"), folded("한"));
    let room = |name: &str| RoomName::parse(name).expect("a room");
    assert_eq!(room("cafe\u{301}"), room("café"));
    assert_eq!(room("cafe\u{301}").as_str(), "caf\u{e9}");
    let long = "e\u{301}".repeat(ROOM_NAME_CHARS);
    assert!(RoomName::parse(&long).is_ok() && RoomName::parse(&(long + "e")).is_err());
}

/// Earlier versions took some names that are refused today, and wrote them into their journals.
#[test]
fn a_name_that_was_stored_can_be_read_whatever_the_rule_is_today() {
    for name in [
        "\u{795e}\u{fa19}",
        "\u{f900}",
        "a\u{200b}b",
        " ann",
        "\u{3164}",
    ] {
        assert!(
            MemberName::stored(name).is_ok() && RoomName::stored(name).is_ok(),
            "{name:?}"
        );
        assert!(RoomName::parse(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_name_may_be_sent_in_its_longest_spelling() {
    use super::unicode::is_compatibility_ideograph;
    use unicode_normalization::UnicodeNormalization;
    for c in ('\0'..=char::MAX).filter(|c| !is_compatibility_ideograph(*c)) {
        let sent: String = c.nfd().collect();
        assert!(sent.len() <= SENT_BYTES, "{c}");
    }
    let longest = "\u{1611e}\u{1611e}\u{1611f}";
    let name = longest.repeat(MEMBER_NAME_CHARS);
    assert_eq!((name.len(), nfc(longest).len()), (32 * SENT_BYTES, 4));
    assert!(MemberName::parse(&name).is_ok());
    assert!(MemberName::parse(&"a".repeat(32 * SENT_BYTES + 1)).is_err());
}

#[test]
fn every_case_of_a_letter_is_one_name() {
    for letter in ('\0'..=char::MAX).filter(|c| c.is_alphabetic()) {
        let folded = |cased: String| nfc(&fold(&fold(&cased)));
        let same = folded(letter.to_string());
        assert_eq!(folded(letter.to_uppercase().collect()), same, "{letter}");
        assert_eq!(folded(letter.to_lowercase().collect()), same, "{letter}");
        assert_eq!(folded(same.clone()), same, "{letter}");
    }
}

#[test]
fn what_cannot_be_seen_does_not_tell_names_apart() {
    let folded = |name: &str| MemberName::parse(name).expect("a name").1;
    for unseen in "\u{17b4}\u{180b}\u{180f}\u{fe00}\u{fe0f}\u{fff0}\u{e0080}\u{e0100}".chars() {
        assert_eq!(
            folded(&format!("{unseen}a{unseen}nn{unseen}")),
            folded("Ann")
        );
    }
}

#[test]
fn texts() {
    let text = |s: &str| MessageText::parse(s, 8).map(|t| t.as_str().to_owned());
    assert_eq!(text(" a\n b \r\n\n"), Ok(" a\n b".into()));
    assert_eq!(text(" \n\u{2003}"), Err(Malformed));
    assert_eq!(text(""), Err(Malformed));
    assert_eq!(text("12345678   "), Ok("12345678".into()));
    assert_eq!(text("123456789"), Err(Malformed));
    assert_eq!(text("\0"), Ok("\0".into()));
}

#[test]
fn keys() {
    assert!(IdempotencyKey::parse("a!~-Z").is_ok());
    for bad in ["", " ", "a b", "é", "a\n", &"k".repeat(65)] {
        assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn rooms_of_all_scripts(name in r"[\p{L}\p{N}][\p{L}\p{N}\p{M}_.-]{0,63}") {
        let refused = |c| is_ignorable(c) || is_deceptive(c);
        let fits = nfc(&name).chars().count() <= ROOM_NAME_CHARS;
        prop_assert_eq!(RoomName::parse(&name).is_ok(), fits && !name.contains(refused));
    }

    #[test]
    fn whatever_is_sent_never_panics(text in ".*") {
        let _ = RoomName::parse(&text);
        let _ = IdempotencyKey::parse(&text);
        let _ = text.parse::<crate::rooms::id::EventId>();
        let _ = MessageText::parse(&text, 10);
        if let Ok(name) = MemberName::parse(&text) {
            let breaks = ['\n', '\r', '\u{2028}', '\u{200b}'];
            prop_assert!(!name.as_str().contains(breaks));
            prop_assert_eq!(name.folded(), name.folded());
        }
    }
}
