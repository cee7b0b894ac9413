//! Addresses of From, To, Contact, Route and Record-Route
//! (RFC 3261 section 20.10).

use alloc::vec::Vec;

use super::error::{ParseError, ParseErrorKind};
use super::lex::{self, Cursor, Params, delta_seconds};
use super::scan;
use super::uri::{self, Uri};

/// An address: an optional display name, a URI, and header parameters.
///
/// The URI is checked for its scheme and for bytes that cannot be in one, so
/// that it can be copied; what uses it calls [`NameAddr::parsed_uri`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    raw: &'a [u8],
    display: Option<&'a [u8]>,
    uri: &'a [u8],
    params: &'a [u8],
    tag: Option<&'a [u8]>,
}

impl<'a> NameAddr<'a> {
    /// Reads one whole value, with or without angle brackets. Without them `;`
    /// starts header parameters (3261-20-1).
    ///
    /// Tolerated: display names that should have been quoted, and blanks just
    /// inside the brackets (RFC 4475, 3.1.2.14 and 3.1.2.15).
    ///
    /// # Errors
    /// [`ParseErrorKind::BadAddress`], [`ParseErrorKind::BadUri`],
    /// [`ParseErrorKind::BadParameter`], [`ParseErrorKind::BadQuotedString`],
    /// [`ParseErrorKind::DuplicateParameter`] (a second `tag`, say).
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let raw = lex::trim(value);
        let mut cursor = Cursor::new(raw);
        let (display, bracketed) = take_display(&mut cursor)?;
        let start = cursor.position();
        let uri = if bracketed {
            let inner = cursor.take_until(b'>');
            if !cursor.eat(b'>') {
                return Err(cursor.error(ParseErrorKind::BadAddress));
            }
            lex::trim(inner)
        } else {
            cursor.take_while(|byte| !matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n'))
        };
        if !looks_like_uri(uri) {
            return Err(ParseError::new(ParseErrorKind::BadUri, start));
        }
        // 3261-20-1: these need the brackets.
        if !bracketed && uri.iter().any(|byte| matches!(byte, b',' | b'?')) {
            return Err(ParseError::new(ParseErrorKind::BadAddress, start));
        }
        let base = cursor.position();
        let params = lex::trim(cursor.rest());
        let mut tag = None;
        lex::scan_params(Params::new(params), |param| {
            if param.is(b"tag") {
                match param.value {
                    Some([_, ..]) => tag = param.value,
                    _ => return Err(ParseErrorKind::BadParameter),
                }
            }
            Ok(())
        })
        .map_err(|error| error.shifted(base))?;
        Ok(Self { raw, display, uri, params, tag })
    }

    /// Reads one value that must stand in angle brackets: Route, Record-Route.
    ///
    /// # Errors
    /// Those of [`NameAddr::parse`]; [`ParseErrorKind::BadAddress`] without
    /// brackets.
    pub fn parse_bracketed(value: &'a [u8]) -> Result<Self, ParseError> {
        let address = Self::parse(value)?;
        let head = address.raw.len().saturating_sub(address.params.len());
        match address.raw.get(..head).map(lex::trim) {
            Some([.., b'>']) => Ok(address),
            _ => Err(ParseError::new(ParseErrorKind::BadAddress, 0)),
        }
    }

    /// The whole value, to be echoed.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The display name as it stands, with the quotes if it is quoted
    /// ([`lex::unquote`] takes them off); `None` if there is none.
    pub const fn display(&self) -> Option<&'a [u8]> {
        self.display
    }

    /// The URI, without brackets.
    pub const fn uri(&self) -> &'a [u8] {
        self.uri
    }

    /// The URI, parsed.
    ///
    /// # Errors
    /// Those of [`Uri::parse`].
    pub fn parsed_uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::parse(self.uri)
    }

    /// The `tag` parameter; never empty.
    pub const fn tag(&self) -> Option<&'a [u8]> {
        self.tag
    }

    /// All header parameters, in order.
    pub fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The value of a header parameter: `None` if it is absent, `Some(None)`
    /// if it has no value.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        lex::find_param(self.params, name)
    }

    /// The `q` parameter in thousandths, 0 to 1000; `None` if it is absent or
    /// malformed.
    pub fn q(&self) -> Option<u16> {
        parse_q(self.param(b"q")??)
    }

    /// The `expires` parameter in seconds, clamped to 2^32-1 (INT-12); `None`
    /// if it is absent or malformed.
    pub fn expires(&self) -> Option<u32> {
        delta_seconds(self.param(b"expires")??)
    }
}

/// A Contact value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactValue<'a> {
    /// `*`, of a REGISTER that removes all bindings.
    Star,
    /// An address.
    Address(NameAddr<'a>),
}

impl<'a> ContactValue<'a> {
    /// Reads one element of a Contact list.
    ///
    /// # Errors
    /// Those of [`NameAddr::parse`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        match lex::trim(value) {
            b"*" => Ok(Self::Star),
            value => NameAddr::parse(value).map(Self::Address),
        }
    }
}

/// Writes `"display" <uri>;tag=tag`. The display name is quoted and escaped;
/// the URI always stands in brackets, so that its parameters stay its own.
pub fn write_name_addr(out: &mut Vec<u8>, display: Option<&str>, uri: &Uri<'_>, tag: Option<&[u8]>) {
    if let Some(display) = display {
        lex::push_quoted(out, display.as_bytes());
        out.push(b' ');
    }
    out.push(b'<');
    out.extend_from_slice(uri.as_bytes());
    out.push(b'>');
    if let Some(tag) = tag {
        out.extend_from_slice(b";tag=");
        out.extend_from_slice(tag);
    }
}

/// Takes the display name and the `<` behind it, if there is one. Tells
/// whether there was the bracket.
fn take_display<'a>(cursor: &mut Cursor<'a>) -> Result<(Option<&'a [u8]>, bool), ParseError> {
    if cursor.peek() == Some(b'"') {
        let Some(display) = cursor.quoted() else {
            return Err(cursor.error(ParseErrorKind::BadQuotedString));
        };
        cursor.skip_lws();
        if !cursor.eat(b'<') {
            return Err(cursor.error(ParseErrorKind::BadAddress));
        }
        return Ok((Some(display), true));
    }
    let mut ahead = *cursor;
    let display = ahead.take_while(|byte| !matches!(byte, b'<' | b';' | b'"'));
    if !ahead.eat(b'<') {
        return Ok((None, false));
    }
    let display = lex::trim(display);
    // ADV-P16: a control character is never a blank.
    let control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | b'\n');
    if display.iter().any(control) {
        return Err(cursor.error(ParseErrorKind::BadAddress));
    }
    *cursor = ahead;
    Ok(((!display.is_empty()).then_some(display), true))
}

/// Whether it has a scheme, something behind it, and no byte that would break
/// the value it is copied into.
fn looks_like_uri(text: &[u8]) -> bool {
    let mut cursor = Cursor::new(text);
    // ADV-P17: no scheme, no URI.
    uri::take_scheme(&mut cursor).is_some() && !cursor.is_empty() && scan::all(cursor.rest(), lex::is_uri_text)
}

/// Reads `qvalue`: `0`, `1`, with up to three decimals, at most 1.
pub(crate) fn parse_q(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] => (whole, decimals),
        _ => return None,
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = decimals
        .iter()
        .chain(b"000")
        .take(3)
        .fold(0u16, |sum, digit| sum.saturating_mul(10).saturating_add(u16::from(digit.wrapping_sub(b'0'))));
    match (whole, thousandths) {
        (b'0', _) => Some(thousandths),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
