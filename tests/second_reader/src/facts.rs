//! What both readers say of a message.

use rsip::SipMessage;
use rsip::headers::{ToTypedHeader, UntypedHeader};
use rsip::message::{HasHeaders, HeadersExt};
use sip_events::wire::{HeaderName, Message, read};

/// The second reader, which must not take the program down.
pub fn second(bytes: &[u8]) -> Option<SipMessage> {
    std::panic::catch_unwind(|| SipMessage::try_from(bytes).ok()).unwrap_or(None)
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn trimmed(value: &str) -> Option<String> {
    Some(value.trim_matches([' ', '\t', '\r', '\n']).to_owned())
}

/// The first fact in which they differ, of messages that both accept.
pub fn difference(ours: &Message<'_>, theirs: &SipMessage) -> Option<(&'static str, String)> {
    let mut facts: Vec<(&'static str, Option<String>, Option<String>)> = Vec::new();
    match theirs {
        SipMessage::Request(request) => {
            let method = ours.method().map(|method| method.to_string());
            facts.push(("method", method, Some(request.method.to_string())));
        }
        SipMessage::Response(response) => {
            let code = response.status_code.code().to_string();
            facts.push(("status", ours.status().map(|status| status.as_u16().to_string()), Some(code)));
        }
    }
    facts.push(("lines", Some(ours.fields().count().to_string()), Some(theirs.headers().iter().count().to_string())));
    facts.push(("body", text(Some(ours.body())), text(Some(theirs.body()))));
    let named = |name: HeaderName<'_>| text(ours.field(name, 0));
    if let Ok(call_id) = theirs.call_id_header() {
        facts.push(("call-id", named(HeaderName::CallId), trimmed(call_id.value())));
    }
    if let Ok(cseq) = theirs.cseq_header().and_then(|cseq| cseq.clone().typed()) {
        let own = read::cseq(ours).ok();
        facts.push(("cseq", own.map(|cseq| cseq.number.to_string()), Some(cseq.seq.to_string())));
    }
    if let Ok(from) = theirs.from_header().and_then(|from| from.clone().typed()) {
        let own = read::from(ours).ok();
        facts.push(("from-tag", text(own.and_then(|from| from.tag())), from.tag().map(|tag| tag.value().to_owned())));
    }
    if let Ok(to) = theirs.to_header().and_then(|to| to.clone().typed()) {
        let own = read::to(ours).ok();
        facts.push(("to-tag", text(own.and_then(|to| to.tag())), to.tag().map(|tag| tag.value().to_owned())));
    }
    if let Ok(via) = theirs.via_header().and_then(|via| via.clone().typed()) {
        let own = read::top_via(ours).ok();
        let branch = via.branch().map(|branch| branch.value().to_owned());
        facts.push(("branch", text(own.and_then(|via| via.branch())), branch));
    }
    facts
        .into_iter()
        .find(|(_, ours, theirs)| ours != theirs)
        .map(|(name, ours, theirs)| (name, format!("{ours:?}, there {theirs:?}")))
}
