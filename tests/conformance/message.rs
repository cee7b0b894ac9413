//! Messages as text: those that the scripted peer sends, and those that it
//! gets and answers.

use sip_events::Flow;
use sip_events::wire::{HeaderName, Message};

use crate::harness::{BOB, PEER, PEER_URI};

/// A message to be sent to the endpoint: lines that may be replaced, added and
/// removed before it is written.
#[derive(Debug, Clone)]
pub struct Text {
    pub start: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Text {
    pub fn new(start: impl Into<String>) -> Self {
        Self { start: start.into(), fields: Vec::new(), body: Vec::new() }
    }

    /// Adds a line behind the others.
    pub fn add(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces all lines of that name by this one, or adds it.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let at = self.fields.iter().position(|(n, _)| n.eq_ignore_ascii_case(name));
        match at {
            Some(at) => {
                self.fields[at].1 = value;
                let mut seen = false;
                self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name) || !std::mem::replace(&mut seen, true));
                self
            }
            None => self.add(name, value),
        }
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces the start line.
    pub fn line(mut self, start: impl Into<String>) -> Self {
        self.start = start.into();
        self
    }

    /// Another request of the same sender: a new branch in the top Via.
    pub fn branch(self, branch: &str) -> Self {
        self.set("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}"))
    }

    pub fn cseq(self, number: u32) -> Self {
        let method = self.start.split(' ').next().unwrap_or_default().to_owned();
        self.branch(&format!("{method}{number}")).set("CSeq", format!("{number} {method}"))
    }

    pub fn body(mut self, content_type: &str, data: impl Into<Vec<u8>>) -> Self {
        self.body = data.into();
        self.set("Content-Type", content_type)
    }

    pub fn get(&self, name: &str) -> &str {
        &self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).unwrap().1
    }

    /// As it travels; Content-Length is added unless it stands there already.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{}\r\n", self.start);
        for (name, value) in &self.fields {
            out += &format!("{name}: {value}\r\n");
        }
        if !self.fields.iter().any(|(n, _)| n.eq_ignore_ascii_case("Content-Length") || n == "l") {
            out += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let mut out = (out + "\r\n").into_bytes();
        out.extend_from_slice(&self.body);
        out
    }
}

impl From<Text> for Vec<u8> {
    fn from(text: Text) -> Self {
        text.bytes()
    }
}

impl From<&Text> for Vec<u8> {
    fn from(text: &Text) -> Self {
        text.bytes()
    }
}

/// A message that the endpoint sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    pub flow: Flow,
    pub bytes: Vec<u8>,
}

impl Out {
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn start(&self) -> String {
        self.text().lines().next().unwrap().to_owned()
    }

    pub fn is(&self, method: &str) -> bool {
        self.bytes.starts_with(format!("{method} ").as_bytes())
    }

    /// The status of a response; panics on a request.
    pub fn status(&self) -> u16 {
        self.message().status().unwrap_or_else(|| panic!("not a response: {}", self.start())).as_u16()
    }

    pub fn is_response(&self) -> bool {
        self.message().status().is_some()
    }

