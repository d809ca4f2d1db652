//! Hooks: a program that knows a URL publishes what it posts there.

use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};
use http_body_util::Full;
use hyper::body::Body;
use tracing::info;

use super::{
    answer::{Refused, text},
    posted::{self, Form},
    room::store_in_any_case,
    state::HttpState,
};
use crate::{
    hub::{Registration, Reply},
    log::Draft,
    protocol::{Author, MessageKind, RefusalCode, token::Token},
};

/// The path of a hook, before its token.
pub(super) const PATH: &str = "hook/";

/// Publishes the body as a message of a hook; responds once it is stored.
///
/// The answer is `ok`: Alertmanager and others take anything else for a failure.
///
/// # Errors
///
/// Fails with 404 for a wrong token. Fails with another status if the request is
/// invalid or the message is refused.
pub(super) async fn publish<B>(
    head: &Parts,
    body: B,
    registration: &Registration,
    state: &HttpState,
    token: &str,
) -> Result<Response<Full<Bytes>>, Refused>
where
    B: Body<Data = Bytes>,
{
    registration.check_ban(None)?;
    let peer = registration.peer();
    let found = state.hub.find_hook(&Token::given(token), peer).await;
    let hook = found.map_err(|refusal| match refusal.code {
        RefusalCode::NotHere => Refused::new(StatusCode::NOT_FOUND, refusal.text),
        _ => refusal.into(),
    })?;
    registration.check_ban(Some(&hook.name))?;
    registration.check_mute(Some(&hook.name))?;
    let form = Form::of_hook(head)?;
    let posted = posted::take(head, body, form, registration, state, &hook.room).await?;
    if let Some(budget) = registration.budget() {
        budget.store(1, posted.text.len())?;
    }
    let draft = Draft {
        mentions: state.hub.mentioned(&posted.text),
        from: Author {
            name: Some(hook.name),
            addr: peer.tag(),
            owner: Some(hook.owner),
        },
        text: posted.text,
        room: hook.room,
        id: posted.id,
        follows: None,
        kind: MessageKind::Said,
        to: None,
        about: None,
    };
    info!(target: "chat::message", "From hook {peer} {:?}", &*draft.text);
    match store_in_any_case(state, peer.id, draft).await? {
        Reply::Stored { .. } => Ok(text(StatusCode::OK, "ok".to_owned())),
        Reply::Refused(refusal) => Err(refusal.into()),
    }
}
