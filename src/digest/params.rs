//! The comma-separated parameters that challenges and credentials share, and
//! their writing.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::wire::lex::{Cursor, push_quoted, unquote};
use crate::wire::name_filter::NameFilter;
use crate::wire::{ParseError, ParseErrorKind};

/// One `name=value`; the value as it stands, quotes included.
#[derive(Debug, Clone, Copy)]
pub(super) struct AuthParam<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> AuthParam<'a> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value without its quotes; tokens that came quoted are tolerated so.
    pub(super) fn plain(&self) -> Cow<'a, [u8]> {
        unquote(self.value)
    }
}

/// The parameters, in order; after an error there is nothing more.
#[derive(Debug, Clone)]
pub(super) struct AuthParams<'a> {
    cursor: Cursor<'a>,
}

/// What may stand in an unquoted value: wider than a token, since nonces and
/// URIs come unquoted from some peers.
const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !matches!(byte, b'"' | b',' | b'\\')
}

impl<'a> AuthParams<'a> {
    pub(super) const fn new(rest: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(rest) }
    }

    fn read(&mut self) -> Result<Option<AuthParam<'a>>, ParseError> {
        loop {
            self.cursor.skip_lws();
            if self.cursor.is_empty() {
                return Ok(None);
            }
            // Empty elements are passed over (RFC 9110 section 5.6.1).
            if self.cursor.eat(b',') {
                continue;
            }
            let bad = |cursor: &Cursor<'_>| cursor.error(ParseErrorKind::BadParameter);
            let Some(name) = self.cursor.token() else { return Err(bad(&self.cursor)) };
            let value = if self.cursor.eat_separator(b'=') {
                if self.cursor.peek() == Some(b'"') {
                    let quoted = self.cursor.quoted();
                    Some(quoted.ok_or_else(|| self.cursor.error(ParseErrorKind::BadQuotedString))?)
                } else {
                    Some(self.cursor.take_while(is_value_byte))
                }
            } else {
                None
            };
            self.cursor.skip_lws();
            if !self.cursor.is_empty() && !self.cursor.eat(b',') {
                return Err(bad(&self.cursor));
            }
            // A word alone is what is left of an unquoted list, as in `qop=auth,auth-int`.
            if let Some(value) = value {
                return Ok(Some(AuthParam { name, value }));
            }
        }
    }
}

impl<'a> Iterator for AuthParams<'a> {
    type Item = Result<AuthParam<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read();
        if item.is_err() {
            self.cursor = Cursor::new(&[]);
        }
        item.transpose()
    }
}

/// Walks all of `params`, refusing bad syntax and doubled names (RFC 3261
/// section 7.3.1).
pub(super) fn scan<'a>(rest: &'a [u8], mut visit: impl FnMut(AuthParam<'a>)) -> Result<(), ParseError> {
    let mut filter = NameFilter::default();
    for param in AuthParams::new(rest) {
        let param = param?;
        visit(param);
        filter.note(param.name);
    }
    let names = AuthParams::new(rest).map_while(|param| param.ok().map(|param| param.name));
    filter.distinct(names).map_err(|kind| ParseError::new(kind, 0))
}

/// The parameters behind the scheme, if the scheme is Digest.
pub(super) fn behind_scheme(value: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(value);
    cursor.skip_lws();
    let scheme = cursor.token()?;
    let blank = cursor.skip_lws() || cursor.is_empty();
    (blank && scheme.eq_ignore_ascii_case(b"Digest")).then_some(cursor.rest())
}

/// Writes parameters, with a comma before each but the first.
#[derive(Debug)]
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Writer<'o> {
    pub(super) const fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    fn name(&mut self, name: &str) {
        if !core::mem::replace(&mut self.first, false) {
            self.out.extend_from_slice(b", ");
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'=');
    }

    pub(super) fn quoted(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        push_quoted(self.out, value);
    }

    pub(super) fn token(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(value);
    }
}
