//! Responses: what is copied from the request (RFC 3261 section 8.2.6.2), and
//! where they go (sections 18.2.1, 18.2.2 and RFC 3581).

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::keys::Identity;
use super::locate::is_host;
use crate::config::ViaMaddr;
use crate::flow::Flow;
use crate::wire::{HeadWriter, HeaderName, Host, Message, StatusCode, Via, lex::split_list, push_u64, read};

/// Most bytes by which an error answer may exceed its request, so that a
/// forged source gains little.
const ERROR_MARGIN: usize = 300;

/// Field lines copied from a request, as places in a buffer: Via, From and To
/// up to `to_end` (without the line break), Call-ID and CSeq up to `ids_end`,
/// Record-Route up to `routes_end`, then the value of Timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks {
    pub(super) start: usize,
    pub(super) to_end: usize,
    pub(super) ids_end: usize,
    pub(super) routes_end: usize,
    pub(super) end: usize,
}

/// The status line that [`finish_ok`] expects before the lines.
pub(super) const OK: &[u8] = b"SIP/2.0 200 OK\r\n";

/// Makes a 200 of the lines that [`copy_lines`] left at the end of `data`
/// behind [`OK`].
pub(super) fn finish_ok(data: &mut Vec<u8>, marks: &Marks, fields: &[u8], server: Option<&str>) {
    data.truncate(marks.ids_end);
    data.extend_from_slice(fields);
    if let Some(server) = server {
        HeadWriter::new(data).field(HeaderName::Server, server.as_bytes());
    }
    data.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// The values that answers repeat, of a request as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeated<'a> {
    from: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    call_id: Option<&'a [u8]>,
}

impl<'a> Repeated<'a> {
    /// Those of a request that may be unsound.
    pub(super) fn of(message: &'a Message<'_>) -> Self {
        Self {
            from: message.field(HeaderName::From, 0),
            to: message.field(HeaderName::To, 0),
            call_id: message.field(HeaderName::CallId, 0),
        }
    }
}

impl<'a> From<&Identity<'a>> for Repeated<'a> {
    fn from(identity: &Identity<'a>) -> Self {
        let (from, to) = (identity.from.as_bytes(), identity.to.as_bytes());
        Self { from: Some(from), to: Some(to), call_id: Some(identity.call_id) }
    }
}

/// Appends the lines of `message`, which came from `source`, that answers
/// need. Absent ones are left out.
pub(super) fn copy_lines(
    out: &mut Vec<u8>,
    message: &Message<'_>,
    repeated: &Repeated<'_>,
    via: &Via<'_>,
    source: SocketAddr,
) -> Marks {
    let mut marks = Marks { start: out.len(), ..Marks::default() };
    let Repeated { from, to, call_id } = *repeated;
    let cseq = message.field(HeaderName::CSeq, 0);
    let top = message.field(HeaderName::Via, 0).unwrap_or_default();
    // A name, a colon, a line break each; and what Via is stamped with.
    let values = [Some(top), from, to, call_id, cseq].into_iter().flatten();
    let size = values.fold(160usize, |size, value| size.saturating_add(value.len()));
    out.reserve_exact(size);
    out.extend_from_slice(b"Via: ");
    via.write_received(out, source);
    if top.len() > via.as_bytes().len() {
        push_list(out, top, 1);
    }
    out.extend_from_slice(b"\r\n");
    for line in (1..).map_while(|nth| message.field(HeaderName::Via, nth)) {
        out.reserve_exact(line.len().saturating_add(16));
        out.extend_from_slice(b"Via: ");
        push_list(out, line, 0);
        out.extend_from_slice(b"\r\n");
    }
    let copy = |out: &mut Vec<u8>, name, value| {
        if let Some(value) = value {
            HeadWriter::new(out).field(name, value);
        }
    };
    copy(out, HeaderName::From, from);
    if let Some(to) = to {
        let mut head = HeadWriter::new(out);
        head.begin(HeaderName::To);
        head.raw(to);
        marks.to_end = out.len();
        out.extend_from_slice(b"\r\n");
    } else {
        marks.to_end = out.len();
    }
    copy(out, HeaderName::CallId, call_id);
    copy(out, HeaderName::CSeq, cseq);
    marks.ids_end = out.len();
    for line in (0..).map_while(|nth| message.field(HeaderName::RecordRoute, nth)) {
        out.reserve_exact(line.len().saturating_add(16));
        HeadWriter::new(out).field(HeaderName::RecordRoute, line);
    }
    marks.routes_end = out.len();
    if let Some(timestamp) = message.field(HeaderName::Timestamp, 0) {
        let sent = timestamp.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        out.reserve_exact(sent.len());
        HeadWriter::new(out).raw(sent);
    }
    marks.end = out.len();
    marks
}

/// Appends the values of a list from the one at `first` on.
fn push_list(out: &mut Vec<u8>, line: &[u8], first: usize) {
    for (at, value) in split_list(line).enumerate().skip(first) {
        if at > 0 {
            // No blank: a list of nothing but commas gets no longer.
            out.extend_from_slice(b",");
        }
        HeadWriter::new(out).raw(value);
    }
}

