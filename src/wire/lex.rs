//! Lexical elements shared by the header fields (RFC 3261 section 25.1).
//!
//! Everything here walks its input once, allocates nothing (but [`unquote`],
//! where an escape forces it) and never recurses.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::error::{ParseError, ParseErrorKind};
use super::name_filter::NameFilter;
use super::{scan, uri};

/// Most parameters accepted in one header value or URI.
///
/// The bound keeps the search for doubled names (RFC 3261 section 7.3.1)
/// linear in the size of the message.
pub const MAX_PARAMS: usize = 64;

pub(crate) const TOKEN: u16 = 1;
const QUOTED: u16 = 1 << 1;
/// What is taken as an unquoted value of a parameter. Wider than `gen-value`
/// on purpose: branches and cookies with `=`, `/` or `@` are common in the
/// field, and none of these bytes can end a value.
const VALUE: u16 = 1 << 2;
/// What [`split_list`] has to look at.
const LIST: u16 = 1 << 3;
/// Unescaped in the user part of a URI, its password, its parameters, its
/// headers, its host's name, anywhere in one of any scheme.
pub(crate) const USER: u16 = 1 << 4;
pub(crate) const PASSWORD: u16 = 1 << 5;
pub(crate) const URI_PARAM: u16 = 1 << 6;
pub(crate) const URI_HEADER: u16 = 1 << 7;
pub(crate) const HOST: u16 = 1 << 8;
pub(crate) const URI: u16 = 1 << 9;

/// The classes that each byte belongs to: one load instead of several ranges.
static CLASSES: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let mut table = [0; 256];
    let mut rest: &mut [u16] = &mut table;
    let mut byte = 0u8;
    while let [classes, tail @ ..] = rest {
        *classes = classes_of(byte);
        byte = byte.wrapping_add(1);
        rest = tail;
    }
    table
}

const fn classes_of(byte: u8) -> u16 {
    let token = byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
    let quoted = matches!(byte, b'\t' | b' ' | b'!' | 0x23..=0x5B | 0x5D..=0x7E | 0x80..);
    let value = is_uri_text(byte) && !matches!(byte, b',' | b';' | b'\\');
    let members = [
        (token, TOKEN),
        (quoted, QUOTED),
        (value, VALUE),
        (matches!(byte, b'"' | b'<' | b','), LIST),
        (uri::is_user_byte(byte), USER),
        (uri::is_param_byte(byte), URI_PARAM),
        (uri::is_password_byte(byte), PASSWORD),
        (uri::is_header_byte(byte), URI_HEADER),
        (uri::is_uri_byte(byte), URI),
        (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'), HOST),
    ];
    let mut classes = 0;
    let mut rest: &[(bool, u16)] = &members;
    while let [(member, class), tail @ ..] = rest {
        if *member {
            classes |= *class;
        }
        rest = tail;
    }
    classes
}

#[inline]
pub(crate) fn is_of(byte: u8, class: u16) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|classes| classes & class != 0)
}

/// What may stand in a request line's URI without breaking the line.
#[inline]
pub(crate) const fn is_uri_safe(byte: u8) -> bool {
    (byte > b' ') & (byte != 0x7f) & (byte != b'<') & (byte != b'>')
}

/// How many octets at the start belong to `class`.
#[inline]
pub(crate) fn span(bytes: &[u8], class: u16) -> usize {
    bytes.iter().position(|byte| !is_of(*byte, class)).unwrap_or(bytes.len())
}

/// What may stand in any URI, escapes and their validity aside.
#[inline]
pub(crate) const fn is_uri_text(byte: u8) -> bool {
    is_graphic(byte) & (byte != b'<') & (byte != b'>') & (byte != b'"')
}

/// Printable ASCII without the blank.
#[inline]
pub(crate) const fn is_graphic(byte: u8) -> bool {
    (byte > b' ') & (byte < 0x7f)
}

/// Whether `byte` may stand in a `token`.
#[must_use]
#[inline]
pub fn is_token_byte(byte: u8) -> bool {
    is_of(byte, TOKEN)
}

/// Whether `bytes` is a whole, non-empty `token`.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && span(bytes, TOKEN) == bytes.len()
}

