//! Hosts and ports as URIs and Via name them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use super::error::{ParseError, ParseErrorKind};
use super::lex::{self, Cursor};
use super::push::push_u32;

/// The longest text of an IPv6 address (`INET6_ADDRSTRLEN` without the NUL).
const MAX_IPV6_TEXT: usize = 45;

/// A host: a domain name or an address. Names are equal in any case; a name
/// never equals an address (3261-19.1.4-4).
#[derive(Clone, Copy)]
pub enum Host<'a> {
    /// A domain name: ASCII letters, digits, `-`, `.` and `_`.
    Name(&'a [u8]),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, which stands in brackets in the text.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a whole host; an IPv6 address must stand in brackets.
    ///
    /// Wider than the grammar where the field is: underscores, and a last
    /// label that begins with a digit (names of containers), but not one of
    /// digits alone.
    ///
    /// # Errors
    /// [`ParseErrorKind::BadHost`].
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text);
        match Self::take(&mut cursor) {
            Some(host) if cursor.is_empty() => Ok(host),
            _ => Err(cursor.error(ParseErrorKind::BadHost)),
        }
    }

    /// Reads a host at the start of `cursor`.
    pub(crate) fn take(cursor: &mut Cursor<'a>) -> Option<Self> {
        if cursor.eat(b'[') {
            let address = cursor.take_while(|byte| byte != b']');
            return (cursor.eat(b']')).then(|| parse_v6(address))?.map(Self::V6);
        }
        let text = cursor.take_class(lex::HOST);
        match parse_v4(text) {
            Some(address) => Some(Self::V4(address)),
            None => is_domain_name(text).then_some(Self::Name(text)),
        }
    }

    /// The address, unless it is a name.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some(IpAddr::V4(*address)),
            Self::V6(address) => Some(IpAddr::V6(*address)),
        }
    }

    /// Writes it as it stands in a URI: IPv6 in brackets.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Name(name) => out.extend_from_slice(name),
            Self::V4(address) => push_v4(out, *address),
            Self::V6(address) => lex::push_display(out, format_args!("[{address}]")),
        }
    }
}

/// Writes an IPv4 address; what formats it for display takes ten times as long.
fn push_v4(out: &mut Vec<u8>, address: Ipv4Addr) {
    let mut text = [b'.'; 15];
    let mut used = 0usize;
    for (at, octet) in address.octets().into_iter().enumerate() {
        used = used.saturating_add(usize::from(at > 0));
        for (least, digit) in [(100, octet / 100), (10, octet / 10 % 10), (0, octet % 10)] {
            if octet >= least
                && let Some(place) = text.get_mut(used)
            {
                *place = b'0'.wrapping_add(digit);
                used = used.saturating_add(1);
            }
        }
    }
    out.extend_from_slice(text.get(..used).unwrap_or_default());
}

