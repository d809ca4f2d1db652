//! Routes a request by its path, method and form.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts, uri::PathAndQuery};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{
    answer::{Refused, content, text},
    asset::ASSETS,
    entry::{enter, follow_link},
    events, forwarding, help, history_page, hook,
    origin::Site,
    page,
    query::Query,
    representation::{self, Representation},
    room,
    state::{HttpState, Scheme},
    upgrade,
};
use crate::{
    hub::{NameUse, Registration},
    metrics::{CONTENT_TYPE, OPEN_METRICS},
    net::tls::Tls,
    protocol::{format::Format, name::RoomName},
    session::SessionRequest,
};

/// The checks of a supervisor, exempt from rate limits and from the limits of
/// forwarded requests.
const PROBES: [&str; 2] = ["/-/health", "/-/ready"];

/// The metrics, exempt from rate limits.
const METRICS: &str = "/-/metrics";

/// The `OpenAPI` description of the HTTP interface.
const OPENAPI: &str = include_str!("openapi.json");

/// The result of routing a request.
pub(super) enum Answer {
    /// A complete response.
    Respond(Response<Full<Bytes>>),
    /// A response whose body is a room's lines.
    Lines(Response<room::LinesBody>),
    /// A response, and then WebSocket.
    Upgrade(Response<Full<Bytes>>, Box<SessionRequest>),
    /// A response head, and then events until the connection ends.
    Follow(Response<()>, Box<SessionRequest>),
}

/// Answers a request or refuses it.
///
/// # Errors
///
/// Fails with the status and the sentence of the refusal.
pub(super) async fn answer(
    head: &Parts,
    body: Incoming,
    registration: &Registration,
    state: &HttpState,
) -> Result<Answer, Refused> {
    let path = state.base_path.strip(head.uri.path());
    let is_probe = path.is_some_and(|path| PROBES.contains(&path));
    let told = forwarding::admit(head, registration, state.hub.proxies(), !is_probe)?;
    if !is_probe
        && path != Some(METRICS)
        && let Some(budget) = registration.budget()
    {
        budget.request()?;
    }
    let mut site = state.trust.check_host(head, &told)?;
    if matches!(state.scheme, Scheme::Https { .. }) {
        site.https = site.https.or(Some(true));
    }
    // The target was `*` or a host alone (RFC 9112 §3.2).
    if !head.uri.path().starts_with('/') {
        return Err(Refused::bad_request("The target of a request is a path."));
    }
    if let Scheme::ToHttps { port } = state.scheme {
        return Err(redirect(head, site.host.host(), port));
    }
    let path = path.ok_or_else(|| {
        let base = &state.base_path;
        let text = format!("There is nothing here: the URLs of this server begin with {base}.");
        Refused::new(StatusCode::NOT_FOUND, text)
    })?;
    if let Some(own) = path.strip_prefix("/-/") {
        if state.hub.is_by_invitation() && !is_open(own) {
            let mut query = Query::of(head)?;
            // An invitation is used by an upgrade or a POST.
            query.invitation = None;
            enter(&state.hub, registration, None, &mut query).await?;
        }
        if let Some(token) = own.strip_prefix(hook::PATH) {
            allow_only(head, &[Method::POST], "POST")?;
            let published = hook::publish(head, body, registration, state, token).await;
            return published.map(Answer::Respond);
        }
        let response = service(head, own, registration, state).await?;
        allow_only(head, &[Method::GET, Method::HEAD], "GET, HEAD")?;
        return Ok(Answer::Respond(response));
    }
    let room = RoomName::from_path(path)
        .map_err(|rule| Refused::new(StatusCode::NOT_FOUND, format!("No such room: {rule}.")))?;
    if upgrade::is_upgrade(head) {
        let (response, format, mut query) = upgrade::accept(head)?;
        state.trust.check_origin(head, &site)?;
        registration.check_ban(query.name.as_ref())?;
        let is_linked = follow_link(&state.hub, registration, &mut query)?;
        let proved = enter(&state.hub, registration, Some(&room), &mut query).await?;
        let base = site.url(head, &state.base_path);
        let request = SessionRequest {
            proved,
            is_linked,
            ..query.session_request(room, format, &base)
        };
        return Ok(Answer::Upgrade(response, Box::new(request)));
    }
    if state.trust.is_preflight(head) {
        return Ok(Answer::Respond(text(StatusCode::NO_CONTENT, String::new())));
    }
    allow_only(
        head,
        &[Method::GET, Method::HEAD, Method::POST],
        "GET, HEAD, POST",
    )?;
    let hub = &state.hub;
    if head.method == Method::POST {
        state.trust.check_origin(head, &site)?;
        let mut query = Query::of(head)?;
        registration.check_ban(query.name.as_ref())?;
        let proved = enter(hub, registration, Some(&room), &mut query).await?;
        return room::publish(head, body, registration, state, room, (query, proved))
            .await
            .map(Answer::Respond);
    }
    read(head, registration, state, &site, room).await
}

