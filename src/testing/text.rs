//! Messages written by hand, for those who are no endpoints of this crate.

use alloc::vec::Vec;

use super::facts::Facts;

/// The lines of a head, without line breaks: first the start line.
pub(crate) fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    core::iter::from_fn(move || {
        let end = rest.iter().position(|b| *b == b'\n')?;
        let (line, after) = rest.split_at_checked(end)?;
        rest = after.get(1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.is_empty()).then_some(line)
    })
}

/// The value of a field line, if its name is one of `names`.
pub(crate) fn value<'a>(line: &'a [u8], names: &[&[u8]]) -> Option<&'a [u8]> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, rest) = line.split_at_checked(colon)?;
    names.iter().any(|own| own.eq_ignore_ascii_case(name)).then(|| rest.get(1..).unwrap_or_default().trim_ascii())
}

/// The value of the first field of that name.
pub(crate) fn field<'a>(message: &'a [u8], names: &[&[u8]]) -> Option<&'a [u8]> {
    lines(message).skip(1).find_map(|line| value(line, names))
}

/// Appends parts and a line break.
pub(crate) fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// An answer to a request; `more` are whole lines.
pub(crate) fn answer(request: &[u8], facts: &Facts<'_>, status: &str, to_tag: &[u8], more: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(400);
    put(&mut out, &[b"SIP/2.0 ", status.as_bytes()]);
    for line in lines(request).skip(1) {
        if value(line, &[b"To", b"t"]).is_some() && facts.to_tag.is_empty() {
            put(&mut out, &[line, b";tag=", to_tag]);
        } else if value(line, &[b"Via", b"v", b"From", b"f", b"To", b"t", b"Call-ID", b"i", b"CSeq", b"Record-Route"])
            .is_some()
        {
            put(&mut out, &[line]);
        }
    }
    out.extend_from_slice(more.as_bytes());
    put(&mut out, &[b"Content-Length: 0\r\n"]);
    out
}