/// What may stand unescaped inside a quoted string, besides folds.
fn is_quoted_text(byte: u8) -> bool {
    is_of(byte, QUOTED)
}

/// Removes blanks and folds at both ends.
#[must_use]
#[inline]
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    // Most octets are above all blanks.
    let is_blank = |byte: u8| byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// A reading position in one header value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(whole: &'a [u8]) -> Self {
        Self { whole, rest: whole }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn position(&self) -> usize {
        self.whole.len().saturating_sub(self.rest.len())
    }

    /// The bytes between an earlier `position` and this one.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.whole.get(start..self.position()).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn error(&self, kind: ParseErrorKind) -> ParseError {
        ParseError::new(kind, self.position())
    }

    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Skips `LWS`: blanks, and line ends that a blank follows (a fold).
    /// Tells whether there was any.
    #[inline]
    pub(crate) fn skip_lws(&mut self) -> bool {
        // Seldom is there any.
        if self.rest.first().is_none_or(|byte| *byte > b' ') {
            return false;
        }
        let before = self.rest.len();
        while let [b' ' | b'\t', rest @ ..]
        | [b'\r', b'\n', b' ' | b'\t', rest @ ..]
        | [b'\n', b' ' | b'\t', rest @ ..] = self.rest
        {
            self.rest = rest;
        }
        self.rest.len() != before
    }

    /// Takes `byte` with `LWS` on both sides, or nothing at all.
    #[inline]
    pub(crate) fn eat_separator(&mut self, byte: u8) -> bool {
        // Seldom are there any blanks.
        match self.rest {
            [] => return false,
            [first, rest @ ..] if *first == byte && rest.first().is_none_or(|next| *next > b' ') => {
                self.rest = rest;
                return true;
            }
            [first, ..] if *first > b' ' && *first != byte => return false,
            _ => {}
        }
        let mut ahead = *self;
        ahead.skip_lws();
        let found = ahead.eat(byte);
        if found {
            ahead.skip_lws();
            *self = ahead;
        }
        found
    }

    pub(crate) fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !accept(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// Takes what stands before the first `end`, or everything.
    #[inline]
    pub(crate) fn take_until(&mut self, end: u8) -> &'a [u8] {
        let at = scan::find_octet(self.rest, end).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(at).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// Takes what belongs to `class`.
    #[inline]
    pub(crate) fn take_class(&mut self, class: u16) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(span(self.rest, class)).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    pub(crate) fn token(&mut self) -> Option<&'a [u8]> {
        let token = self.take_class(TOKEN);
        (!token.is_empty()).then_some(token)
    }

    /// Takes a quoted string, quotes included; leaves the position alone when
    /// there is none or it is not closed.
    pub(crate) fn quoted(&mut self) -> Option<&'a [u8]> {
        let start = self.position();
        let mut ahead = *self;
        if !ahead.eat(b'"') {
            return None;
        }
        loop {
            ahead.rest = match ahead.rest {
                [b'"', rest @ ..] => {
                    ahead.rest = rest;
                    *self = ahead;
                    return Some(self.since(start));
                }
                // 3261-25.1-2: any ASCII but CR and LF may be escaped.
                [b'\\', escaped, rest @ ..] if escaped.is_ascii() && !matches!(escaped, b'\r' | b'\n') => rest,
                [b'\r', b'\n', b' ' | b'\t', rest @ ..] | [b'\n', b' ' | b'\t', rest @ ..] => rest,
                [byte, rest @ ..] if is_quoted_text(*byte) => rest,
                _ => return None,
            };
        }
    }
}

/// Splits the value of a list header field at its commas.
///
/// Commas inside quoted strings and angle brackets do not split
/// (3261-25.1-6). Elements come trimmed; an empty element between two commas
/// comes as an empty slice; an empty value has no elements.
#[must_use]
pub fn split_list(value: &[u8]) -> ListElements<'_> {
    let value = trim(value);
    ListElements { rest: (!value.is_empty()).then_some(value) }
}

