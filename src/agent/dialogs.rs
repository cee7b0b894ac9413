//! Dialogs: identity, route set, remote target (RFC 3261 section 12), in one
//! allocation each.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::detours::Detour;
use crate::entropy::Minted;
use crate::wire::{HeaderName, MessageView, Method, NameAddr, ParseError, ParseErrorKind, Uri, read};
use crate::wire::{push_u32, push_value};

/// The parts of a dialog's text.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
enum Part {
    CallId,
    /// The value of our own From, tag aside.
    Local,
    /// The value of our own To, tag included.
    Remote,
    RemoteTag,
    /// The remote target, fit for a request line.
    Target,
    /// The route set, as a comma list.
    Routes,
    /// The value of the Event header field.
    Event,
}

const PARTS: usize = 7;

/// A dialog's constant text, with offsets. Our own tag and both CSeqs are the
/// owner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialog {
    text: Box<[u8]>,
    ends: [u16; PARTS],
    /// The URI of the first route, within `Routes`; empty without routes.
    first_route: (u16, u16),
    /// The first route has no `lr` (RFC 3261 section 12.2.1.1).
    strict: bool,
}

/// A dialog that does not fit [`Limits::dialog`](crate::Limits::dialog).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// What a dialog is made of.
#[derive(Debug, Default)]
pub(crate) struct DialogParts<'a> {
    pub(crate) call_id: &'a [u8],
    pub(crate) local: &'a [u8],
    pub(crate) remote: &'a [u8],
    pub(crate) remote_tag: &'a [u8],
    pub(crate) target: Vec<u8>,
    pub(crate) routes: Vec<u8>,
    pub(crate) event: &'a [u8],
}

impl Dialog {
    pub(crate) fn new(parts: &DialogParts<'_>, limit: u16) -> Result<Self, TooLarge> {
        let mut ends = [0u16; PARTS];
        let sources =
            [parts.call_id, parts.local, parts.remote, parts.remote_tag, &parts.target, &parts.routes, parts.event];
        let len = sources.iter().fold(0usize, |len, source| len.saturating_add(source.len()));
        let mut text = Vec::with_capacity(len.min(usize::from(limit)));
        for (end, source) in ends.iter_mut().zip(sources) {
            push_value(&mut text, source);
            *end = u16::try_from(text.len()).ok().filter(|len| *len <= limit).ok_or(TooLarge)?;
        }
        let mut dialog = Self { text: text.into_boxed_slice(), ends, first_route: (0, 0), strict: false };
        let routes = dialog.part(Part::Routes);
        let first = crate::wire::lex::split_list(routes).next().and_then(|first| NameAddr::parse(first).ok());
        if let Some(uri) = first.as_ref().map(NameAddr::uri) {
            let start = offset_in(routes, uri);
            let end = start.saturating_add(u16::try_from(uri.len()).unwrap_or(0));
            let strict = !Uri::parse(uri).is_ok_and(|uri| uri.is_loose_router());
            (dialog.strict, dialog.first_route) = (strict, (start, end));
        }
        Ok(dialog)
    }

    fn part(&self, part: Part) -> &[u8] {
        let at = part as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.text.get(usize::from(start)..usize::from(end)).unwrap_or_default()
    }

    pub(crate) fn call_id(&self) -> &[u8] {
        self.part(Part::CallId)
    }

    pub(crate) fn local(&self) -> &[u8] {
        self.part(Part::Local)
    }

    pub(crate) fn remote(&self) -> &[u8] {
        self.part(Part::Remote)
    }

    pub(crate) fn remote_tag(&self) -> &[u8] {
        self.part(Part::RemoteTag)
    }

    pub(crate) fn target(&self) -> &[u8] {
        self.part(Part::Target)
    }

    /// The route set, as a comma list.
    pub(crate) fn routes(&self) -> &[u8] {
        self.part(Part::Routes)
    }

