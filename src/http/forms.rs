//! Reads what other programs post as JSON: incoming webhooks as for Slack and
//! Discord, and notifications of Alertmanager, Grafana and GitHub.

mod alerts;
mod fields;
mod github;
mod slack;

use http::StatusCode;
use serde_json::Value;

use self::fields::{Object, lines, objects, text};
use super::answer::Refused;
use crate::protocol::name::MessageId;

/// The message in a posted object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    /// The id that the same notification always has, if it has any.
    pub(super) id: Option<MessageId>,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Said { text, id: None }
    }
}

impl Said {
    /// Cuts the text to a number of bytes, with `…` at its end.
    pub(super) fn cut(&mut self, limit: usize) {
        const MARK: &str = "…";
        if self.text.len() > limit {
            let mut end = limit.saturating_sub(MARK.len());
            while !self.text.is_char_boundary(end) {
                end -= 1;
            }
            self.text.truncate(end);
            self.text.push_str(MARK);
        }
    }
}

/// Reads an object. `event` is the name that GitHub gives its event.
///
/// # Errors
///
/// Fails with 400 if the body is no JSON object, and with 422 if the object has
/// no known form.
pub(super) fn read(body: &[u8], event: Option<&str>) -> Result<Said, Refused> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return Err(Refused::bad_request("The body is not a JSON object."));
    };
    let said = match event {
        Some(event) => Some(github::read(event, &object).into()),
        None if object.contains_key("alerts") => {
            alerts::read(&object).map(|(text, id)| Said { text, id })
        }
        None => slack::read(&object)
            .or_else(|| discord(&object))
            .or_else(|| alerts::legacy(&object))
            .map(Said::from),
    };
    said.filter(|said| !said.text.trim().is_empty())
        .ok_or_else(|| {
            let text = "The object has none of these fields: \"text\", \"attachments\" or \
                        \"blocks\" (Slack), \"content\" or \"embeds\" (Discord), \"alerts\" \
                        (Alertmanager, Grafana). An event of GitHub needs its header \
                        X-GitHub-Event.";
            Refused::new(StatusCode::UNPROCESSABLE_ENTITY, text)
        })
}

