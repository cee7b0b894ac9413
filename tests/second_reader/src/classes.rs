//! Why the readers differ. `Ok` names a class that `docs/reliability.md`
//! explains; `Err` says what has no explanation.

use rsip::SipMessage;
use rsip::headers::{Header, ToTypedHeader, UntypedHeader};
use rsip::message::{HasHeaders, HeadersExt};
use sip_events::wire::{HeaderName, Message, ParseErrorKind, lex};

use crate::facts;

type Class = Result<String, String>;

fn head_of(bytes: &[u8]) -> &[u8] {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes, |at| &bytes[..at])
}

/// What RFC 3261 section 7.3 lets a sender write otherwise, written the usual
/// way: folds joined, no blank before a colon, long names, no CRLF in front.
fn plain(message: &Message<'_>, uri: Option<&str>) -> Vec<u8> {
    let bytes = message.as_bytes();
    let first = bytes.windows(2).position(|w| w == b"\r\n").unwrap_or(bytes.len());
    let mut out = match (uri, message.method()) {
        (Some(uri), Some(method)) => format!("{method} {uri} SIP/2.0").into_bytes(),
        // `SIP/2.0 200` has no blank behind it, where there is no reason.
        (_, None) if bytes.len() > 8 => [b"SIP/2.0 ", &bytes[8..first], b" "].concat(),
        _ => bytes[..first].to_vec(),
    };
    out.extend_from_slice(b"\r\n");
    for field in message.fields() {
        let first = match field.name {
            HeaderName::Via => lex::split_list(field.value).next().unwrap_or_default(),
            _ => field.value,
        };
        out.extend_from_slice(field.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend(first.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(message.body());
    out
}

pub fn only_we_accept(bytes: &[u8], ours: &Message<'_>) -> Class {
    if std::str::from_utf8(head_of(bytes)).is_err() {
        return Ok("we accept: octets above 127 that are no UTF-8, where nothing looks".into());
    }
    if facts::second(&plain(ours, None)).is_some() {
        return Ok("we accept: folds, blanks before a colon, lines without one, leading CRLFs".into());
    }
    match ours.uri() {
        Some(_) if facts::second(&plain(ours, Some("sip:a@b"))).is_some() => {
            return Ok("we accept: a Request-URI that it does not read".into());
        }
        Some(_) => {
            let method = ours.method().map(|method| method.to_string()).unwrap_or_default();
            if !rsip::Method::all().iter().any(|known| known.to_string() == method) {
                return Ok("we accept: a method that it does not know".into());
            }
        }
        None => {}
    }
    Err("we accept".into())
}

/// The second reader accepts what has the shape of a message; here its own
/// words bear out why we do not.
pub fn only_we_refuse(bytes: &[u8], kind: ParseErrorKind, theirs: &SipMessage) -> Class {
    use ParseErrorKind as Kind;
    let head = head_of(bytes);
    let length = theirs.headers().iter().find_map(|header| match header {
        Header::ContentLength(length) => Some(length.value().trim().to_owned()),
        Header::Other(name, value) if name.eq_ignore_ascii_case("l") => Some(value.trim().to_owned()),
        _ => None,
    });
    let borne_out = match kind {
        Kind::MissingVia => !has(theirs, "via", "v"),
        Kind::MissingFrom => !has(theirs, "from", "f"),
        Kind::MissingTo => !has(theirs, "to", "t"),
        Kind::MissingCallId => !has(theirs, "call-id", "i"),
        Kind::MissingCSeq => !has(theirs, "cseq", "cseq"),
        Kind::MissingMaxForwards => !has(theirs, "max-forwards", "max-forwards"),
        Kind::DuplicateHeader => {
            let mut names = names(theirs);
            names.sort();
            names.windows(2).any(|pair| pair[0] == pair[1])
        }
        Kind::TooManyHeaders => theirs.headers().iter().count() > 250,
        Kind::HeadUnterminated => !bytes.windows(4).any(|w| w == b"\r\n\r\n"),
        Kind::LineBreak => {
            let text = String::from_utf8_lossy(head).replace("\r\n", "");
            text.contains(['\r', '\n'])
        }
        Kind::BodyShorterThanContentLength => {
            length.is_some_and(|length| length.parse::<usize>().is_ok_and(|length| length > theirs.body().len()))
        }
        Kind::BadContentLength => length.is_some_and(|length| length.parse::<u32>().is_err()),
        Kind::BadMaxForwards => {
            let header = theirs.max_forwards_header().map(|header| header.value().trim().parse::<u8>().is_err());
            header.unwrap_or(false)
        }
        Kind::Version | Kind::NotSip => !first_line(bytes).to_ascii_uppercase().ends_with(b" SIP/2.0"),
        Kind::BadStatus => matches!(theirs, SipMessage::Response(response) if response.status_code.code() < 100),
        _ => false,
    };
    if borne_out {
        return Ok(format!("we refuse, and it shows the same: {kind:?}"));
    }
    let typed = match kind {
        Kind::BadVia => theirs.via_header().is_ok_and(|header| header.clone().typed().is_ok()),
        Kind::BadFrom => theirs.from_header().is_ok_and(|header| header.clone().typed().is_ok()),
        Kind::BadTo => theirs.to_header().is_ok_and(|header| header.clone().typed().is_ok()),
        Kind::BadCSeq | Kind::CSeqMethodMismatch => match theirs.cseq_header().map(|header| header.clone().typed()) {
            Ok(Ok(cseq)) => match theirs {
                SipMessage::Request(request) => request.method == cseq.method,
                SipMessage::Response(_) => true,
            },
            _ => false,
        },
        _ => true,
    };
    if !typed {
        return Ok(format!("we refuse, and so does it when asked for the value: {kind:?}"));
    }
    Ok(format!("we refuse by the grammar, which it does not hold to: {kind:?}"))
}

fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.windows(2).position(|w| w == b"\r\n").map_or(bytes, |at| &bytes[..at])
}

/// The names of all lines, long and in lower case.
fn names(message: &SipMessage) -> Vec<String> {
    let text = |header: &Header| header.to_string().split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
    let long = |name: String| match name.as_str() {
        "v" => "via".into(),
        "f" => "from".into(),
        "t" => "to".into(),
        "i" => "call-id".into(),
        "l" => "content-length".into(),
        "o" => "event".into(),
        "c" => "content-type".into(),
        _ => name,
    };
    message.headers().iter().map(|header| long(text(header))).collect()
}

fn has(message: &SipMessage, name: &str, compact: &str) -> bool {
    names(message).iter().any(|own| own == name || own == compact)
}

pub fn of_fact(bytes: &[u8], field: &str, values: &str) -> Class {
    if values.ends_with("there None") && has_blanks_or_colons(bytes) {
        return Ok(format!("{field} differs: blanks round `;` and `=`, or an odd octet before it"));
    }
    if is_cut(values) {
        return Ok(format!("{field} differs: what RFC 3261 allows no octet of, taken whole here, cut there"));
    }
    let Ok(message) = Message::parse(bytes) else { return Err("no message".into()) };
    let again = plain(&message, None);
    let (Ok(ours), Some(theirs)) = (Message::parse(&again), facts::second(&again)) else {
        return Err(format!("{field} differs: here {values}"));
    };
    match facts::difference(&ours, &theirs) {
        None => Ok(format!("{field} differs: compact names, folds, lists of Via, octets behind Content-Length")),
        Some((_, values)) if is_cut(&values) || (values.ends_with("there None") && has_blanks_or_colons(&again)) => {
            Ok(format!("{field} differs: several of these"))
        }
        Some((field, values)) => Err(format!("{field} differs: here {values}")),
    }
}

/// Whether the second reader has a part of what we have, up to an octet that is
/// none of a token, or up to a blank.
fn is_cut(values: &str) -> bool {
    let mut quoted = values.split('"').skip(1).step_by(2);
    let (Some(here), Some(there)) = (quoted.next(), quoted.next()) else { return false };
    let rest = here.strip_prefix(there).unwrap_or_default();
    rest.bytes().next().is_some_and(|byte| !lex::is_token_byte(byte)) || (there.is_empty() && values.contains("there"))
}

/// Whether a field of parameters has what makes the second reader lose them.
fn has_blanks_or_colons(bytes: &[u8]) -> bool {
    let Ok(message) = Message::parse(bytes) else { return false };
    let values = [HeaderName::Via, HeaderName::From, HeaderName::To].map(|name| message.field(name, 0));
    values.into_iter().flatten().any(|value| {
        let mut params = value.split(|byte| *byte == b';').skip(1);
        let odd = |part: &[u8]| part.iter().any(|byte| !lex::is_token_byte(*byte));
        let before = value.split(|byte| *byte == b';').next().unwrap_or_default();
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let blank = before.last().is_some_and(is_blank) || before.windows(2).any(|w| is_blank(&w[0]) && w[1] == b':');
        blank || params.any(|param| param.splitn(2, |byte| *byte == b'=').any(odd))
    })
}
