//! What goes in and out of the agent: parsed requests in, requests and
//! responses to send out.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use crate::entropy::Minted;
use crate::flow::Flow;
use crate::id::RawId;
use crate::wire::{Method, StatusCode};

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

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
}

impl Origin {
    /// A request on `flow`, nobody's identity verified.
    pub const fn new(flow: Flow) -> Self {
        Self { flow, secure: flow.transport.is_secure(), identity: None }
    }
}

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
    /// The body.
    pub body: Bytes,
    /// A number to be written in decimal before byte `.0` of the body; see
    /// [`Rendered::Numbered`](crate::package::Rendered::Numbered).
    pub number: Option<(usize, u32)>,
}

impl OutRequest {
    /// Bytes of the body as sent, the number included.
    pub fn body_len(&self) -> usize {
        let digits = self.number.map_or(0, |(_, n)| n.checked_ilog10().map_or(1, |d| d as usize + 1));
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
}
