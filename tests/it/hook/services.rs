//! What services send to Slack, in the shapes that they document.

use serde_json::{Value, json};

use super::{assert_ok, form, hook};
use crate::common::{Server, ask, encode, retained};

/// Sends what a service sends, and compares the name and the text of the message.
async fn assert_shown(payload: Value, name: &str, text: &str) {
    let server = Server::start().await;
    let address = server.address();
    let in_form = form(
        "/chat/ops/hook",
        &format!("payload={}", encode(&payload.to_string())),
    );
    for request in [hook("/chat/ops/hook", &payload), in_form] {
        assert_ok(&ask(address, request).await);
    }
    for message in retained(address, "ops").await {
        assert_eq!(message["name"], name);
        assert_eq!(message["text"].as_str(), Some(text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana() {
    let payload = json!({
        "channel": "#alerts",
        "username": "Grafana",
        "icon_emoji": ":chart:",
        "attachments": [{
            "pretext": "<!channel|channel> <!subteam^S012|ops> <@U024BE7LH>",
            "title": "[FIRING:1] HighLoad (web)",
            "title_link": "http://grafana.example/alerting/list",
            "text": "**Firing**\n\nValue: B=22, C=1\nLabels:\n - alertname = HighLoad\n",
            "fallback": "[FIRING:1] HighLoad (web)",
            "fields": [],
            "footer": "Grafana v11.2.0",
            "footer_icon": "https://grafana.com/static/assets/img/fav32.png",
            "color": "#D63232",
            "mrkdwn_in": ["pretext"],
            "ts": 1_700_000_000
        }],
        "blocks": []
    });
    let text = "@channel @ops @U024BE7LH\n\
        [FIRING:1] HighLoad (web) <http://grafana.example/alerting/list>\n\
        **Firing**\n\nValue: B=22, C=1\nLabels:\n - alertname = HighLoad";
    assert_shown(payload, "Grafana", text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager() {
    let payload = json!({
        "channel": "#ops",
        "username": "Alertmanager",
        "attachments": [{
            "title": "[FIRING:2] InstanceDown (node)",
            "title_link": "http://am.example/#/alerts?receiver=ops",
            "pretext": "",
            "text": "",
            "fallback": "[FIRING:2] InstanceDown (node) | http://am.example/#/alerts?receiver=ops",
            "callback_id": "",
            "fields": [
                {"title": "Severity", "value": "critical", "short": true},
                {"title": "Summary", "value": "db1 &amp; db2 are down", "short": false}
            ],
            "actions": [
                {"type": "button", "text": "Runbook", "url": "https://runbooks.example/InstanceDown", "style": "", "name": "", "value": ""},
                {"type": "button", "text": "Ack", "url": "", "name": "ack", "value": "ack"}
            ],
            "footer": "",
            "color": "danger",
            "mrkdwn_in": ["fallback", "pretext", "text"]
        }]
    });
    let text = "[FIRING:2] InstanceDown (node) <http://am.example/#/alerts?receiver=ops>\n\
        Severity: critical\n\
        Summary: db1 & db2 are down\n\
        Runbook <https://runbooks.example/InstanceDown>";
    assert_shown(payload, "Alertmanager", text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uptime_kuma() {
    let said = "[Shop] [🔴 Down] connect ECONNREFUSED 10.0.0.7:443";
    let payload = json!({
        "text": format!("Uptime Kuma Alert\n{said}"),
        "channel": "",
        "username": "Uptime Kuma",
        "icon_emoji": ":bear:",
        "attachments": [{
            "color": "#e01e5a",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "Uptime Kuma Alert"}},
                {"type": "section", "fields": [
                    {"type": "mrkdwn", "text": format!("*Message*\n{said}")},
                    {"type": "mrkdwn", "text": "*Time (UTC)*\n2024-05-01 10:00:00"}
                ]},
                {"type": "actions", "elements": [{
                    "type": "button",
                    "text": {"type": "plain_text", "text": "Visit Uptime Kuma"},
                    "value": "Uptime-Kuma",
                    "url": "https://status.example/dashboard/7"
                }]}
            ]
        }]
    });
    let text = format!(
        "Uptime Kuma Alert\n{said}\nUptime Kuma Alert\n*Message*\n{said}\n\
        *Time (UTC)*\n2024-05-01 10:00:00\nVisit Uptime Kuma <https://status.example/dashboard/7>"
    );
    assert_shown(payload, "Uptime Kuma", &text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gitea() {
    let payload = json!({
        "channel": "#dev",
        "text": "[<https://git.example/ann/site|ann/site>:<https://git.example/ann/site/src/branch/main|main>] <https://git.example/ann/site/compare/1a...2b|2 new commits> pushed by ann",
        "username": "gitea",
        "icon_url": "https://git.example/img/favicon.png",
        "unfurl_links": 0,
        "link_names": 0,
        "attachments": [{
            "fallback": "",
            "color": "#ddd",
            "title": "https://git.example/ann/site",
            "title_link": "https://git.example/ann/site",
            "text": "<https://git.example/ann/site/commit/1a2b3c4|1a2b3c4>: Vec&lt;T&gt; &amp; more - ann\n<https://git.example/ann/site/commit/5d6e7f8|5d6e7f8>: A test - bob"
        }]
    });
    let text = "[ann/site <https://git.example/ann/site>:main <https://git.example/ann/site/src/branch/main>] \
        2 new commits <https://git.example/ann/site/compare/1a...2b> pushed by ann\n\
        <https://git.example/ann/site>\n\
        1a2b3c4 <https://git.example/ann/site/commit/1a2b3c4>: Vec<T> & more - ann\n\
        5d6e7f8 <https://git.example/ann/site/commit/5d6e7f8>: A test - bob";
    assert_shown(payload, "gitea", text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_of_github() {
    let payload = json!({
        "attachments": [{
            "author_icon": "https://avatars.example/u/1",
            "author_link": "https://github.com/ann",
            "author_name": "ann",
            "color": "#36a64f",
            "fallback": "[acme/site] Issue opened by ann",
            "fields": [
                {"title": "Assignees", "value": "ann", "short": true},
                {"title": "Labels", "value": "bug, question", "short": true}
            ],
            "footer": "<https://github.com/acme/site|acme/site>",
            "footer_icon": "https://github.githubassets.com/favicon.ico",
            "mrkdwn_in": ["text"],
            "pretext": "Issue opened by ann",
            "text": "It does not have *any* content, see <https://github.com/acme/site/issues/1|#1>.",
            "title": "#2 Needs content",
            "title_link": "https://github.com/acme/site/issues/2",
            "ts": 1_508_171_038
        }]
    });
    let text = "Issue opened by ann\n\
        #2 Needs content <https://github.com/acme/site/issues/2>\n\
        It does not have *any* content, see #1 <https://github.com/acme/site/issues/1>.\n\
        Assignees: ann\n\
        Labels: bug, question";
    assert_shown(payload, "hook", text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentry_with_attachments() {
    let payload = json!({
        "username": "Sentry",
        "attachments": [{
            "fallback": "[Acme / site] ValueError: bad",
            "title": "ValueError: bad",
            "title_link": "https://sentry.example/acme/site/issues/7/?referrer=slack",
            "color": "#f43f20",
            "fields": [
                {"title": "Culprit", "value": "shop.views in cart", "short": false},
                {"title": "Triggered By", "value": "<https://sentry.example/rules/1/ | All errors>, <https://sentry.example/rules/2/ | New>", "short": false}
            ]
        }]
    });
    let text = "ValueError: bad <https://sentry.example/acme/site/issues/7/?referrer=slack>\n\
        Culprit: shop.views in cart\n\
        Triggered By: All errors <https://sentry.example/rules/1/>, New <https://sentry.example/rules/2/>";
    assert_shown(payload, "Sentry", text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentry_with_blocks() {
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let context =
        |text: &str| json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text}]});
    let payload = json!({
        "text": "[site] &lt;unlabeled event&gt;",
        "blocks": [
            section(":red_circle: <https://sentry.example/issues/7/?referrer=slack&amp;x=1|*&lt;unlabeled event&gt;*>"),
            context("shop.views in cart"),
            section("```bad```"),
            section("foo: `bar`  "),
            context("State: *New*   First Seen: *10 minutes ago*"),
            {"type": "actions", "elements": [
                {"type": "button", "action_id": "resolve", "text": {"type": "plain_text", "text": "Resolve"}, "value": "resolve_dialog"},
                {"type": "external_select", "placeholder": {"type": "plain_text", "text": "Select Assignee...", "emoji": true}, "action_id": "assign"}
            ]},
            context("Project: <https://sentry.example/issues/?project=1|site>    Short ID: SITE-7 | <!date^1700000000^{date_pretty} at {time} | Sentry Issue>"),
            {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [
                {"type": "emoji", "name": "bell"},
                {"type": "text", "text": "Open "},
                {"type": "link", "url": "https://sentry.example/issues/7/", "text": "the issue", "style": {"bold": true}}
            ]}]},
            {"type": "divider"}
        ]
    });
    let text = "[site] <unlabeled event>\n\
        :red_circle: *<unlabeled event>* <https://sentry.example/issues/7/?referrer=slack&x=1>\n\
        shop.views in cart\n\
        ```bad```\n\
        foo: `bar`\n\
        State: *New*   First Seen: *10 minutes ago*\n\
        Project: site <https://sentry.example/issues/?project=1>    Short ID: SITE-7 | Sentry Issue\n\
        Open the issue <https://sentry.example/issues/7/>";
    assert_shown(payload, "hook", text).await;
}
