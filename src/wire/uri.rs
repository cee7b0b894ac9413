//! SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966), and any other by
//! its bytes.

use alloc::vec::Vec;
use core::fmt;

use super::error::{ParseError, ParseErrorKind};
use super::host::{self, Host, push_port};
use super::lex::{self, Cursor, Param};
use super::name_filter::NameFilter;
use super::transport::Transport;
use super::uri_eq::eq_escaped;

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme<'a> {
    /// `sip`.
    Sip,
    /// `sips`.
    Sips,
    /// `tel` (RFC 3966).
    Tel,
    /// Any other, as it was spelt.
    Other(&'a [u8]),
}

/// A checked URI, borrowed. Copying it is cheap; [`super::UriBuf`] owns one.
///
/// All accessors give the text as it stands, with its `%HH` escapes.
#[derive(Clone, Copy)]
pub struct Uri<'a> {
    raw: &'a [u8],
    parts: Parts,
}

/// Where the components are, so that an owned URI is never parsed again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    scheme: SchemeKind,
    port: Option<u16>,
    /// End of the scheme name, at its colon.
    scheme_end: u32,
    user: Option<Span>,
    host: Span,
    /// From the first `;` (or empty).
    params: Span,
    /// From the `?` (or empty).
    headers: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SchemeKind {
    Sip,
    Sips,
    Tel,
    Other,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Positions fit: `Uri::parse` refuses anything longer.
    fn new(start: usize, end: usize) -> Self {
        let clamp = |position| u32::try_from(position).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    fn of(self, raw: &[u8]) -> &[u8] {
        raw.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

/// 3261-19.1.2-4, the user part.
pub(crate) const fn is_user_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

/// 3261-19.1.2-4, the password.
pub(crate) const fn is_password_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',')
}

/// 3261-19.1.2-4, names and values of parameters.
pub(crate) const fn is_param_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

/// 3261-19.1.2-4, names and values of headers.
pub(crate) const fn is_header_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$')
}

/// What any absolute URI is made of (RFC 2396, with the brackets of RFC 2732).
pub(crate) const fn is_uri_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',' | b'[' | b']')
}

const fn is_number_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#')
}

const fn is_visual_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'(' | b')')
}

/// Takes what `accept` allows and whole `%HH` escapes.
#[inline]
fn take_escaped<'a>(cursor: &mut Cursor<'a>, class: u16) -> &'a [u8] {
    let start = cursor.position();
    loop {
        cursor.take_class(class);
        match cursor.rest() {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                cursor.skip(3);
            }
            _ => return cursor.since(start),
        }
    }
}

impl<'a> Uri<'a> {
    /// Parses and checks a whole URI: no blanks, no angle brackets, every
    /// `%HH` complete, each parameter name once, at most
    /// [`super::lex::MAX_PARAMS`] parameters.
    ///
    /// # Errors
    /// [`ParseErrorKind::BadUri`], [`ParseErrorKind::BadHost`],
    /// [`ParseErrorKind::DuplicateParameter`],
    /// [`ParseErrorKind::TooManyParameters`].
    pub fn parse(raw: &'a [u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(raw);
        let bad = |cursor: &Cursor<'_>| cursor.error(ParseErrorKind::BadUri);
        let scheme = take_scheme(&mut cursor).ok_or_else(|| bad(&cursor))?;
        if u32::try_from(raw.len()).is_err() {
            return Err(bad(&cursor));
        }
        let kind = match scheme.len() {
            3 if scheme.eq_ignore_ascii_case(b"sip") => SchemeKind::Sip,
            4 if scheme.eq_ignore_ascii_case(b"sips") => SchemeKind::Sips,
            3 if scheme.eq_ignore_ascii_case(b"tel") => SchemeKind::Tel,
            _ => SchemeKind::Other,
        };
        let mut parts = Parts {
            scheme: kind,
            port: None,
            scheme_end: Span::new(0, scheme.len()).end,
            user: None,
            host: Span::default(),
            params: Span::default(),
            headers: Span::default(),
        };
        match kind {
            SchemeKind::Sip | SchemeKind::Sips => {
                parts.user = take_user(&mut cursor)?;
                let start = cursor.position();
                Host::take(&mut cursor).ok_or_else(|| cursor.error(ParseErrorKind::BadHost))?;
                parts.host = Span::new(start, cursor.position());
                parts.port = host::take_port(&mut cursor).map_err(|kind| cursor.error(kind))?;
                parts.params = take_params(&mut cursor)?;
                parts.headers = take_headers(&mut cursor)?;
            }
            SchemeKind::Tel => {
                let start = cursor.position();
                parts.user = take_number(&mut cursor).then(|| Span::new(start, cursor.position()));
                if parts.user.is_none() {
                    return Err(bad(&cursor));
                }
                parts.params = take_params(&mut cursor)?;
            }
            SchemeKind::Other => {
                if take_escaped(&mut cursor, lex::URI).is_empty() {
                    return Err(bad(&cursor));
                }
            }
        }
        if cursor.is_empty() { Ok(Self { raw, parts }) } else { Err(bad(&cursor)) }
    }