    /// Whether the next hop has to be looked up, and may have several
    /// addresses.
    pub(crate) fn next_hop_is_name(&self) -> bool {
        let route = self.routes().split(|b| *b == b'<').nth(1).and_then(|rest| rest.split(|b| *b == b'>').next());
        let hop = Uri::parse(route.unwrap_or(self.target())).ok();
        hop.and_then(|uri| uri.host()).is_some_and(|host| host.ip().is_none())
    }

    pub(crate) fn event(&self) -> &[u8] {
        self.part(Part::Event)
    }

    /// Whether [`set_target`](Self::set_target) can succeed.
    pub(crate) fn has_room_for(&self, target: &[u8], limit: u16) -> bool {
        let others = self.text.len().saturating_sub(self.target().len());
        others.saturating_add(target.len()) <= usize::from(limit)
    }

    /// Replaces the remote target (RFC 3261 section 12.2.1.2). `Ok(true)` if it
    /// differs from the one before.
    pub(crate) fn set_target(&mut self, target: Vec<u8>, limit: u16) -> Result<bool, TooLarge> {
        if self.target() == target.as_slice() {
            return Ok(false);
        }
        let parts = DialogParts { target, routes: self.routes().to_vec(), ..self.parts() };
        *self = Self::new(&parts, limit)?;
        Ok(true)
    }

    /// The same dialog as another usage of it has it.
    pub(crate) fn for_event(&self, event: &[u8], target: Vec<u8>, limit: u16) -> Result<Self, TooLarge> {
        let parts = DialogParts { target, routes: self.routes().to_vec(), event, ..self.parts() };
        Self::new(&parts, limit)
    }

    /// Replaces the route set.
    pub(crate) fn set_routes(&mut self, routes: Vec<u8>, limit: u16) -> Result<(), TooLarge> {
        let parts = DialogParts { target: self.target().to_vec(), routes, ..self.parts() };
        *self = Self::new(&parts, limit)?;
        Ok(())
    }

    /// What it is made of, but for target and route set.
    fn parts(&self) -> DialogParts<'_> {
        DialogParts {
            call_id: self.call_id(),
            local: self.local(),
            remote: self.remote(),
            remote_tag: self.remote_tag(),
            event: self.event(),
            ..DialogParts::default()
        }
    }

    /// Appends the request line and the fields that a dialog determines. A
    /// detour takes the place of the target; the route set stays (RFC 3261
    /// section 12.2.1.2).
    pub(crate) fn write_request(
        &self,
        method: Method<'_>,
        tag: Minted,
        cseq: u32,
        detour: Option<&Detour>,
        out: &mut Vec<u8>,
    ) -> Placed {
        let routes = self.part(Part::Routes);
        let target = detour.and_then(Detour::target).unwrap_or_else(|| self.target());
        let proxy = detour.and_then(Detour::proxy);
        let (first, last) = self.first_route;
        let first_route = routes.get(usize::from(first)..usize::from(last)).unwrap_or_default();
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        let mut next_hop = out.len()..out.len();
        if self.strict {
            write_uri(first_route, out);
        } else {
            out.extend_from_slice(target);
        }
        next_hop.end = out.len();
        out.extend_from_slice(b" SIP/2.0\r\n");
        let via_at = out.len();
        if routes.is_empty() {
            if let Some(proxy) = proxy {
                out.extend_from_slice(b"Route: ");
                next_hop = write_proxy(proxy, out);
                out.extend_from_slice(b"\r\n");
            }
        } else {
            if self.strict {
                // The first route went into the request line; the target ends the list.
                out.extend_from_slice(b"Route: ");
                for route in crate::wire::lex::split_list(routes).skip(1) {
                    out.extend_from_slice(route);
                    out.extend_from_slice(b", ");
                }
                if let Some(proxy) = proxy {
                    write_proxy(proxy, out);
                    out.extend_from_slice(b", ");
                }
                out.push(b'<');
                out.extend_from_slice(target);
                out.push(b'>');
            } else {
                out.extend_from_slice(b"Route: ");
                let start = out.len().saturating_add(usize::from(first));
                next_hop = start..start.saturating_add(first_route.len());
                out.extend_from_slice(routes);
                if let Some(proxy) = proxy {
                    out.extend_from_slice(b", ");
                    write_proxy(proxy, out);
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"From: ");
        out.extend_from_slice(self.local());
        out.extend_from_slice(b";tag=");
        tag.write(out);
        out.extend_from_slice(b"\r\nTo: ");
        out.extend_from_slice(self.remote());
        out.extend_from_slice(b"\r\nCall-ID: ");
        out.extend_from_slice(self.call_id());
        out.extend_from_slice(b"\r\nCSeq: ");
        push_u32(out, cseq);
        out.push(b' ');
        out.extend_from_slice(method.as_bytes());
        out.extend_from_slice(b"\r\n");
        Placed { via_at, next_hop }
    }
}

/// Where the stack finds what it needs in a written head.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) via_at: usize,
    pub(crate) next_hop: Range<usize>,
}

