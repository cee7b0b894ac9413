//! Via (RFC 3261 section 20.42) with `received` and `rport` (RFC 3581).

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::error::{ParseError, ParseErrorKind};
use super::host::{self, Host};
use super::lex::{self, Cursor, Params};
use super::push::push_u32;
use super::scan;
use super::transport::Transport;

/// What the branch of every RFC 3261 transaction begins with.
const COOKIE: &[u8] = b"z9hG4bK";

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    raw: &'a [u8],
    transport: &'a [u8],
    host: Host<'a>,
    port: Option<u16>,
    params: &'a [u8],
    branch: Option<&'a [u8]>,
    received: Option<IpAddr>,
    rport: Option<Option<u16>>,
    maddr: Option<&'a [u8]>,
    ttl: Option<u8>,
}

impl<'a> Via<'a> {
    /// Reads one whole value. Blanks and folds may stand wherever the grammar
    /// allows them: `SIP / 2.0 / UDP host : 5060 ; branch = x`.
    ///
    /// # Errors
    /// [`ParseErrorKind::BadVia`], [`ParseErrorKind::BadHost`],
    /// [`ParseErrorKind::BadParameter`],
    /// [`ParseErrorKind::DuplicateParameter`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let raw = lex::trim(value);
        let mut cursor = Cursor::new(raw);
        let transport = take_protocol(&mut cursor).ok_or_else(|| cursor.error(ParseErrorKind::BadVia))?;
        if !cursor.skip_lws() {
            return Err(cursor.error(ParseErrorKind::BadVia));
        }
        let host = Host::take(&mut cursor).ok_or_else(|| cursor.error(ParseErrorKind::BadHost))?;
        let port = if cursor.eat_separator(b':') {
            Some(host::take_port_number(&mut cursor).map_err(|kind| cursor.error(kind))?)
        } else {
            None
        };
        let base = cursor.position();
        let mut via = Self {
            raw,
            transport,
            host,
            port,
            params: cursor.rest(),
            branch: None,
            received: None,
            rport: None,
            maddr: None,
            ttl: None,
        };
        lex::scan_params(Params::new(cursor.rest()), |param| via.read_param(param).ok_or(ParseErrorKind::BadVia))
            .map_err(|error| error.shifted(base))?;
        Ok(via)
    }

    fn read_param(&mut self, param: lex::Param<'a>) -> Option<()> {
        let name = param.name;
        let value = param.value.filter(|value| !value.is_empty());
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"branch") => self.branch = Some(value?),
            // 3581-5-1: alone or with digits.
            5 if name.eq_ignore_ascii_case(b"rport") => {
                self.rport = Some(match param.value {
                    None => None,
                    Some(digits) => Some(lex::parse_u16(digits)?),
                });
            }
            8 if name.eq_ignore_ascii_case(b"received") => self.received = Some(host::parse_ip(value?)?),
            5 if name.eq_ignore_ascii_case(b"maddr") => self.maddr = Some(value?),
            // ADV-P7: 0 to 255.
            3 if name.eq_ignore_ascii_case(b"ttl") => self.ttl = Some(u8::try_from(lex::parse_u32(value?)?).ok()?),
            _ => {}
        }
        Some(())
    }

    /// The whole value, to be echoed.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The transport token as it stands.
    pub const fn transport_token(&self) -> &'a [u8] {
        self.transport
    }

    /// The transport, if it is a known one.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(self.transport)
    }

    /// The host of sent-by.
    pub const fn host(&self) -> Host<'a> {
        self.host
    }

    /// The port of sent-by, if one is written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The branch; never empty.
    pub const fn branch(&self) -> Option<&'a [u8]> {
        self.branch
    }

    /// Whether the branch identifies the transaction by itself: it begins with
    /// the cookie `z9hG4bK`, spelt so (3261-17.2.3-3), and goes on behind it.
    pub fn has_cookie(&self) -> bool {
        self.branch.and_then(|branch| branch.strip_prefix(COOKIE)).is_some_and(|unique| !unique.is_empty())
    }

    /// The address that the request came from, as the receiver saw it.
    pub const fn received(&self) -> Option<IpAddr> {
        self.received
    }

    /// `rport`: `None` if it is absent, `Some(None)` if it asks to be filled
    /// in, else the port that the receiver saw (RFC 3581).
    pub const fn rport(&self) -> Option<Option<u16>> {
        self.rport
    }

    /// The multicast address that responses go to, as it stands.
    pub const fn maddr(&self) -> Option<&'a [u8]> {
        self.maddr
    }

    /// The time to live of responses to `maddr`.
    pub const fn ttl(&self) -> Option<u8> {
        self.ttl
    }

    /// All parameters, in order.
    pub fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// Writes this value as the server that got it from `source` must keep it
    /// for its responses.
    ///
    /// `received` is added if sent-by is a name or another address than the
    /// source (3261-18.2.1-1), or if `rport` is there, which is filled in
    /// (3581-4-1). What the sender wrote into either is overwritten. All else
    /// is kept in place, folds and blanks round `;` and `=` excepted.
    pub fn write_received(&self, out: &mut Vec<u8>, source: SocketAddr) {
        // An IPv4 peer of a dual-stack socket has an IPv4 address.
        let address = source.ip().to_canonical();
        if self.asks_plainly() {
            out.extend_from_slice(self.raw);
            out.push(b'=');
            push_u32(out, u32::from(source.port()));
            out.extend_from_slice(b";received=");
            host::push_ip(out, address);
            return;
        }
        let head = self.raw.len().saturating_sub(self.params.len());
        let head = lex::trim(self.raw.get(..head).unwrap_or_default());
        lex::push_unfolded(out, head);
        for param in self.params().map_while(Result::ok) {
            if param.is(b"received") {
                continue;
            }
            out.push(b';');
            out.extend_from_slice(param.name);
            if param.is(b"rport") {
                out.push(b'=');
                push_u32(out, u32::from(source.port()));
            } else if let Some(value) = param.value {
                out.push(b'=');
                lex::push_unfolded(out, value);
            }
        }
        if self.rport.is_some() || self.host.ip() != Some(address) {
            out.extend_from_slice(b";received=");
            host::push_ip(out, address);
        }
    }
}

impl Via<'_> {
    /// Whether it ends with a bare `rport`, and nothing in it is to be changed
    /// or taken out: as nearly all do.
    fn asks_plainly(&self) -> bool {
        (self.rport, self.received) == (Some(None), None)
            && self.raw.ends_with(b";rport")
            && !scan::has_low_octet(self.raw)
            && scan::all(self.params, |octet| octet > b' ')
    }
}

/// Takes `name / version / transport` and gives the transport. Name and
/// version are not judged: the start line says whether it is SIP/2.0, and the
/// 505 to a request that is not needs its Via (RFC 4475, 3.1.2.16).
fn take_protocol<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    const USUAL: &[u8] = b"SIP/2.0/";
    if cursor.rest().starts_with(USUAL) && cursor.rest().get(USUAL.len()).is_some_and(|byte| *byte > b' ') {
        cursor.skip(USUAL.len());
        return cursor.token();
    }
    cursor.token()?;
    cursor.eat_separator(b'/').then_some(())?;
    cursor.token()?;
    cursor.eat_separator(b'/').then_some(())?;
    cursor.token()
}

#[cfg(test)]
mod tests;