/// The elements of one list header value, see [`split_list`].
#[derive(Clone, Debug)]
pub struct ListElements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for ListElements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        if scan::all(rest, |byte| byte != b',') {
            return Some(trim(rest));
        }
        let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
        // Nothing before the first of these matters.
        let special = rest.iter().position(|&byte| is_of(byte, LIST)).unwrap_or(rest.len());
        let comma = rest.get(special..).unwrap_or_default().iter().position(|&byte| {
            if escaped {
                escaped = false;
                return false;
            }
            match byte {
                b'\\' => escaped = quoted,
                b'"' if !bracketed => quoted = !quoted,
                b'<' if !quoted => bracketed = true,
                b'>' if !quoted => bracketed = false,
                b',' => return !quoted && !bracketed,
                _ => {}
            }
            false
        });
        let Some(comma) = comma.map(|at| special.saturating_add(at)) else {
            return Some(trim(rest));
        };
        self.rest = rest.get(comma.saturating_add(1)..);
        Some(trim(rest.get(..comma).unwrap_or_default()))
    }
}

/// One `;name` or `;name=value` of a header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name, a token; compared without regard to case.
    pub name: &'a [u8],
    /// The value as it stands, with the quotes if it is quoted; empty for
    /// `;name=`. See [`unquote`].
    pub value: Option<&'a [u8]>,
}

impl Param<'_> {
    /// Whether this parameter is called `name`, in any case.
    #[must_use]
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// The parameters of one header value, in order.
///
/// Blanks and folds round `;` and `=` are skipped (3261-25.1-4). After an
/// error there is nothing more.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    cursor: Cursor<'a>,
    skip_empty: bool,
}

impl<'a> Params<'a> {
    /// Reads `input`, which is empty or starts with the first `;`.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(input), skip_empty: false }
    }

    /// Like `new`, but a `;` with nothing behind it is passed over.
    pub(crate) const fn tolerant(input: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(input), skip_empty: true }
    }

    /// The next one, if it is `;name` or `;name=value` without blanks and
    /// quotes, as nearly all are.
    #[inline]
    fn read_plain(&mut self) -> Option<Param<'a>> {
        let [b';', rest @ ..] = self.cursor.rest else { return None };
        let (name, rest) = rest.split_at_checked(span(rest, TOKEN))?;
        let (value, rest) = match rest {
            [b'=', rest @ ..] => {
                let (value, rest) = rest.split_at_checked(span(rest, VALUE))?;
                (Some(value), rest)
            }
            _ => (None, rest),
        };
        if name.is_empty() || !matches!(rest, [] | [b';', ..]) {
            return None;
        }
        self.cursor.rest = rest;
        Some(Param { name, value })
    }

    #[inline]
    fn read(&mut self) -> Result<Option<Param<'a>>, ParseError> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        match self.read_plain() {
            Some(param) => Ok(Some(param)),
            None => self.read_any(),
        }
    }

    #[inline(never)]
    fn read_any(&mut self) -> Result<Option<Param<'a>>, ParseError> {
        self.cursor.skip_lws();
        if self.cursor.is_empty() {
            return Ok(None);
        }
        loop {
            if !self.cursor.eat(b';') {
                return Err(self.cursor.error(ParseErrorKind::BadParameter));
            }
            self.cursor.skip_lws();
            if !self.skip_empty {
                break;
            }
            match self.cursor.peek() {
                Some(b';') => {}
                None => return Ok(None),
                Some(_) => break,
            }
        }
        let Some(name) = self.cursor.token() else {
            return Err(self.cursor.error(ParseErrorKind::BadParameter));
        };
        let value = if self.cursor.eat_separator(b'=') {
            Some(if self.cursor.peek() == Some(b'"') {
                let quoted = self.cursor.quoted();
                quoted.ok_or_else(|| self.cursor.error(ParseErrorKind::BadQuotedString))?
            } else {
                self.cursor.take_class(VALUE)
            })
        } else {
            None
        };
        Ok(Some(Param { name, value }))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Result<Param<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read();
        if item.is_err() {
            self.cursor = Cursor::new(&[]);
        }
        item.transpose()
    }
}