/// Answers a GET of a room, in the form that its sender prefers.
///
/// # Errors
///
/// As [`answer`].
async fn read(
    head: &Parts,
    registration: &Registration,
    state: &HttpState,
    site: &Site,
    room: RoomName,
) -> Result<Answer, Refused> {
    let hub = &state.hub;
    let form = representation::preferred(head)?;
    // The page ignores the query: an invalid one must not keep a visitor out. It
    // holds no message, so a ban does not either.
    let (mut query, proved) = if matches!(form, Representation::Page) {
        (Query::default(), None)
    } else {
        let mut query = Query::of(head)?;
        registration.check_ban(query.name.as_ref())?;
        // An invitation is used by an upgrade or a POST.
        query.invitation = None;
        let proved = enter(hub, registration, Some(&room), &mut query).await?;
        (query, proved)
    };
    let owner = proved.as_ref().and_then(NameUse::owner);
    let mut answer = match form {
        Representation::Page => {
            Answer::Respond(page::document(head, site, &state.base_path, &room))
        }
        Representation::Json => {
            Answer::Respond(history_page::json(hub, &room, owner, &query).await?)
        }
        Representation::Lines if query.is_for_a_page() => {
            Answer::Respond(history_page::lines(hub, &room, owner, &query).await?)
        }
        Representation::Lines => Answer::Lines(room::lines(hub, room, owner, &query).await?),
        Representation::Events => {
            let response = events::follow(head, &mut query)?;
            let base = site.url(head, &state.base_path);
            let request = SessionRequest {
                proved,
                ..query.session_request(room, Format::EventStream, &base)
            };
            if head.method == Method::HEAD {
                Answer::Respond(response.map(|()| Full::default()))
            } else {
                Answer::Follow(response, Box::new(request))
            }
        }
    };
    let headers = match &mut answer {
        Answer::Respond(response) | Answer::Upgrade(response, _) => response.headers_mut(),
        Answer::Lines(response) => response.headers_mut(),
        Answer::Follow(response, _) => response.headers_mut(),
    };
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    Ok(answer)
}

/// Returns a resource of the server itself, by its path below `/-/`.
///
/// # Errors
///
/// Fails with 404 for an unknown path, and with 503 if the server is not ready.
async fn service(
    head: &Parts,
    path: &str,
    registration: &Registration,
    state: &HttpState,
) -> Result<Response<Full<Bytes>>, Refused> {
    let not_found = |text: &str| Refused::new(StatusCode::NOT_FOUND, text);
    if let Some(name) = path.strip_prefix("help/") {
        let base = &state.base_path;
        let text = format!("There is no such document: {base}/-/help lists them all.");
        let document = state.help.document(head, name);
        return document.ok_or_else(|| not_found(&text));
    }
    if let Some(name) = path.strip_prefix(ASSETS) {
        return page::asset(head, name)
            .or_else(|| help::asset(head, name))
            .ok_or_else(|| not_found("There is nothing here."));
    }
    Ok(match path {
        "health" => text(StatusCode::OK, "ok\n".into()),
        "ready" if state.hub.is_ready() => text(StatusCode::OK, "ready\n".into()),
        "ready" => {
            let text =
                "The message store cannot be written just now, or the server is shutting down.";
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, text));
        }
        "metrics" if state.trust.may_read_metrics(registration) => metrics(head, state).await,
        "openapi.json" => {
            let own = format!(r#"{{ "url": "{}/" }}"#, state.base_path);
            let description = OPENAPI.replacen(r#"{ "url": "/" }"#, &own, 1);
            content(StatusCode::OK, "application/json", description)
        }
        "help" => state.help.index(head),
        "manifest.webmanifest" => page::manifest(),
        "worker.js" => page::worker(&state.base_path),
        _ => return Err(not_found("There is nothing here.")),
    })
}

/// The metrics, as `OpenMetrics` text if the client asks for that.
async fn metrics(head: &Parts, state: &HttpState) -> Response<Full<Bytes>> {
    let accepted = head.headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    let mut gauges = state.hub.gauges().await;
    let expiry = state.tls.as_ref().and_then(Tls::certificate_expiry);
    gauges.certificate_expiry = expiry.unwrap_or_default();
    let metrics = state.hub.metrics();
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        let text = metrics.open_metrics_text(gauges);
        content(StatusCode::OK, OPEN_METRICS, text)
    } else {
        content(StatusCode::OK, CONTENT_TYPE, metrics.text(gauges))
    }
}

/// Whether everybody may have a resource below `/-/`, also where only admitted
/// names take part.
fn is_open(path: &str) -> bool {
    matches!(
        path,
        "health" | "ready" | "metrics" | "help" | "manifest.webmanifest" | "worker.js"
    ) || path.starts_with("help/")
        || path.starts_with(hook::PATH)
        || path.starts_with(ASSETS)
}

/// Sends a client to the same URL in https.
fn redirect(head: &Parts, host: &str, port: u16) -> Refused {
    let port = match port {
        443 => String::new(),
        other => format!(":{other}"),
    };
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let url = format!("https://{host}{port}{path}");
    let refused = Refused::new(
        StatusCode::PERMANENT_REDIRECT,
        format!("This chat is at {url}"),
    );
    match HeaderValue::try_from(url) {
        Ok(url) => refused.with(header::LOCATION, url),
        Err(_) => Refused::bad_request("The target of a request is a path."),
    }
}

fn allow_only(head: &Parts, methods: &[Method], named: &'static str) -> Result<(), Refused> {
    if methods.contains(&head.method) {
        return Ok(());
    }
    let text = format!("This path does not accept {}, only {named}.", head.method);
    Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, text)
        .with(header::ALLOW, HeaderValue::from_static(named)))
}
