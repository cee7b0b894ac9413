//! The other end of a dialog, made of text.

use std::net::IpAddr;
use std::time::Duration;

use sip_events::wire::HeaderName;
use sip_events::{Answer, Event, Flow, Io};

use crate::kit::{Kit, Request, Sent, addr, peer};

/// A NOTIFY in the dialog that `subscribe` asked for, from the notifier with
/// the tag `theirs`.
pub fn notify(subscribe: &Sent, cseq: u32, state: &str, more: &str) -> Vec<u8> {
    let tag = subscribe.field(HeaderName::From).split("tag=").nth(1).unwrap().to_owned();
    format!(
        "NOTIFY sip:me@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bKn{cseq}{tag}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bob@198.51.100.7>;tag=theirs\r\nTo: <sip:me@192.0.2.1>;tag={tag}\r\n\
         Call-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nContact: <sip:bob@198.51.100.7:5080>\r\nEvent: presence\r\n\
         Subscription-State: {state}\r\n{more}Content-Length: 0\r\n\r\n",
        subscribe.field(HeaderName::CallId),
    )
    .into_bytes()
}

/// Answers the first SUBSCRIBE and sends the NOTIFY that makes the dialog.
pub fn establish(kit: &mut Kit, subscribe: &Sent, more: &str) {
    establish_on(kit, peer(), subscribe, more);
}

pub fn establish_on(kit: &mut Kit, flow: Flow, subscribe: &Sent, more: &str) {
    kit.feed(flow, subscribe.answer("200 OK", "Expires: 600\r\nContact: <sip:bob@198.51.100.7:5080>\r\n"));
    let sent = kit.feed(flow, notify(subscribe, 1, "active;expires=600", more));
    assert_eq!(sent.last().unwrap().status(), 200);
}

/// Has a watcher, and the NOTIFY that it got.
pub fn watched(kit: &mut Kit, request: &Request, flow: Flow) -> Sent {
    kit.feed(flow, request.bytes());
    let mut sent = kit.accept_all();
    assert_eq!(sent.len(), 2, "{sent:?}");
    sent.pop().unwrap()
}

/// Answers every question for a name with the addresses of `servers`.
pub fn resolve(kit: &mut Kit, servers: &[&str]) -> Vec<Sent> {
    let servers: Vec<IpAddr> = servers.iter().map(|server| addr(server).ip()).collect();
    let mut sent = Vec::new();
    for io in kit.io() {
        if let Io::Resolve { query, .. } = io {
            let answer = Answer::Addresses { addresses: &servers, ttl: Duration::from_secs(86_400) };
            kit.endpoint.handle_resolved(kit.now, query, answer).unwrap();
            sent.extend(kit.drain());
        }
    }
    sent
}

pub fn line(sent: &Sent) -> &str {
    std::str::from_utf8(sent.bytes.split(|b| *b == b'\r').next().unwrap()).unwrap()
}

/// What was told since the last call, the driver's business aside.
pub fn told(kit: &mut Kit) -> Vec<Event> {
    std::mem::take(&mut kit.events).into_iter().filter(|event| !matches!(event, Event::Io(_))).collect()
}
