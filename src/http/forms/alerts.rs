//! The notifications of Alertmanager and Grafana.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{self, Context};

use super::fields::{Object, lines, object, objects, text};
use crate::protocol::name::MessageId;

/// Alerts, each on a line: status, name, summary and link. The id is a digest,
/// so that a notification that was sent again is stored once.
pub(super) fn read(notification: &Object) -> Option<(String, Option<MessageId>)> {
    let mut digest = Context::new(&digest::SHA256);
    let alerts = objects(notification, "alerts").map(|alert| {
        let line = line(alert);
        let facts = ["fingerprint", "status", "startsAt"].map(|field| text(alert, field));
        for part in facts.into_iter().chain([Some(&*line)]) {
            let part = part.unwrap_or_default();
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Some(line)
    });
    let text = lines(alerts);
    let id = URL_SAFE_NO_PAD.encode(&digest.finish().as_ref()[..16]);
    let id = format!("alert-{id}").parse().ok();
    (!text.is_empty()).then_some((text, id))
}

fn line(alert: &Object) -> String {
    let status = text(alert, "status").unwrap_or("alert").to_uppercase();
    let name = object(alert, "labels").and_then(|labels| text(labels, "alertname"));
    let annotations = object(alert, "annotations");
    let summary = annotations.and_then(|annotations| {
        ["summary", "description", "message"]
            .iter()
            .find_map(|field| text(annotations, field))
    });
    let summary = summary.map_or_else(String::new, |summary| {
        format!(
            ": {}",
            summary.split_whitespace().collect::<Vec<_>>().join(" ")
        )
    });
    let link = ["generatorURL", "panelURL", "dashboardURL"]
        .iter()
        .find_map(|field| text(alert, field));
    let link = link.map_or_else(String::new, |link| format!(" {link}"));
    format!("{status} {}{summary}{link}", name.unwrap_or("alert"))
}

/// A notification of Grafana's earlier alerting.
pub(super) fn legacy(notification: &Object) -> Option<String> {
    let title = text(notification, "title").or_else(|| text(notification, "ruleName"))?;
    let parts = ["message", "ruleUrl"].map(|field| text(notification, field));
    Some(lines([Some(title)].into_iter().chain(parts)))
}