    /// For bytes that `parse` has accepted before.
    pub(crate) const fn from_parts(raw: &'a [u8], parts: Parts) -> Self {
        Self { raw, parts }
    }

    pub(crate) const fn parts(&self) -> Parts {
        self.parts
    }

    /// The whole text; ASCII.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The whole text.
    pub fn as_str(&self) -> &'a str {
        // `parse` accepts ASCII alone.
        core::str::from_utf8(self.raw).unwrap_or_default()
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme<'a> {
        match self.parts.scheme {
            SchemeKind::Sip => Scheme::Sip,
            SchemeKind::Sips => Scheme::Sips,
            SchemeKind::Tel => Scheme::Tel,
            SchemeKind::Other => Scheme::Other(self.scheme_name()),
        }
    }

    /// The scheme as it was spelt.
    pub(crate) fn scheme_name(&self) -> &'a [u8] {
        Span { start: 0, end: self.parts.scheme_end }.of(self.raw)
    }

    /// Whether requests can be sent to it: `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.parts.scheme, SchemeKind::Sip | SchemeKind::Sips)
    }

    /// Whether the scheme is `sips`.
    pub fn is_sips(&self) -> bool {
        self.parts.scheme == SchemeKind::Sips
    }

    /// The userinfo without `@`: the user, and `:password` if there is one.
    /// For `tel` the number.
    pub fn user(&self) -> Option<&'a [u8]> {
        self.parts.user.map(|span| span.of(self.raw))
    }

    /// The host; `None` if the scheme is neither `sip` nor `sips`.
    pub fn host(&self) -> Option<Host<'a>> {
        Host::take(&mut Cursor::new(self.parts.host.of(self.raw)))
    }

    /// The port, if one is written.
    pub const fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The parameters in order, of `sip`, `sips` and `tel`.
    pub fn params(&self) -> UriParams<'a> {
        UriParams(Pairs::new(self.parts.params.of(self.raw), b';'))
    }

    /// The value of a parameter: `None` if it is absent, `Some(None)` if it has
    /// no value. Names match in any case and escaped or not (RFC 4475, 3.1.1.4).
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.params().find(|param| eq_escaped(param.name, name, true)).map(|param| param.value)
    }

    /// The header components behind `?`, in order.
    pub fn headers(&self) -> UriHeaders<'a> {
        UriHeaders(Pairs::new(self.parts.headers.of(self.raw), b'&'))
    }

    /// The `transport` parameter; `None` if it is absent or unknown, which
    /// [`Uri::param`] tells apart.
    pub fn transport_param(&self) -> Option<Transport> {
        Transport::from_token(self.param(b"transport")??)
    }

    /// The transport that the URI asks for: its parameter or the default of
    /// its scheme, secured for `sips` (3261-19.1.1-3). `None` if it names an
    /// unknown one or the scheme is neither `sip` nor `sips`.
    pub fn transport(&self) -> Option<Transport> {
        if !self.is_sip() {
            return None;
        }
        let asked = match self.param(b"transport") {
            Some(value) => Some(Transport::from_token(value?)?),
            None => None,
        };
        match (self.is_sips(), asked) {
            (false, asked) => Some(asked.unwrap_or(Transport::Udp)),
            (true, None | Some(Transport::Tcp | Transport::Tls)) => Some(Transport::Tls),
            (true, Some(Transport::Ws | Transport::Wss)) => Some(Transport::Wss),
            (true, Some(Transport::Udp)) => None,
        }
    }

    /// Whether `lr` is there, with or without a value.
    pub fn is_loose_router(&self) -> bool {
        self.param(b"lr").is_some()
    }

    /// Whether it is a GRUU: `gr` is there (RFC 5627).
    pub fn has_gr(&self) -> bool {
        self.param(b"gr").is_some()
    }

    /// Writes it as a Request-URI: without `method` and headers
    /// (3261-19.1.1-2, 3261-19.1.5-1).
    pub fn write_request_uri(&self, out: &mut Vec<u8>) {
        self.write_without(out, true, |name| eq_escaped(name, b"method", true));
    }

    /// Writes it for Contact, Route and Record-Route of a dialog: without
    /// `method`, `ttl` and headers (3261-19.1.1-2).
    pub fn write_dialog_target(&self, out: &mut Vec<u8>) {
        self.write_without(out, true, |name| {
            [&b"method"[..], b"ttl"].iter().any(|dropped| eq_escaped(name, dropped, true))
        });
    }

    /// Writes it for From and To: without port, headers and the parameters
    /// that say how to reach it (3261-19.1.1-2).
    pub fn write_from_to(&self, out: &mut Vec<u8>) {
        self.write_without(out, false, |name| {
            [&b"method"[..], b"ttl", b"maddr", b"transport", b"lr"]
                .iter()
                .any(|dropped| eq_escaped(name, dropped, true))
        });
    }

    fn write_without(&self, out: &mut Vec<u8>, port: bool, dropped: impl Fn(&[u8]) -> bool) {
        if !self.is_sip() {
            out.extend_from_slice(self.raw);
            return;
        }
        let head = Span { start: 0, end: self.parts.host.end };
        out.extend_from_slice(head.of(self.raw));
        if let Some(port) = self.parts.port.filter(|_| port) {
            push_port(out, port);
        }
        for param in self.params().filter(|param| !dropped(param.name)) {
            out.push(b';');
            out.extend_from_slice(param.name);
            if let Some(value) = param.value {
                out.push(b'=');
                out.extend_from_slice(value);
            }
        }
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether `text`, which is a URI, has the scheme `sips`.
pub(crate) fn is_sips(text: &[u8]) -> bool {
    text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}

/// Takes `scheme:` and gives the scheme.
pub(crate) fn take_scheme<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    if cursor.rest().starts_with(b"sip:") {
        let scheme = cursor.rest().get(..3);
        cursor.skip(4);
        return scheme;
    }
    if !cursor.peek()?.is_ascii_alphabetic() {
        return None;
    }
    let scheme = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    cursor.eat(b':').then_some(scheme)
}