fn offset_in(outer: &[u8], inner: &[u8]) -> u16 {
    let outer_start = outer.as_ptr() as usize;
    let inner_start = inner.as_ptr() as usize;
    u16::try_from(inner_start.saturating_sub(outer_start)).unwrap_or(0)
}

/// Appends a proxy that a 305 named as a Route value. A Contact of a 3xx says
/// nothing of `lr` (RFC 3261 table 1); proxies of our day are loose routers.
pub(crate) fn write_proxy(uri: &[u8], out: &mut Vec<u8>) -> Range<usize> {
    out.push(b'<');
    let start = out.len();
    out.extend_from_slice(uri);
    if !Uri::parse(uri).is_ok_and(|uri| uri.is_loose_router()) {
        out.extend_from_slice(b";lr");
    }
    let end = out.len();
    out.push(b'>');
    start..end
}

/// Appends `uri` as it may stand in a request line: without `method` and
/// headers (RFC 3261 section 19.1.1).
pub(crate) fn write_uri(uri: &[u8], out: &mut Vec<u8>) {
    match Uri::parse(uri) {
        Ok(uri) => uri.write_request_uri(out),
        Err(_) => out.extend_from_slice(uri),
    }
}

/// The elements of Record-Route in message order, as a comma list.
pub(crate) fn record_routes<V: MessageView + ?Sized>(message: &V) -> Result<Vec<u8>, ParseError> {
    let lines = (0..).map_while(|nth| message.field(HeaderName::RecordRoute, nth));
    // Each comma gets a blank, each line a comma.
    let room = |line: &[u8]| line.len().saturating_add(line.iter().filter(|octet| **octet == b',').count());
    let mut routes =
        Vec::with_capacity(lines.fold(0usize, |len, line| len.saturating_add(room(line)).saturating_add(2)));
    for element in read::record_routes(message) {
        let route = element?;
        // What leads nowhere must not become the way of every request.
        if !Uri::parse(route.uri())?.is_sip() {
            return Err(ParseError::new(ParseErrorKind::BadRoute, 0));
        }
        if !routes.is_empty() {
            routes.extend_from_slice(b", ");
        }
        routes.push(b'<');
        routes.extend_from_slice(route.uri());
        routes.push(b'>');
        for param in route.params().filter_map(Result::ok) {
            routes.push(b';');
            routes.extend_from_slice(param.name);
            if let Some(value) = param.value {
                routes.push(b'=');
                routes.extend_from_slice(value);
            }
        }
    }
    Ok(routes)
}

/// The one Contact of a request that makes or refreshes a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contact {
    Absent,
    /// The URI, fit for a request line.
    Target(Vec<u8>),
    /// `*`, several, or not a SIP URI.
    Bad,
}

/// Whether the connection that `message` came on leads to the next hop of what
/// follows in its dialog: not if a proxy has passed it on that is in no route
/// set (RFC 3261 section 12.2.1.1).
pub(crate) fn is_way_back<V: MessageView + ?Sized>(message: &V, routes: &[u8]) -> bool {
    !routes.is_empty() || read::elements(message, HeaderName::Via).nth(1).is_none()
}

