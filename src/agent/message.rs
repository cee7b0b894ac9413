//! What goes in and out of the agent: parsed requests in, requests and
//! responses to send out.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use crate::entropy::Minted;
use crate::flow::Flow;
use crate::id::RawId;
use crate::wire::{MessageView, Method, NameAddr, ParseError, StatusCode, read};

/// Names a received request until it is answered; minted by the stack that
/// received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// Names a request of the agent until its final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    pub(crate) subject: Subject,
    /// Tells the requests of one object apart.
    pub(crate) seq: u32,
}

impl RequestId {
    /// The same for equal ids only, for hashing.
    pub(crate) fn words(&self) -> [u64; 2] {
        let (kind, id) = match self.subject {
            Subject::Subscription(id) => (0, id),
            Subject::Watcher(id) => (1 << 32, id),
        };
        [u64::from(id.generation.get()) << 32 | u64::from(id.slot), kind | u64::from(self.seq)]
    }
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Subscription(RawId),
    Watcher(RawId),
}

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The flow it came on.
    pub flow: Flow,
    /// Whether every hop that we know of was secured: it arrived over TLS.
    pub secure: bool,
    /// The identity that the stack has verified, if any.
    pub identity: Option<Bytes>,
    /// The value of Authentication-Info for a 2xx; empty for none.
    pub(crate) info: Vec<u8>,
}

impl Origin {
    /// A request on `flow`, nobody's identity verified.
    pub const fn new(flow: Flow) -> Self {
        Self { flow, secure: flow.transport.is_secure(), identity: None, info: Vec::new() }
    }
}

/// The header fields by which a request finds its dialog, read once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) from: NameAddr<'a>,
    pub(crate) to: NameAddr<'a>,
    pub(crate) call_id: &'a [u8],
    /// The number of CSeq.
    pub(crate) cseq: u32,
}

impl<'a> Names<'a> {
    pub(crate) fn of<V: MessageView + ?Sized>(message: &'a V) -> Result<Self, ParseError> {
        Ok(Self {
            from: read::from(message)?,
            to: read::to(message)?,
            call_id: read::call_id(message)?,
            cseq: read::cseq(message)?.number,
        })
    }
}

/// A request, and its names if they are sound.
pub(crate) type Named<'a, V> = (&'a V, Result<Names<'a>, ParseError>);

/// The local tag of a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub(crate) Minted);

