//! Smaller header values: CSeq, Call-ID, Max-Forwards, Retry-After, media
//! types.

use super::Method;
use super::address::parse_q;
use super::error::{ParseError, ParseErrorKind};
use super::lex::{self, Cursor, Param, Params};
use super::scan;

/// The value of CSeq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Any 32-bit number is legal on receipt (3261-20-4).
    pub number: u32,
    /// The method.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads one whole value.
    ///
    /// # Errors
    /// [`ParseErrorKind::BadCSeq`], also for a number above 2^32-1.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(lex::trim(value));
        let digits = cursor.take_while(|byte| byte.is_ascii_digit());
        let number = lex::parse_u32(digits);
        let blank = cursor.skip_lws();
        match (number, cursor.token()) {
            (Some(number), Some(method)) if blank && cursor.is_empty() => {
                Ok(Self { number, method: Method::from_bytes(method) })
            }
            _ => Err(cursor.error(ParseErrorKind::BadCSeq)),
        }
    }
}

/// Checks a Call-ID: printable ASCII without blanks. Compared byte by byte
/// (3261-20-3).
///
/// Wider than `word ["@" word]`: it is only copied and compared, and peers do
/// put `=` or `;` into it.
///
/// # Errors
/// [`ParseErrorKind::BadCallId`].
pub fn parse_call_id(value: &[u8]) -> Result<&[u8], ParseError> {
    let call_id = lex::trim(value);
    if !call_id.is_empty() && scan::all(call_id, lex::is_graphic) {
        return Ok(call_id);
    }
    let sound = call_id.iter().take_while(|byte| byte.is_ascii_graphic());
    Err(ParseError::new(ParseErrorKind::BadCallId, sound.count()))
}

/// Reads Max-Forwards: 0 to 255 (3261-20-6).
///
/// # Errors
/// [`ParseErrorKind::BadMaxForwards`].
pub fn parse_max_forwards(value: &[u8]) -> Result<u8, ParseError> {
    lex::parse_u32(lex::trim(value))
        .and_then(|number| u8::try_from(number).ok())
        .ok_or(ParseError::new(ParseErrorKind::BadMaxForwards, 0))
}

/// The value of Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// Seconds to wait, clamped to 2^32-1.
    pub seconds: u32,
    /// Seconds that the callee stays reachable from then on; `None` if not
    /// given or malformed.
    pub duration: Option<u32>,
}

