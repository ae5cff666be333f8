use std::iter;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

#[test]
fn texts_of_payloads() {
    for (payload, text) in [
        (json!({"text": "a"}), "a"),
        (json!({"text": null, "attachments": null, "blocks": 1}), ""),
        (
            json!({"text": "a\n", "title": "x", "fields": [{"value": "x"}], "footer": "x"}),
            "a",
        ),
        (json!({"attachments": [{"fallback": "f"}]}), "f"),
        (
            json!({"attachments": [{"text": "c", "title": "b", "pretext": "a", "fallback": "f"}]}),
            "a\nb\nc",
        ),
        (
            json!({"attachments": [{"title": "b", "text": "", "fallback": "f"}]}),
            "b",
        ),
        (
            json!({"text": "a", "attachments": [{}, 1, {"title": [], "text": "b\nc"}]}),
            "a\nb\nc",
        ),
        (json!({"text": "a", "attachments": [{"text": "a"}]}), "a\na"),
        (json!({"attachments": {"text": "a"}}), "a"),
        // Fields alone.
        (
            json!({"attachments": [{"fields": [{"title": "Load", "value": 22.5, "short": true}, {"title": "", "value": "v"}, {"title": "t"}]}]}),
            "Load: 22.5\nv\nt",
        ),
        (
            json!({"attachments": [{"fallback": "f", "fields": [{"title": "a", "value": "b"}], "actions": [{"type": "button", "text": "Go", "url": "https://x/"}]}]}),
            "f\na: b\nGo <https://x/>",
        ),
        // What stands beside blocks often says the same.
        (
            json!({"text": "a", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "a"}}, {"type": "markdown", "text": "b"}], "attachments": [{"text": "d"}]}),
            "a\nb\nd",
        ),
        (
            json!({"text": "a", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "b"}}]}),
            "a\nb",
        ),
        (
            json!({"attachments": [{"fallback": "f", "blocks": [{"text": {"text": "f"}}]}]}),
            "f",
        ),
        // Every kind of block, and only those buttons that lead somewhere.
        (
            json!({"blocks": [
                {"type": "section", "text": {"text": "s"}, "fields": [{"text": "f"}, {"text": "g"}],
                 "accessory": {"type": "button", "text": {"text": "More"}, "url": "https://m/", "value": "v"}},
                {"type": "divider"},
                {"type": "context", "elements": [{"type": "image", "image_url": "https://i/", "alt_text": "i"}, {"type": "mrkdwn", "text": "c"}]},
                {"type": "actions", "elements": [{"type": "button", "text": {"text": "Resolve"}, "value": "v"}, {"type": "external_select", "placeholder": {"text": "p"}}]},
                {"type": "image", "title": {"text": "i"}, "image_url": "https://i/"},
                {"type": "rich_text", "elements": [
                    {"type": "rich_text_section", "elements": [{"type": "text", "text": "a "}, {"type": "link", "url": "https://l/", "text": "l"}, {"type": "text", "text": " &amp; b"}]},
                    {"type": "rich_text_list", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "one"}]}, {"type": "rich_text_section", "elements": []}]}]},
                {"type": "table", "rows": [[{"type": "raw_text", "text": "r"}]]}
            ]}),
            "s\nf\ng\nMore <https://m/>\nc\ni\na l <https://l/> &amp; b\none\nr",
        ),
    ] {
        assert_eq!(text_of(&payload), text, "{payload}");
    }
}

#[test]
fn links_mentions_and_escapes() {
    for (text, expected) in [
        (
            "see <https://x/?a=1&amp;b=2|the &lt;docs&gt;>.",
            "see the <docs> <https://x/?a=1&b=2>.",
        ),
        ("<https://x/ | x >", "x <https://x/>"),
        ("<https://x/>:<https://y/|>", "<https://x/>:<https://y/>"),
        (
            "<https://x.org|x.org> <mailto:a@x|a@x>",
            "<https://x.org> <mailto:a@x>",
        ),
        (
            "<https://evil.org|https://x.org>",
            "https://x.org <https://evil.org>",
        ),
        ("<@U1|@ann> <@U1> <#C1|dev> <#C1>", "@ann @U1 #dev #C1"),
        (
            "<!here> <!channel|channel> <!subteam^S1|@ops>",
            "@here @channel @ops",
        ),
        ("<!date^1392734382^{date} at {time}|yesterday>", "yesterday"),
        (
            "&lt;b&gt; &amp;lt; &amp;amp; &quot;",
            "<b> &lt; &amp; &quot;",
        ),
        ("&lt;https://x|y&gt;", "<https://x|y>"),
        // Not everybody escapes.
        ("a < b && c > d", "a < b && c > d"),
        (
            "Vec<T> <a href=\"https://x\"> <!-- x --> <> <|> <#> <",
            "Vec<T> <a href=\"https://x\"> <!-- x --> <> <|> <#> <",
        ),
        (
            "<<https://x|y>\n<https://x\n|y>",
            "<y <https://x>\n<https://x\n|y>",
        ),
    ] {
        assert_eq!(plain(text), expected, "{text}");
    }
    assert_eq!(linked("https://x", "https://x"), "<https://x>");
    assert_eq!(linked("x", " "), "x");
}

/// Each would take minutes if a part of it were read again for each of its signs.
#[test]
fn reading_takes_time_in_proportion_to_the_text() {
    for piece in ["<", "<a:", "<a|", "&amp", "<a:b|c>"] {
        let text = piece.repeat(1 << 17);
        assert!(plain(&text).len() <= 2 * text.len(), "{piece}");
    }
    let parts: Vec<Value> =
        iter::repeat_n(json!({"text": "x", "blocks": [{"text": "y"}]}), 1 << 16).collect();
    assert_eq!(text_of(&json!({"attachments": parts})).len(), (4 << 16) - 1);
}

#[test]
fn a_long_text_is_cut_between_two_characters() {
    for (text, max_bytes, expected) in [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc…"),
        ("abéééé", 6, "ab…"),
        ("🦀🦀", 7, "🦀…"),
        ("abcd", 3, "…"),
    ] {
        assert_eq!(cut(text.to_owned(), max_bytes), expected, "{text}");
    }
}

/// JSON with the names that are read.
fn payloads() -> impl Strategy<Value = Value> {
    let keys = "text|title|title_link|pretext|fallback|value|type|url|blocks|fields|elements|accessory|actions|attachments";
    let leaf = prop_oneof![
        "button|rich_text_section|header".prop_map(Value::from),
        "[<>&|:@#!a-c \n]{0,12}".prop_map(Value::from),
        any::<u8>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(keys, inner, 0..6)
                .prop_map(|map| Value::from(Map::from_iter(map))),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_cut_fits(text in ".{0,40}", max_bytes in 3..60_usize) {
        prop_assert!(cut(text, max_bytes).len() <= max_bytes);
    }

    #[test]
    fn what_is_escaped_as_slack_asks_is_shown_as_it_was(text in "[<>&|:@#!a-z;é\n ]{0,40}[a-z]") {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        prop_assert_eq!(plain(&escaped), text);
    }

    #[test]
    fn arbitrary_payloads_are_read_to_no_more_than_they_are(payload in payloads()) {
        prop_assert!(text_of(&payload).len() <= payload.to_string().len());
    }

    #[test]
    fn arbitrary_forms_never_panic(form in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = form_payload(&form).and_then(|json| parse(json.as_bytes()));
    }
}