/// [`contact`], but [`Contact::Absent`] where it is just `target`, which that
/// gave before.
pub(crate) fn new_contact<V: MessageView + ?Sized>(message: &V, target: &[u8]) -> Contact {
    let inner = message.field(HeaderName::Contact, 0).and_then(|value| value.strip_prefix(b"<")?.strip_suffix(b">"));
    if inner == Some(target) && !target.is_empty() && message.field(HeaderName::Contact, 1).is_none() {
        return Contact::Absent;
    }
    contact(message)
}

pub(crate) fn contact<V: MessageView + ?Sized>(message: &V) -> Contact {
    let mut contacts = read::contacts(message);
    let target = match contacts.next() {
        None => return Contact::Absent,
        Some(Ok(crate::wire::ContactValue::Address(address))) => address,
        Some(_) => return Contact::Bad,
    };
    if contacts.next().is_some() {
        return Contact::Bad;
    }
    match Uri::parse(target.uri()) {
        Ok(uri) if uri.is_sip() => {
            let mut out = Vec::with_capacity(target.uri().len());
            uri.write_request_uri(&mut out);
            Contact::Target(out)
        }
        _ => Contact::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Role;
    use alloc::string::String;

    fn head(target: &str, routes: &str) -> (String, String) {
        let parts = DialogParts {
            call_id: b"c1",
            local: b"<sip:a@x>",
            remote: b"<sip:b@y>;tag=r",
            remote_tag: b"r",
            target: target.into(),
            routes: routes.into(),
            event: b"presence",
        };
        let dialog = Dialog::new(&parts, 8192).unwrap();
        let mut out = Vec::new();
        let tag = Minted { role: Role::Notifier, slot: 0, nonce: 0 };
        let placed = dialog.write_request(Method::Notify, tag, 7, None, &mut out);
        let hop = out[placed.next_hop].to_vec();
        (String::from_utf8(out).unwrap(), String::from_utf8(hop).unwrap())
    }

    /// Covers: 3261-12.2.1.1-1, 3261-12.2.1.1-3, 3261-12.2.1.1-4, 3261-12.2.1.1-5, 3261-8.1.2-1
    #[test]
    fn request_line_and_route_follow_the_first_route() {
        let (text, hop) = head("sip:b@h", "");
        assert!(text.starts_with("NOTIFY sip:b@h SIP/2.0\r\nFrom: <sip:a@x>;tag=w0000000000000000\r\nTo: <sip:b@y>;tag=r\r\nCall-ID: c1\r\nCSeq: 7 NOTIFY\r\n"), "{text}");
        assert_eq!(hop, "sip:b@h");
        let (text, hop) = head("sip:b@h", "<sip:p1;lr>, <sip:p2;lr=on>");
        assert!(text.starts_with("NOTIFY sip:b@h SIP/2.0\r\nRoute: <sip:p1;lr>, <sip:p2;lr=on>\r\n"), "{text}");
        assert_eq!(hop, "sip:p1;lr");
        let (text, hop) = head("sip:b@h", "<sip:p1>, <sip:p2;lr>");
        assert!(text.starts_with("NOTIFY sip:p1 SIP/2.0\r\nRoute: <sip:p2;lr>, <sip:b@h>\r\n"), "{text}");
        assert_eq!(hop, "sip:p1");
    }

    #[test]
    fn a_dialog_above_the_limit_is_refused_and_a_target_replaced() {
        let parts = DialogParts { call_id: &[b'x'; 200], ..DialogParts::default() };
        assert_eq!(Dialog::new(&parts, 199), Err(TooLarge));
        let mut dialog = Dialog::new(&parts, 300).unwrap();
        assert_eq!(dialog.set_target(b"sip:a@b".to_vec(), 300), Ok(true));
        assert_eq!(dialog.set_target(b"sip:a@b".to_vec(), 300), Ok(false));
        assert_eq!(dialog.target(), b"sip:a@b");
        assert_eq!(dialog.set_target([b'y'; 200].to_vec(), 300), Err(TooLarge));
        assert_eq!(dialog.target(), b"sip:a@b");
    }
}