impl Tag {
    /// Appends the tag's text, a token of 17 characters.
    pub fn write(self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

/// Something to send. The header fields were appended to the `Vec` that
/// [`Agent::poll_outgoing`](super::Agent::poll_outgoing) got.
///
/// Here the agent gets a SUBSCRIBE and the application accepts it:
///
/// ```
/// use std::sync::Arc;
/// use sip_events::agent::{Agent, Origin, Outgoing, Token};
/// use sip_events::wire::{Message, Method, StatusCode, Transport};
/// use sip_events::{Authentication, Body, Config, Decision, Event, Flow, Handled, Instant, Packages, ResourceKey, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let now = Instant::ZERO;
/// let config = Config::new("sip:bob@192.0.2.2")?.with_authentication(Authentication::None);
/// let mut agent = Agent::new(Arc::new(config), Packages::standard(), &Seed([7; 32]), now);
/// agent.add_local(Transport::Udp, "192.0.2.2:5060".parse()?, None, None)?;
/// let resource = agent.add_resource(&ResourceKey::new("sip:bob@192.0.2.2", "presence")?)?;
/// agent.set_state(now, resource, Body::new("application/pidf+xml", "<presence/>"))?;
///
/// let request = Message::parse(
///     b"SUBSCRIBE sip:bob@192.0.2.2 SIP/2.0\r\n\
///       Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
///       From: <sip:ann@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>\r\n\
///       Call-ID: 1@192.0.2.1\r\nCSeq: 1 SUBSCRIBE\r\nMax-Forwards: 70\r\n\
///       Contact: <sip:ann@192.0.2.1>\r\nEvent: presence\r\nContent-Length: 0\r\n\r\n",
/// )?;
/// let origin = Origin::new(Flow::udp("192.0.2.2:5060".parse()?, "192.0.2.1:5060".parse()?));
/// // The token is the stack's name for the server transaction.
/// let handled = agent.handle_request(now, &origin, &Method::Subscribe, Token(1), &request);
/// assert_eq!(handled, Handled::Consumed);
/// let Some(Event::Subscribe(incoming)) = agent.poll_event() else { panic!("no question") };
/// agent.accept(now, incoming, Decision::ACCEPT)?;
///
/// let mut lines = Vec::new();
/// let Some(Outgoing::Response(answer)) = agent.poll_outgoing(now, &mut lines) else { panic!("no answer") };
/// assert_eq!((answer.token, answer.status), (Token(1), StatusCode::OK));
/// assert!(lines.starts_with(b"Contact: <sip:bob@192.0.2.2:5060>\r\nExpires: 3600\r\n"));
/// lines.clear();
/// let Some(Outgoing::Request(notify)) = agent.poll_outgoing(now, &mut lines) else { panic!("no NOTIFY") };
/// assert!(lines.starts_with(b"NOTIFY sip:ann@192.0.2.1 SIP/2.0\r\n"));
/// assert_eq!(lines.get(notify.next_hop), Some(&b"sip:ann@192.0.2.1"[..]));
/// assert_eq!(notify.body, "<presence/>");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Outgoing {
    /// A request: its request line and all field lines but Via, Max-Forwards,
    /// User-Agent, Content-Length and the blank line.
    Request(OutRequest),
    /// A response: its additional field lines. The stack makes the status line
    /// and copies Via, From, To, Call-ID and CSeq from the request.
    Response(OutResponse),
    /// That request is given up: no more retransmissions, its answer is of no
    /// interest (INT-10).
    Abandon(RequestId),
}

/// A request to send in a non-INVITE client transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutRequest {
    /// Give it back with the answer.
    pub id: RequestId,
    /// SUBSCRIBE or NOTIFY.
    pub method: Method<'static>,
    /// The flow to use, if one is known; else `next_hop` has to be located
    /// (RFC 3263).
    pub destination: Option<Flow>,
    /// The URI of the next hop, as a range of the `Vec`.
    pub next_hop: Range<usize>,
    /// Where in the `Vec` Via and Max-Forwards belong: behind the request line.
    pub via_at: usize,
    /// The Contact line, if it is a guess: where the request will leave from is
    /// not known.
    pub(crate) contact: Option<Placeholder>,
    /// `destination` is the only way, whatever becomes of requests there.
    pub(crate) only: bool,
    /// The body.
    pub body: Bytes,
    /// A number to be written in decimal before byte `.0` of the body; see
    /// [`Rendered::Numbered`](crate::package::Rendered::Numbered).
    pub number: Option<(usize, u32)>,
    /// Whether it is known to go to somebody who wants it: a peer that has
    /// answered a request of this dialog or was authenticated, or one that the
    /// application chose. If not, a stack over datagrams should send it once
    /// and not repeat it at length: the address may be a victim's.
    pub proven: bool,
}

/// A line of a request that depends on the flow it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// Where it stands.
    pub(crate) range: Range<usize>,
    /// It has to be a SIPS URI.
    pub(crate) secure: bool,
}

impl OutRequest {
    /// Bytes of the body as sent, the number included.
    pub fn body_len(&self) -> usize {
        let digits = self.number.map_or(0, |(_, n)| n.checked_ilog10().map_or(1, |d| (d as usize).saturating_add(1)));
        self.body.len().saturating_add(digits)
    }
}

/// A response to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutResponse {
    /// The request that it answers.
    pub token: Token,
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, where it differs from the status's usual one.
    pub reason: Option<&'static str>,
    /// The To tag of a new dialog; `None` when the request had one, or when
    /// any tag will do.
    pub to_tag: Option<Tag>,
    /// Record-Route has to be copied (RFC 3261 section 12.1.1).
    pub dialog_forming: bool,
    /// Nothing has to be remembered of the request once this is sent: whoever
    /// sent it did not say, or prove, who it is (RFC 3261 section 8.2.7).
    pub stateless: bool,
}