/// A message as for Discord.
fn discord(message: &Object) -> Option<String> {
    let embeds = objects(message, "embeds").flat_map(|embed| {
        let fields = objects(embed, "fields").map(slack::field);
        let parts = ["title", "url", "description"].map(|field| text(embed, field));
        let parts = parts.into_iter().map(|part| part.map(str::to_owned));
        parts.chain(fields)
    });
    let content = text(message, "content").map(str::to_owned);
    let said = lines([content].into_iter().chain(embeds));
    (!said.is_empty()).then_some(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(object: &Value) -> String {
        let said = read(object.to_string().as_bytes(), None);
        said.expect("a known form").text
    }

    #[test]
    fn slack_and_discord_are_read() {
        for (object, text) in [
            (json!({"text": "hi\nall", "channel": "#x"}), "hi\nall"),
            (
                json!({"text": "<https://a.example|Build &lt;7&gt;> by <@U1> &amp; <!here>, see <https://b.example>"}),
                "Build <7> (https://a.example) by @U1 & @here, see https://b.example",
            ),
            (
                json!({"attachments": [
                    {"pretext": "Deployed", "title": "web", "title_link": "https://a.example",
                     "text": "all green", "fields": [{"title": "took", "value": "7 s"}, {"value": "ok"}],
                     "fallback": "not shown"},
                    {"fallback": "shown"},
                ]}),
                "Deployed\nweb (https://a.example)\nall green\ntook: 7 s\nok\nshown",
            ),
            (
                json!({"text": "short form", "blocks": [
                    {"type": "header", "text": {"type": "plain_text", "text": "Title"}},
                    {"type": "section", "text": {"type": "mrkdwn", "text": "*all* green"},
                     "fields": [{"type": "mrkdwn", "text": "a: 1"}]},
                    {"type": "context", "elements": [{"type": "mrkdwn", "text": "by ci"}]},
                    {"type": "divider"},
                ]}),
                "Title\n*all* green\na: 1\nby ci",
            ),
            (json!({"content": "hi", "username": "ci"}), "hi"),
            (
                json!({"embeds": [{"title": "web", "url": "https://a.example", "description": "is up",
                    "fields": [{"name": "took", "value": "7 s"}]}]}),
                "web\nhttps://a.example\nis up\ntook: 7 s",
            ),
        ] {
            assert_eq!(said(&object), text, "{object}");
        }
    }

    fn alert(status: &str, summary: &str) -> Value {
        json!({
            "status": status, "fingerprint": "c0ffee", "startsAt": "2026-11-30T10:00:00Z",
            "labels": {"alertname": "DiskFull", "severity": "page"},
            "annotations": {"summary": summary}, "generatorURL": "http://prom.example/g",
        })
    }

    #[test]
    fn an_alert_is_a_line_and_has_one_id() {
        let of = |alerts: &[Value]| {
            let object = json!({"version": "4", "status": "firing", "alerts": alerts});
            read(object.to_string().as_bytes(), None).expect("alerts")
        };
        let firing = of(&[alert("firing", "/ is full"), alert("resolved", "")]);
        assert_eq!(
            firing.text,
            "FIRING DiskFull: / is full http://prom.example/g\nRESOLVED DiskFull http://prom.example/g"
        );
        let again = of(&[alert("firing", "/ is full"), alert("resolved", "")]);
        assert_eq!(firing, again);
        for other in [
            of(&[alert("firing", "/ is full")]),
            of(&[alert("firing", "/var is full"), alert("resolved", "")]),
        ] {
            assert_ne!(firing.id, other.id);
        }
        assert!(firing.id.is_some());
    }

    #[test]
    fn grafana_is_read_in_both_forms() {
        let unified =
            json!({"title": "[FIRING:1] x", "message": "long", "alerts": [alert("firing", "x")]});
        assert_eq!(said(&unified), "FIRING DiskFull: x http://prom.example/g");
        let legacy = json!({"title": "[Alerting] cpu", "state": "alerting", "message": "hot",
            "ruleUrl": "http://grafana.example/d", "evalMatches": []});
        assert_eq!(
            said(&legacy),
            "[Alerting] cpu\nhot\nhttp://grafana.example/d"
        );
    }

    #[test]
    fn events_of_github_are_read() {
        let base = json!({"repository": {"full_name": "a/b"}, "sender": {"login": "ana"}});
        let of = |event: &str, more: Value| {
            let mut object = base.as_object().expect("an object").clone();
            object.extend(more.as_object().expect("an object").clone());
            let body = Value::Object(object).to_string();
            read(body.as_bytes(), Some(event)).map(|said| said.text)
        };
        for (event, more, text) in [
            (
                "ping",
                json!({"zen": "Keep it."}),
                "[a/b] ana connected GitHub: Keep it.",
            ),
            (
                "push",
                json!({"ref": "refs/heads/main", "compare": "https://g.example/c", "commits": [
                    {"id": "0123456789abcdef", "message": "Fix it\n\nlong", "author": {"name": "Ana"}},
                ]}),
                "[a/b] ana pushed 1 commit to main https://g.example/c\n0123456 Fix it (Ana)",
            ),
            (
                "pull_request",
                json!({"action": "closed", "pull_request": {"number": 7, "title": "Fix", "merged": true, "html_url": "https://g.example/7"}}),
                "[a/b] ana merged pull request #7: Fix https://g.example/7",
            ),
            (
                "issues",
                json!({"action": "opened", "issue": {"number": 8, "title": "Broken", "html_url": "https://g.example/8"}}),
                "[a/b] ana opened issue #8: Broken https://g.example/8",
            ),
            (
                "issue_comment",
                json!({"action": "created", "issue": {"number": 8, "title": "Broken"}, "comment": {"body": "why?", "html_url": "https://g.example/c"}}),
                "[a/b] ana commented on #8: Broken https://g.example/c\nwhy?",
            ),
            (
                "release",
                json!({"action": "published", "release": {"tag_name": "v1", "name": "One", "html_url": "https://g.example/r"}}),
                "[a/b] ana published release v1 https://g.example/r",
            ),
            (
                "workflow_run",
                json!({"action": "completed", "workflow_run": {"name": "CI", "conclusion": "failure", "head_branch": "main", "html_url": "https://g.example/w"}}),
                "[a/b] CI on main: failure https://g.example/w",
            ),
            (
                "star",
                json!({"action": "created"}),
                "[a/b] ana: star created",
            ),
        ] {
            assert_eq!(of(event, more).expect(event), text);
        }
    }

    #[test]
    fn other_bodies_are_refused() {
        for (body, status) in [
            ("", 400),
            ("[]", 400),
            ("{", 400),
            ("{}", 422),
            (r#"{"text":""}"#, 422),
            (r#"{"text":7,"blocks":{},"attachments":[7]}"#, 422),
            (r#"{"alerts":[]}"#, 422),
        ] {
            let refused = read(body.as_bytes(), None).expect_err(body);
            assert_eq!(refused.status, status, "{body}: {}", refused.text);
        }
        let deep = "[".repeat(100_000);
        assert!(read(format!("{{\"text\":{deep}").as_bytes(), None).is_err());
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let mut said = Said::from("aé".repeat(10));
        said.cut(9);
        assert_eq!(said.text, "aéaé…");
        said.cut(9);
        assert_eq!(said.text, "aéaé…");
    }
}
