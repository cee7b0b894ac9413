//! Cutting a byte stream into messages (RFC 3261, section 18.3; RFC 5626,
//! section 3.5.1).

use super::lex::is_token_byte;
use super::scan::{self, Line, Lines};
use super::{HeaderName, StatusCode};
use crate::Instant;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Capacity that an idle framer may keep.
const IDLE_CAPACITY: usize = 4096;

/// How large a message on a stream may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramerLimits {
    /// Octets of start line and header fields, with the empty line.
    pub max_head: usize,
    /// Octets of body. Nothing is reserved for a body before it arrives.
    pub max_body: usize,
}

impl Default for FramerLimits {
    /// 64 KiB of head and 256 KiB of body.
    fn default() -> Self {
        Self { max_head: 64 * 1024, max_body: 256 * 1024 }
    }
}

/// What was cut from a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// One whole message, for [`Message::scan`](super::Message::scan).
    Message(&'a [u8]),
    /// A double CRLF: write one CRLF on the same connection at once.
    Ping,
    /// A single CRLF: the answer to a ping of ours, or of no meaning when
    /// none is awaited. The first half of a ping is reported as a `Pong` too,
    /// since nothing tells them apart until the second half arrives.
    Pong,
}

/// Why a stream can no longer be cut into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FramingLostReason {
    /// The octets at a message boundary begin no message.
    NotSip,
    /// The head is longer than [`FramerLimits::max_head`].
    HeadTooLong,
    /// A CR or LF in the head that is no CRLF: some readers would see another
    /// Content-Length there.
    LineBreak,
    /// No Content-Length.
    MissingContentLength,
    /// More than one Content-Length.
    DuplicateContentLength,
    /// A Content-Length that is no number, or above 2^32-1.
    BadContentLength,
    /// Content-Length above [`FramerLimits::max_body`].
    BodyTooLong,
    /// The caller pushed more and more without taking the frames out.
    NotDrained,
}

/// A stream has lost its message boundaries: answer if an answer is due, then
/// close it. The framer stays in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FramingLost {
    /// The cause.
    pub reason: FramingLostReason,
}

impl FramingLost {
    /// The status for a request whose head is [`Framer::lost_head`]; `None`
    /// when nothing can be answered.
    pub const fn status_hint(&self) -> Option<StatusCode> {
        match self.reason {
            FramingLostReason::NotSip | FramingLostReason::NotDrained => None,
            FramingLostReason::HeadTooLong => Some(StatusCode::MESSAGE_TOO_LARGE),
            FramingLostReason::BodyTooLong => Some(StatusCode::REQUEST_ENTITY_TOO_LARGE),
            FramingLostReason::LineBreak
            | FramingLostReason::MissingContentLength
            | FramingLostReason::DuplicateContentLength
            | FramingLostReason::BadContentLength => Some(StatusCode::BAD_REQUEST),
        }
    }
}

impl fmt::Display for FramingLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            FramingLostReason::NotSip => "octets that begin no SIP message",
            FramingLostReason::HeadTooLong => "head too long",
            FramingLostReason::LineBreak => "bare CR or LF in the head",
            FramingLostReason::MissingContentLength => "missing Content-Length",
            FramingLostReason::DuplicateContentLength => "duplicate Content-Length",
            FramingLostReason::BadContentLength => "malformed Content-Length",
            FramingLostReason::BodyTooLong => "body too long",
            FramingLostReason::NotDrained => "frames not taken out",
        })
    }
}

impl core::error::Error for FramingLost {}

/// Where the framer stands between two octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a boundary; `half_ping` when the octets before were a lone CRLF.
    Boundary { half_ping: bool },
    /// In a head, of which the first `scanned` octets hold no end.
    Head { scanned: usize },
    /// The message is `len` octets long.
    Body { len: usize },
    /// No boundary will be found again; the head has `head` octets.
    Lost { why: FramingLost, head: usize },
}