impl RetryAfter {
    /// Reads one whole value: `5`, `5 (busy) ;duration=3` (3261-20-7).
    ///
    /// # Errors
    /// [`ParseErrorKind::BadRetryAfter`], [`ParseErrorKind::BadParameter`],
    /// [`ParseErrorKind::DuplicateParameter`].
    pub fn parse(value: &[u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(lex::trim(value));
        let digits = cursor.take_while(|byte| byte.is_ascii_digit());
        let Some(seconds) = lex::delta_seconds(digits) else {
            return Err(cursor.error(ParseErrorKind::BadRetryAfter));
        };
        cursor.skip_lws();
        if !skip_comment(&mut cursor) {
            return Err(cursor.error(ParseErrorKind::BadRetryAfter));
        }
        let mut duration = None;
        let base = cursor.position();
        lex::scan_params(Params::new(cursor.rest()), |param| {
            if param.is(b"duration") {
                duration = param.value.and_then(lex::delta_seconds);
            }
            Ok(())
        })
        .map_err(|error| error.shifted(base))?;
        Ok(Self { seconds, duration })
    }
}

/// Skips a comment, which may hold others, if there is one. `false` if it
/// does not end.
fn skip_comment(cursor: &mut Cursor<'_>) -> bool {
    let mut depth = 0u32;
    while let Some(byte) = cursor.peek() {
        match byte {
            b'(' => depth = depth.saturating_add(1),
            b')' if depth > 0 => depth = depth.saturating_sub(1),
            b'\\' if depth > 0 => cursor.skip(1),
            _ if depth == 0 => return true,
            _ => {}
        }
        cursor.skip(1);
        if depth == 0 {
            return true;
        }
    }
    depth == 0
}

/// A media type, such as `application/pidf+xml`, or a range of Accept, such as
/// `text/*`. Types compare without regard to case.
#[derive(Clone, Copy, Debug)]
pub struct MediaType<'a> {
    raw: &'a [u8],
    main: &'a [u8],
    sub: &'a [u8],
    params: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Reads one whole Content-Type value.
    ///
    /// # Errors
    /// [`ParseErrorKind::BadMediaType`], [`ParseErrorKind::BadParameter`],
    /// [`ParseErrorKind::BadQuotedString`],
    /// [`ParseErrorKind::DuplicateParameter`].
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let raw = lex::trim(value);
        let mut cursor = Cursor::new(raw);
        let main = cursor.token();
        let slash = cursor.eat_separator(b'/');
        let (Some(main), true, Some(sub)) = (main, slash, cursor.token()) else {
            return Err(cursor.error(ParseErrorKind::BadMediaType));
        };
        let params = cursor.rest();
        lex::scan_params(Params::new(params), |_| Ok(())).map_err(|error| error.shifted(cursor.position()))?;
        Ok(Self { raw, main, sub, params })
    }

    /// The whole value.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The type: `application`.
    pub const fn main_type(&self) -> &'a [u8] {
        self.main
    }

    /// The subtype: `pidf+xml`.
    pub const fn subtype(&self) -> &'a [u8] {
        self.sub
    }

    /// The parameters, in order.
    pub fn params(&self) -> Params<'a> {
        Params::new(self.params)
    }

    /// The value of a parameter: `None` if it is absent, `Some(None)` if it has
    /// no value.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        lex::find_param(self.params, name)
    }

    /// Whether type and subtype are those of `text`, such as
    /// `application/pidf+xml`; parameters are not looked at.
    pub fn is(&self, text: &str) -> bool {
        text.split_once('/').is_some_and(|(main, sub)| {
            self.main.eq_ignore_ascii_case(main.as_bytes()) && self.sub.eq_ignore_ascii_case(sub.as_bytes())
        })
    }

    /// Whether `range` of an Accept header includes this type. Parameters of
    /// the range must be here too, with the same value.
    pub fn matches(&self, range: &AcceptRange<'_>) -> bool {
        let wanted = &range.media;
        (wanted.main == b"*" || wanted.main.eq_ignore_ascii_case(self.main))
            && (wanted.sub == b"*" || wanted.sub.eq_ignore_ascii_case(self.sub))
            && range.media_params().all(|param| {
                let own = self.param(param.name).map(Option::unwrap_or_default);
                let asked = lex::unquote(param.value.unwrap_or_default());
                own.is_some_and(|own| lex::unquote(own).eq_ignore_ascii_case(&asked))
            })
    }
}

/// One element of Accept.
#[derive(Clone, Copy, Debug)]
pub struct AcceptRange<'a> {
    media: MediaType<'a>,
    q: u16,
}

impl<'a> AcceptRange<'a> {
    /// Reads one element of the list.
    ///
    /// # Errors
    /// Those of [`MediaType::parse`]; [`ParseErrorKind::BadMediaType`] for
    /// `*/xml`; [`ParseErrorKind::BadNumber`] for a malformed `q`.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let media = MediaType::parse(value)?;
        if media.main == b"*" && media.sub != b"*" {
            return Err(ParseError::new(ParseErrorKind::BadMediaType, 0));
        }
        let q = match media.param(b"q") {
            None => 1000,
            Some(value) => value.and_then(parse_q).ok_or(ParseError::new(ParseErrorKind::BadNumber, 0))?,
        };
        Ok(Self { media, q })
    }

    /// The type or range, `q` and what follows it among its parameters.
    pub const fn media(&self) -> MediaType<'a> {
        self.media
    }

    /// The weight in thousandths: 0 (not acceptable) to 1000.
    pub const fn q(&self) -> u16 {
        self.q
    }

    /// The parameters before `q`, which belong to the type.
    fn media_params(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        self.media.params().map_while(Result::ok).take_while(|param| !param.is(b"q"))
    }

    /// How much it says: 0 for `*/*`, 1 for `text/*`, 2 for `text/plain`, more
    /// for each parameter. Of the ranges that match a type the one that says
    /// most gives its weight.
    pub fn specificity(&self) -> usize {
        let named = |part: &[u8]| usize::from(part != b"*");
        named(self.media.main).saturating_add(named(self.media.sub)).saturating_add(self.media_params().count())
    }
}

#[cfg(test)]
mod tests;