    /// The Request-URI.
    pub fn uri(&self) -> String {
        self.start().split(' ').nth(1).unwrap().to_owned()
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        let message = self.message();
        let line = |nth| message.field(HeaderName::from_bytes(name.as_bytes()), nth);
        (0..).map_while(line).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The one line of that name.
    pub fn get(&self, name: &str) -> String {
        let mut all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {}", self.text());
        all.remove(0)
    }

    pub fn tag(&self, name: &str) -> Option<String> {
        Some(self.get(name).split_once(";tag=")?.1.split(';').next()?.to_owned())
    }

    pub fn cseq(&self) -> u32 {
        self.get("CSeq").split(' ').next().unwrap().parse().unwrap()
    }

    pub fn branch(&self) -> String {
        self.get("Via").split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned()
    }

    /// The URI in Contact.
    pub fn contact(&self) -> String {
        self.get("Contact").trim_start_matches('<').split('>').next().unwrap().to_owned()
    }

    /// The state in Subscription-State.
    pub fn substate(&self) -> String {
        self.get("Subscription-State").split(';').next().unwrap().to_owned()
    }

    /// A parameter of Subscription-State.
    pub fn state_param(&self, name: &str) -> Option<String> {
        let value = self.get("Subscription-State");
        let mut params = value.split(';').skip(1).filter_map(|p| p.split_once('='));
        params.find(|(n, _)| *n == name).map(|(_, v)| v.to_owned())
    }

    pub fn body(&self) -> Vec<u8> {
        self.message().body().to_vec()
    }

    /// A response to this request, such as its server would send; `To` gets
    /// the tag `theirs` if it has none.
    pub fn answer(&self, status: &str) -> Text {
        self.answer_as(status, "theirs")
    }

    /// The same with another tag: another fork's answer.
    pub fn answer_as(&self, status: &str, tag: &str) -> Text {
        let mut text = Text::new(format!("SIP/2.0 {status}"));
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let tagless = name == "To" && self.tag("To").is_none() && !status.starts_with("100");
            text = text.add(name, if tagless { format!("{};tag={tag}", self.get(name)) } else { self.get(name) });
        }
        text
    }

    /// The 2xx of a notifier to this SUBSCRIBE.
    pub fn accepted(&self, expires: u32) -> Text {
        self.answer("200 OK").add("Contact", format!("<{PEER_URI}>")).add("Expires", expires.to_string())
    }

    /// A NOTIFY of the notifier `theirs` that answers this SUBSCRIBE.
    pub fn notify(&self, cseq: u32, state: &str) -> Text {
        self.notify_from("theirs", cseq, state)
    }

    /// The same from the notifier with the tag `tag`.
    pub fn notify_from(&self, tag: &str, cseq: u32, state: &str) -> Text {
        let to = self.get("To");
        let from = to.split(";tag=").next().unwrap();
        Text::new(format!("NOTIFY {} SIP/2.0", self.contact()))
            .add("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bKn{tag}{cseq}"))
            .add("Max-Forwards", "70")
            .add("From", format!("{from};tag={tag}"))
            .add("To", self.get("From"))
            .add("Call-ID", self.get("Call-ID"))
            .add("CSeq", format!("{cseq} NOTIFY"))
            .add("Contact", format!("<{PEER_URI}>"))
            .add("Event", self.get("Event"))
            .add("Subscription-State", state)
    }

    /// A refresh by the subscriber that got this 2xx, over the same dialog.
    pub fn refresh(&self, cseq: u32, expires: u32) -> Text {
        Text::new(format!("SUBSCRIBE {} SIP/2.0", self.contact()))
            .add("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bKs{cseq}"))
            .add("Max-Forwards", "70")
            .add("From", self.get("From"))
            .add("To", self.get("To"))
            .add("Call-ID", self.get("Call-ID"))
            .add("CSeq", format!("{cseq} SUBSCRIBE"))
            .add("Contact", format!("<{PEER_URI}>"))
            .add("Event", "presence")
            .add("Expires", expires.to_string())
    }
}

/// A first SUBSCRIBE to [`BOB`]'s presence, as the peer sends it.
pub fn subscribe(expires: u32) -> Text {
    Text::new(format!("SUBSCRIBE {BOB} SIP/2.0"))
        .add("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bKs1"))
        .add("Max-Forwards", "70")
        .add("From", "<sip:peer@example.com>;tag=p1")
        .add("To", format!("<{BOB}>"))
        .add("Call-ID", "c1@198.51.100.7")
        .add("CSeq", "1 SUBSCRIBE")
        .add("Contact", format!("<{PEER_URI}>"))
        .add("Event", "presence")
        .add("Expires", expires.to_string())
}

/// The messages of one step that satisfy a predicate.
pub fn only(sent: &[Out], what: &str) -> Vec<Out> {
    sent.iter().filter(|out| out.is(what)).cloned().collect()
}
