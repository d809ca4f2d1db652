//! The events of GitHub.

use serde_json::Value;

use super::fields::{Object, lines, object, objects, text};

/// How many commits of a push are listed.
const COMMITS: usize = 10;

/// An event in one line, and the commits or the words below it.
pub(super) fn read(event: &str, told: &Object) -> String {
    let inner = |field, inner| object(told, field).and_then(|found| text(found, inner));
    let repository = inner("repository", "full_name").unwrap_or("GitHub");
    let who = inner("sender", "login").unwrap_or("somebody");
    let action = text(told, "action").unwrap_or_default();
    let link = |field| inner(field, "html_url").map_or_else(String::new, |url| format!(" {url}"));
    let titled = |field| {
        let title = inner(field, "title").unwrap_or_default();
        format!("#{}: {title}", number(told, field))
    };
    let mut below = Vec::new();
    let said = match event {
        "ping" => format!(
            "{who} connected GitHub: {}",
            text(told, "zen").unwrap_or_default()
        ),
        "push" => {
            let commits = told.get("commits").and_then(Value::as_array);
            let count = commits.map_or(0, Vec::len);
            let plural = if count == 1 { "" } else { "s" };
            let branch = text(told, "ref").unwrap_or_default();
            let branch = branch
                .rsplit_once("refs/heads/")
                .map_or(branch, |(_, name)| name);
            below.extend(objects(told, "commits").take(COMMITS).map(commit));
            let compare = text(told, "compare").unwrap_or_default();
            format!("{who} pushed {count} commit{plural} to {branch} {compare}")
        }
        "pull_request" => {
            let merged = object(told, "pull_request").and_then(|pull| pull.get("merged"));
            let is_merge = action == "closed" && merged == Some(&Value::Bool(true));
            let action = if is_merge { "merged" } else { action };
            let (title, link) = (titled("pull_request"), link("pull_request"));
            format!("{who} {action} pull request {title}{link}")
        }
        "issues" => format!("{who} {action} issue {}{}", titled("issue"), link("issue")),
        "issue_comment" if action == "created" => {
            below.push(inner("comment", "body").unwrap_or_default().to_owned());
            format!("{who} commented on {}{}", titled("issue"), link("comment"))
        }
        "release" => {
            let tag = inner("release", "tag_name").unwrap_or_default();
            format!("{who} {action} release {tag}{}", link("release"))
        }
        "workflow_run" => {
            let part = |field| inner("workflow_run", field).unwrap_or_default();
            let state = inner("workflow_run", "conclusion").unwrap_or(action);
            let (name, branch) = (part("name"), part("head_branch"));
            format!("{name} on {branch}: {state}{}", link("workflow_run"))
        }
        other => format!("{who}: {other} {action}"),
    };
    let first = format!("[{repository}] {said}");
    lines([first].into_iter().chain(below).map(Some))
}

fn number(told: &Object, field: &str) -> u64 {
    let number = object(told, field).and_then(|found| found.get("number")?.as_u64());
    number.unwrap_or_default()
}

fn commit(commit: &Object) -> String {
    let id = text(commit, "id").unwrap_or_default();
    let first = text(commit, "message").and_then(|message| message.lines().next());
    let author = object(commit, "author").and_then(|author| text(author, "name"));
    let id: String = id.chars().take(7).collect();
    format!(
        "{id} {} ({})",
        first.unwrap_or_default(),
        author.unwrap_or("somebody")
    )
}