fn take_user(cursor: &mut Cursor<'_>) -> Result<Option<Span>, ParseError> {
    // No component of a sound URI but the userinfo has a bare `@`.
    if !cursor.rest().contains(&b'@') {
        return Ok(None);
    }
    let start = cursor.position();
    let user = take_escaped(cursor, lex::USER);
    if !user.is_empty() && cursor.eat(b':') {
        take_escaped(cursor, lex::PASSWORD);
    }
    let end = cursor.position();
    if user.is_empty() || !cursor.eat(b'@') {
        return Err(cursor.error(ParseErrorKind::BadUri));
    }
    Ok(Some(Span::new(start, end)))
}

fn take_number(cursor: &mut Cursor<'_>) -> bool {
    cursor.eat(b'+');
    cursor.take_while(|byte| is_number_byte(byte) || is_visual_separator(byte)).iter().copied().any(is_number_byte)
}

fn take_params(cursor: &mut Cursor<'_>) -> Result<Span, ParseError> {
    let start = cursor.position();
    let mut filter = NameFilter::default();
    while cursor.eat(b';') {
        let name = take_escaped(cursor, lex::URI_PARAM);
        if name.is_empty() || cursor.eat(b'=') && take_escaped(cursor, lex::URI_PARAM).is_empty() {
            return Err(cursor.error(ParseErrorKind::BadUri));
        }
        filter.note(name);
    }
    let names = Pairs::new(cursor.since(start), b';').map(|(name, _)| name);
    filter.distinct(names).map_err(|kind| ParseError::new(kind, start))?;
    Ok(Span::new(start, cursor.position()))
}

fn take_headers(cursor: &mut Cursor<'_>) -> Result<Span, ParseError> {
    let start = cursor.position();
    if cursor.eat(b'?') {
        loop {
            let name = take_escaped(cursor, lex::URI_HEADER);
            if name.is_empty() || !cursor.eat(b'=') {
                return Err(cursor.error(ParseErrorKind::BadUri));
            }
            take_escaped(cursor, lex::URI_HEADER);
            if !cursor.eat(b'&') {
                break;
            }
        }
    }
    Ok(Span::new(start, cursor.position()))
}

/// `name` or `name=value` between separators, of a checked component.
#[derive(Clone, Debug)]
struct Pairs<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Pairs<'a> {
    /// `component` starts with its `;` or `?`, or is empty.
    fn new(component: &'a [u8], separator: u8) -> Self {
        Self { rest: component.get(1..), separator }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let mut cursor = Cursor::new(rest);
        let pair = cursor.take_while(|byte| byte != self.separator);
        self.rest = cursor.rest().get(1..);
        let mut cursor = Cursor::new(pair);
        let name = cursor.take_while(|byte| byte != b'=');
        Some((name, cursor.rest().get(1..)))
    }
}

/// The parameters of a URI, see [`Uri::params`].
#[derive(Clone, Debug)]
pub struct UriParams<'a>(Pairs<'a>);

impl<'a> Iterator for UriParams<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        let (name, value) = self.0.next()?;
        Some(Param { name, value })
    }
}

/// The header components of a URI, see [`Uri::headers`]: name and value.
#[derive(Clone, Debug)]
pub struct UriHeaders<'a>(Pairs<'a>);

impl<'a> Iterator for UriHeaders<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        Some((name, value.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests;