/// Walks all of `params`, refusing bad syntax, doubled names (3261-7.3.1-7)
/// and more than [`MAX_PARAMS`].
pub(crate) fn scan_params<'a>(
    params: Params<'a>,
    mut visit: impl FnMut(Param<'a>) -> Result<(), ParseErrorKind>,
) -> Result<(), ParseError> {
    let mut filter = NameFilter::default();
    let mut walk = params.clone();
    while let Some(param) = walk.read()? {
        visit(param).map_err(|kind| walk.cursor.error(kind))?;
        filter.note(param.name);
    }
    let names = params.map_while(|param| param.ok().map(|param| param.name));
    filter.distinct(names).map_err(|kind| ParseError::new(kind, 0))
}

/// The value of the parameter `name` of an already checked list.
pub(crate) fn find_param<'a>(params: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
    Params::tolerant(params).map_while(Result::ok).find(|param| param.is(name)).map(|param| param.value)
}

/// Takes the quotes and escapes off a quoted string and turns each fold in it
/// into one space; anything else comes back as it is.
#[must_use]
pub fn unquote(bytes: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = bytes else {
        return Cow::Borrowed(bytes);
    };
    if !inner.iter().any(|byte| matches!(byte, b'\\' | b'\r' | b'\n')) {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut rest = inner;
    loop {
        rest = match rest {
            [] => break,
            [b'\\', escaped, tail @ ..] => {
                plain.push(*escaped);
                tail
            }
            [b'\r' | b'\n', ..] => skip_fold(rest, &mut plain),
            [byte, tail @ ..] => {
                plain.push(*byte);
                tail
            }
        };
    }
    Cow::Owned(plain)
}

/// Copies `bytes` without line ends: each fold becomes one space, so that what
/// is written never breaks a header line.
pub fn push_unfolded(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = scan::find_line_break(rest, 0) {
        let (plain, fold) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        rest = skip_fold(fold, out);
    }
    out.extend_from_slice(rest);
}

fn skip_fold<'a>(mut bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    out.push(b' ');
    bytes
}

/// Writes `text` as a quoted string. Quotes and backslashes are escaped;
/// control characters, line ends among them, become spaces.
pub fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len().saturating_add(2));
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1F | 0x7F => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends what `value` displays as.
pub(crate) fn push_display(out: &mut Vec<u8>, value: impl fmt::Display) {
    struct Sink<'v>(&'v mut Vec<u8>);
    impl fmt::Write for Sink<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    // The sink cannot fail, nor do the address and number types given here.
    let _ = fmt::write(&mut Sink(out), format_args!("{value}"));
}

/// Reads a number of one or more digits; `None` if there is anything else or
/// it is above 2^32-1.
#[must_use]
#[inline]
pub fn parse_u32(digits: &[u8]) -> Option<u32> {
    if let Some(short) = short_number(digits) {
        return short;
    }
    digits.iter().try_fold(0u32, |number, &digit| number.checked_mul(10)?.checked_add(u32::from(digit_value(digit)?)))
}

/// The number if it cannot be above 2^32-1; `None` if it could.
#[inline]
fn short_number(digits: &[u8]) -> Option<Option<u32>> {
    if digits.is_empty() {
        return Some(None);
    }
    let number = || {
        digits.iter().try_fold(0u32, |number, &digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10).then(|| number.wrapping_mul(10).wrapping_add(u32::from(digit)))
        })
    };
    (digits.len() < 10).then(number)
}

/// Reads `delta-seconds`: one or more digits, values above 2^32-1 clamped to it
/// (INT-12); `None` if there is anything else.
#[must_use]
#[inline]
pub fn delta_seconds(digits: &[u8]) -> Option<u32> {
    if let Some(short) = short_number(digits) {
        return short;
    }
    digits.iter().try_fold(0u32, |number, &digit| {
        let digit = u32::from(digit_value(digit)?);
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

pub(crate) fn parse_u16(digits: &[u8]) -> Option<u16> {
    parse_u32(digits).and_then(|number| u16::try_from(number).ok())
}

const fn digit_value(digit: u8) -> Option<u8> {
    if digit.is_ascii_digit() { Some(digit.wrapping_sub(b'0')) } else { None }
}

#[cfg(test)]
mod tests;