/// A response to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Response<'a> {
    pub(super) status: StatusCode,
    pub(super) reason: Option<&'a str>,
    /// Added to To; `None` when the request has one.
    pub(super) to_tag: Option<&'a [u8]>,
    pub(super) dialog_forming: bool,
    /// Further field lines, each with its line break.
    pub(super) fields: &'a [u8],
    pub(super) server: Option<&'a str>,
    pub(super) body_len: usize,
}

impl Response<'_> {
    pub(super) const fn new(status: StatusCode) -> Self {
        Self { status, reason: None, to_tag: None, dialog_forming: false, fields: &[], server: None, body_len: 0 }
    }

    /// As many bytes as the head has at most.
    fn room(&self, marks: &Marks) -> usize {
        let copied = if self.dialog_forming { marks.routes_end } else { marks.ids_end };
        let texts = [self.reason.map_or(60, str::len), self.server.map_or(0, str::len), self.fields.len()];
        // Status line, tag, Server, Content-Length: their names and line breaks.
        texts.into_iter().fold(copied.saturating_sub(marks.start).saturating_add(120), usize::saturating_add)
    }

    /// Appends the head. Returns where in `out` the added tag stands.
    pub(super) fn write(&self, lines: &[u8], marks: &Marks, out: &mut Vec<u8>) -> core::ops::Range<usize> {
        let part = |from: usize, to: usize| lines.get(from..to).unwrap_or_default();
        let start = out.len();
        out.reserve_exact(self.room(marks));
        HeadWriter::new(out).status_line(self.status, self.reason);
        out.extend_from_slice(part(marks.start, marks.to_end));
        let mut tag_at = out.len()..out.len();
        // Without a To line there is nothing to tag.
        let has_to = part(marks.to_end, marks.ids_end).starts_with(b"\r\n");
        if let Some(tag) = self.to_tag.filter(|_| has_to) {
            out.extend_from_slice(b";tag=");
            tag_at.start = out.len();
            out.extend_from_slice(tag);
            tag_at.end = out.len();
        }
        out.extend_from_slice(part(marks.to_end, marks.ids_end));
        if self.dialog_forming {
            out.extend_from_slice(part(marks.ids_end, marks.routes_end));
        }
        out.extend_from_slice(self.fields);
        let bound = marks.ids_end.saturating_sub(marks.start).saturating_add(ERROR_MARGIN);
        let size = out.len().saturating_sub(start);
        if let Some(server) = self.server
            && (self.status.class() < 3 || size.saturating_add(server.len()).saturating_add(40) <= bound)
        {
            HeadWriter::new(out).field(HeaderName::Server, server.as_bytes());
        }
        finish(out, self.body_len);
        tag_at
    }
}

/// Appends a 100 for a request that came `delay` ago (RFC 3261 section
/// 8.2.6.1).
pub(super) fn write_trying(lines: &[u8], marks: &Marks, delay: Duration, out: &mut Vec<u8>) {
    HeadWriter::new(out).status_line(StatusCode::TRYING, None);
    out.extend_from_slice(lines.get(marks.start..marks.ids_end).unwrap_or_default());
    let timestamp = lines.get(marks.routes_end..marks.end).unwrap_or_default();
    if !timestamp.is_empty() {
        let mut head = HeadWriter::new(out);
        head.begin(HeaderName::Timestamp);
        head.raw(timestamp);
        head.raw(b" ");
        push_u64(out, delay.as_secs());
        out.push(b'.');
        let millis = delay.subsec_millis();
        push_u64(out, u64::from(millis / 100));
        push_u64(out, u64::from(millis / 10 % 10));
        push_u64(out, u64::from(millis % 10));
        out.extend_from_slice(b"\r\n");
    }
    finish(out, 0);
}

fn finish(out: &mut Vec<u8>, body_len: usize) {
    let mut head = HeadWriter::new(out);
    head.content_length(body_len);
    head.finish();
}

/// Where the response to a request goes that came on `flow` with this top Via:
/// the flow, and for a stream the address to connect to once it is closed.
pub(super) fn reply_to(flow: &Flow, via: &Via<'_>, policy: ViaMaddr) -> (Flow, Option<SocketAddr>) {
    let port = via.port().filter(|port| *port != 0).unwrap_or(flow.transport.default_port());
    // sent-by is the source address, or `received` was added and is. A zone is
    // kept.
    let mut source = flow.remote;
    source.set_port(port);
    if flow.stream.is_some() {
        return (*flow, Some(source));
    }
    let maddr = via.maddr().and_then(|host| Host::parse(host).ok()?.ip());
    let counts = |maddr: &IpAddr| policy == ViaMaddr::Follow && is_for(*maddr, flow.remote.ip());
    let remote = match (maddr.filter(counts), via.rport()) {
        (Some(maddr), _) => SocketAddr::new(maddr, port),
        (None, Some(_)) => flow.remote,
        (None, None) => source,
    };
    (Flow { remote, ..*flow }, None)
}

/// Whether `maddr` may get answers to a request from `source`: a host of the
/// same family, no group of them, and this one only if it asked itself.
fn is_for(maddr: IpAddr, source: IpAddr) -> bool {
    let is_here = |ip: IpAddr| ip.to_canonical().is_loopback();
    maddr.is_ipv4() == source.is_ipv4() && is_host(maddr) && (!is_here(maddr) || is_here(source))
}

/// Whether an answer can be built at all: there is a Via to send it to.
pub(super) fn answerable<'a>(message: &'a Message<'_>) -> Option<Via<'a>> {
    read::top_via(message).ok()
}