/// Cuts one stream into messages, whatever the chunks it comes in.
///
/// After each [`Framer::push`] call [`Framer::next_message`] until it returns
/// `Ok(None)`. Memory never exceeds the limits and one chunk, and grows with
/// the octets received, not with what Content-Length claims.
///
/// ```
/// use sip_events::{Instant, wire::{Frame, Framer, FramerLimits}};
/// let mut framer = Framer::new(FramerLimits::default());
/// framer.push(Instant::ZERO, b"SIP/2.0 200 OK\r\nl: 2\r\n");
/// assert_eq!(framer.next_message(), Ok(None));
/// framer.push(Instant::ZERO, b"\r\nab");
/// let whole = &b"SIP/2.0 200 OK\r\nl: 2\r\n\r\nab"[..];
/// assert_eq!(framer.next_message(), Ok(Some(Frame::Message(whole))));
/// assert_eq!(framer.next_message(), Ok(None));
/// ```
#[derive(Debug, Clone)]
pub struct Framer {
    limits: FramerLimits,
    buffer: Vec<u8>,
    /// Octets of `buffer` that were given out.
    taken: usize,
    state: State,
    last_activity: Option<Instant>,
    message_since: Option<Instant>,
}

/// What to give out, as a place in the buffer.
enum Cut {
    Message(Range<usize>),
    Ping,
    Pong,
}