/// Writes an address without brackets.
pub(crate) fn push_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => push_v4(out, address),
        IpAddr::V6(address) => lex::push_display(out, address),
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(two)) => one.eq_ignore_ascii_case(two),
            (Self::V4(one), Self::V4(two)) => one == two,
            (Self::V6(one), Self::V6(two)) => one == two,
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{}", name.escape_ascii()),
            Self::V4(address) => fmt::Display::fmt(address, f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    // The cheap test first: most hosts are names.
    if text.len() > 15 || !text.last()?.is_ascii_digit() {
        return None;
    }
    let (first, rest) = take_octet(text)?;
    let (second, rest) = take_octet(rest.strip_prefix(b".")?)?;
    let (third, rest) = take_octet(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = take_octet(rest.strip_prefix(b".")?)?;
    rest.is_empty().then(|| Ipv4Addr::new(first, second, third, fourth))
}

/// Takes up to three digits. "01" is a decimal number to some and octal to
/// others: neither here.
#[inline]
fn take_octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: &u8| Some(byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let (first, rest) = text.split_first()?;
    let first = digit(first)?;
    let Some(second) = rest.first().and_then(digit) else { return Some((first, rest)) };
    if first == 0 {
        return None;
    }
    let two = first.wrapping_mul(10).wrapping_add(second);
    let Some(third) = rest.get(1).and_then(digit) else { return Some((two, rest.get(1..)?)) };
    Some((two.checked_mul(10)?.checked_add(third)?, rest.get(2..)?))
}

fn parse_v6(text: &[u8]) -> Option<Ipv6Addr> {
    if text.len() > MAX_IPV6_TEXT {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads the address of `received` or `maddr`: IPv6 with or without brackets
/// (3261-19.1.2-5), a zone behind `%` dropped since it means nothing here.
pub(crate) fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    let text = match text {
        [b'[', inner @ .., b']'] => inner,
        _ => {
            return parse_v4(text).map(IpAddr::V4).or_else(|| parse_bare_v6(text));
        }
    };
    parse_bare_v6(text)
}

fn parse_bare_v6(text: &[u8]) -> Option<IpAddr> {
    let address = text.split(|&byte| byte == b'%').next()?;
    parse_v6(address).map(IpAddr::V6)
}

fn is_domain_name(text: &[u8]) -> bool {
    let labels = match text {
        [labels @ .., b'.'] => labels,
        _ => text,
    };
    let mut last: &[u8] = b"";
    for label in labels.split(|&byte| byte == b'.') {
        if label.is_empty() || label.first() == Some(&b'-') || label.last() == Some(&b'-') {
            return false;
        }
        last = label;
    }
    // ADV-P20: a number at the end is a broken address, not a name.
    last.iter().any(|byte| !byte.is_ascii_digit())
}

/// Reads `:port` if there is a colon; `Err` if no port follows it.
pub(crate) fn take_port(cursor: &mut Cursor<'_>) -> Result<Option<u16>, ParseErrorKind> {
    if !cursor.eat(b':') {
        return Ok(None);
    }
    take_port_number(cursor).map(Some)
}

pub(crate) fn take_port_number(cursor: &mut Cursor<'_>) -> Result<u16, ParseErrorKind> {
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    lex::parse_u16(digits).ok_or(ParseErrorKind::BadHost)
}

/// Writes `:port`.
pub(crate) fn push_port(out: &mut Vec<u8>, port: u16) {
    out.push(b':');
    push_u32(out, u32::from(port));
}

/// An owned host with an optional port, such as `pbx.example.com:5070` or
/// `[2001:db8::1]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: OwnedHost,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum OwnedHost {
    /// In lower case, so that the derived equality holds.
    Name(Box<[u8]>),
    Ip(IpAddr),
}

impl HostPort {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    ///
    /// # Errors
    /// [`ParseErrorKind::BadHost`].
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text);
        let host = Host::take(&mut cursor).ok_or_else(|| cursor.error(ParseErrorKind::BadHost))?;
        let port = take_port(&mut cursor).map_err(|kind| cursor.error(kind))?;
        if !cursor.is_empty() {
            return Err(cursor.error(ParseErrorKind::BadHost));
        }
        Ok(Self::new(host, port))
    }

    /// Takes a copy of `host`; a name is kept in lower case.
    pub fn new(host: Host<'_>, port: Option<u16>) -> Self {
        let host = match host {
            Host::Name(name) => OwnedHost::Name(name.to_ascii_lowercase().into_boxed_slice()),
            Host::V4(address) => OwnedHost::Ip(address.into()),
            Host::V6(address) => OwnedHost::Ip(address.into()),
        };
        Self { host, port }
    }

    /// The host.
    pub fn host(&self) -> Host<'_> {
        match &self.host {
            OwnedHost::Name(name) => Host::Name(name),
            OwnedHost::Ip(IpAddr::V4(address)) => Host::V4(*address),
            OwnedHost::Ip(IpAddr::V6(address)) => Host::V6(*address),
        }
    }

    /// The port, if one is given.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Writes `host` or `host:port`.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.host().write(out);
        if let Some(port) = self.port {
            push_port(out, port);
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: OwnedHost::Ip(address.ip()), port: Some(address.port()) }
    }
}

impl FromStr for HostPort {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.host(), f)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