impl Framer {
    /// A framer for one direction of one new stream.
    pub const fn new(limits: FramerLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            taken: 0,
            state: State::Boundary { half_ping: false },
            last_activity: None,
            message_since: None,
        }
    }

    /// Takes in the next octets of the stream, read at `now`.
    pub fn push(&mut self, now: Instant, chunk: &[u8]) {
        self.last_activity = Some(now);
        if matches!(self.state, State::Lost { .. }) || chunk.is_empty() {
            return;
        }
        let most = self.limits.max_head.saturating_add(self.limits.max_body);
        if self.buffered() > most {
            self.state = lost(FramingLostReason::NotDrained, 0);
            return;
        }
        self.compact();
        if self.buffer.is_empty() {
            self.message_since = Some(now);
        }
        self.reserve(chunk.len(), most);
        self.buffer.extend_from_slice(chunk);
    }

    /// The next frame; `Ok(None)` when more octets are needed.
    ///
    /// # Errors
    /// [`FramingLost`] once the boundaries are lost, then for ever.
    pub fn next_message(&mut self) -> Result<Option<Frame<'_>>, FramingLost> {
        Ok(match self.cut()? {
            Some(Cut::Message(range)) => Some(Frame::Message(self.buffer.get(range).unwrap_or_default())),
            Some(Cut::Ping) => Some(Frame::Ping),
            Some(Cut::Pong) => Some(Frame::Pong),
            None => None,
        })
    }

    /// After [`FramingLost`]: the head of the message that broke the framing,
    /// which may end early; empty when there is nothing to answer.
    pub fn lost_head(&self) -> &[u8] {
        match self.state {
            State::Lost { head, .. } => self.pending().get(..head).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Octets received and not given out.
    pub const fn buffered(&self) -> usize {
        self.buffer.len().saturating_sub(self.taken)
    }

    /// When octets last came; `None` before the first.
    pub const fn last_activity(&self) -> Option<Instant> {
        self.last_activity
    }

    /// Since when an unfinished message has been waiting for its rest: close
    /// the stream when that is too long ago, however busy it is.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.message_since.filter(|_| self.buffered() > 0)
    }

    /// What was received and not given out.
    pub(crate) fn pending(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    /// Whether the octets before were the first half of a ping.
    pub(crate) const fn is_half_ping(&self) -> bool {
        matches!(self.state, State::Boundary { half_ping: true })
    }

    /// The CRLF before was whole by itself: what follows is no second half of a ping.
    pub(crate) const fn end_ping(&mut self) {
        if let State::Boundary { half_ping } = &mut self.state {
            *half_ping = false;
        }
    }

    /// A framer that goes on where another one stopped.
    pub(crate) fn resume(limits: FramerLimits, half_ping: bool, pending: &[u8], times: [Option<Instant>; 2]) -> Self {
        let [last_activity, message_since] = times;
        let state = State::Boundary { half_ping };
        Self { limits, buffer: pending.to_vec(), taken: 0, state, last_activity, message_since }
    }

    fn cut(&mut self) -> Result<Option<Cut>, FramingLost> {
        loop {
            match self.state {
                State::Boundary { half_ping } => match self.boundary(half_ping) {
                    Some(cut) => return Ok(Some(cut)),
                    None if matches!(self.state, State::Boundary { .. }) => return Ok(None),
                    None => {}
                },
                State::Head { scanned } => {
                    self.state = self.head(scanned);
                    if matches!(self.state, State::Head { .. }) {
                        return Ok(None);
                    }
                }
                State::Body { len } if self.buffered() < len => return Ok(None),
                State::Body { len } => {
                    self.state = State::Boundary { half_ping: false };
                    return Ok(Some(Cut::Message(self.take(len))));
                }
                State::Lost { why, .. } => return Err(why),
            }
        }
    }

    /// At a boundary stand CRLFs or the first octet of a message.
    fn boundary(&mut self, half_ping: bool) -> Option<Cut> {
        match self.pending() {
            [] | [b'\r'] => None,
            [b'\r', b'\n', ..] => {
                self.take(2);
                self.state = State::Boundary { half_ping: !half_ping };
                Some(if half_ping { Cut::Ping } else { Cut::Pong })
            }
            [first, ..] => {
                self.state =
                    if is_token_byte(*first) { State::Head { scanned: 0 } } else { lost(FramingLostReason::NotSip, 0) };
                None
            }
        }
    }

    /// Looks for the end of the head, from where the last search stopped.
    fn head(&self, scanned: usize) -> State {
        let pending = self.pending();
        let within = pending.get(..self.limits.max_head).unwrap_or(pending);
        let mut from = scanned;
        let mut resume = within.len();
        while let Some(at) = scan::find_line_break(within, from) {
            let rest = within.get(at..).unwrap_or_default();
            if rest.starts_with(b"\r\n\r\n") {
                return self.measure(within.get(..at.saturating_add(4)).unwrap_or_default());
            }
            if b"\r\n\r\n".starts_with(rest) {
                resume = at;
                break;
            }
            from = at.saturating_add(1);
        }
        if pending.len() >= self.limits.max_head {
            return lost(FramingLostReason::HeadTooLong, within.len());
        }
        State::Head { scanned: resume }
    }

    /// How long the message with this head is.
    fn measure(&self, head: &[u8]) -> State {
        let mut length = None;
        let mut reason = None;
        let mut lines = Lines::new(head, 0);
        let start = lines.physical();
        if !matches!(&start, Line::Text(line) if mentions_sip(head, line)) {
            return lost(FramingLostReason::NotSip, 0);
        }
        while let Line::Text(line) = lines.logical() {
            let text = head.get(line.clone()).unwrap_or_default();
            let Some((name, value)) = scan::split_field(text) else {
                continue;
            };
            if HeaderName::from_bytes(name) != HeaderName::ContentLength {
                continue;
            }
            if length.is_some() {
                reason = reason.or(Some(FramingLostReason::DuplicateContentLength));
            }
            let value = scan::trim(head, line.start.saturating_add(value)..line.end);
            let number = scan::content_length(head.get(value).unwrap_or_default());
            length = Some(number.and_then(|number| usize::try_from(number).ok()));
        }
        let broken = lines.bare_break.map(|_| FramingLostReason::LineBreak);
        match (reason.or(broken), length) {
            (Some(reason), _) => lost(reason, head.len()),
            (None, None) => lost(FramingLostReason::MissingContentLength, head.len()),
            (None, Some(None)) => lost(FramingLostReason::BadContentLength, head.len()),
            (None, Some(Some(body))) if body > self.limits.max_body => lost(FramingLostReason::BodyTooLong, head.len()),
            (None, Some(Some(body))) => State::Body { len: head.len().saturating_add(body) },
        }
    }

    /// Marks `len` octets as given out.
    fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.taken;
        self.taken = start.saturating_add(len).min(self.buffer.len());
        // What follows came with the last chunk.
        self.message_since = self.last_activity;
        start..self.taken
    }

    /// Drops what was given out.
    fn compact(&mut self) {
        if self.taken == 0 {
            return;
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_CAPACITY {
            self.buffer = Vec::new();
        }
    }

    /// Room for `more` octets: doubling, yet not beyond the bound.
    fn reserve(&mut self, more: usize, most: usize) {
        let needed = self.buffer.len().saturating_add(more);
        if needed > self.buffer.capacity() {
            let doubled = self.buffer.capacity().saturating_mul(2).min(most);
            let extra = needed.max(doubled).saturating_sub(self.buffer.len());
            self.buffer.reserve_exact(extra);
        }
    }
}

const fn lost(reason: FramingLostReason, head: usize) -> State {
    State::Lost { why: FramingLost { reason }, head }
}

fn mentions_sip(head: &[u8], line: &Range<usize>) -> bool {
    scan::mentions_sip(head.get(line.clone()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
