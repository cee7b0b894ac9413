//! When two URIs are the same (RFC 3261 section 19.1.4).

use alloc::vec::Vec;

use super::host::{Host, push_port};
use super::lex::{self, MAX_PARAMS};
use super::uri::{Scheme, Uri};

/// Characters that an escape keeps apart from their plain form (3261-19.1.4-3).
const fn is_reserved(byte: u8) -> bool {
    matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',')
}

/// Marks that are unreserved beside letters and digits.
const fn is_mark(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

/// The octets of an escaped component; `true` marks one that only its escape
/// tells from a separator.
struct Octets<'a>(&'a [u8]);

impl Iterator for Octets<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let (first, tail) = self.0.split_first()?;
        let escape = rest_of_escape(*first, tail);
        self.0 = escape.map_or(tail, |(_, rest)| rest);
        Some(escape.map_or((*first, false), |(byte, _)| (byte, is_reserved(byte))))
    }
}

/// The octet of the escape that begins with `first`, and what follows it.
fn rest_of_escape(first: u8, tail: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low, rest @ ..] = tail else {
        return None;
    };
    if first != b'%' {
        return None;
    }
    let value = digit(*high)?.checked_mul(16)?.checked_add(digit(*low)?)?;
    Some((u8::try_from(value).ok()?, rest))
}

/// Compares two escaped components, letters in any case if `fold`.
pub(crate) fn eq_escaped(one: &[u8], two: &[u8], fold: bool) -> bool {
    if one == two {
        return true;
    }
    let canonical = move |(byte, marked): (u8, bool)| (if fold { byte.to_ascii_lowercase() } else { byte }, marked);
    Octets(one).map(canonical).eq(Octets(two).map(canonical))
}

/// Parameters that must stand in both URIs or in neither (3261-19.1.4-5).
fn is_significant(name: &[u8]) -> bool {
    [&b"user"[..], b"ttl", b"method", b"maddr", b"transport"]
        .iter()
        .any(|significant| eq_escaped(name, significant, true))
}

impl Uri<'_> {
    /// Whether both name the same resource by RFC 3261 section 19.1.4 (RFC 3966
    /// section 4 for `tel`, byte by byte for the rest).
    ///
    /// The relation is not transitive: never use it as a key
    /// (3261-19.1.4-7), see [`resource_key`] for that.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        if self.as_bytes() == other.as_bytes() {
            return true;
        }
        match (self.scheme(), other.scheme()) {
            (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => {
                same_user(self, other)
                    && self.host() == other.host()
                    && self.port() == other.port()
                    && same_params(self, other, is_significant)
                    && same_headers(self, other)
            }
            (Scheme::Tel, Scheme::Tel) => {
                number_digits(self).eq(number_digits(other)) && same_params(self, other, |_| true)
            }
            (Scheme::Other(one), Scheme::Other(two)) => {
                one.eq_ignore_ascii_case(two) && self.as_bytes().get(one.len()..) == other.as_bytes().get(two.len()..)
            }
            _ => false,
        }
    }
}

fn same_user(one: &Uri<'_>, two: &Uri<'_>) -> bool {
    match (one.user(), two.user()) {
        (Some(one), Some(two)) => eq_escaped(one, two, false),
        (None, None) => true,
        _ => false,
    }
}

fn same_params(one: &Uri<'_>, two: &Uri<'_>, needed: fn(&[u8]) -> bool) -> bool {
    let forth = one.params().all(|param| match two.param(param.name) {
        Some(other) => match (param.value, other) {
            (Some(value), Some(other)) => eq_escaped(value, other, true),
            (None, None) => true,
            _ => false,
        },
        None => !needed(param.name),
    });
    forth && two.params().all(|param| !needed(param.name) || one.param(param.name).is_some())
}

fn same_headers(one: &Uri<'_>, two: &Uri<'_>) -> bool {
    let count = one.headers().count();
    if count != two.headers().count() {
        return false;
    }
    // Bounds the search below; nobody means anything by more.
    if count > MAX_PARAMS {
        return false;
    }
    let within = |uri: &Uri<'_>, (name, value): (&[u8], &[u8])| {
        uri.headers().any(|(n, v)| eq_escaped(n, name, true) && eq_escaped(v, value, true))
    };
    one.headers().all(|header| within(two, header)) && two.headers().all(|header| within(one, header))
}

/// The number of a `tel` URI without visual separators, in lower case.
fn number_digits<'a>(uri: &Uri<'a>) -> impl Iterator<Item = u8> + use<'a> {
    uri.user()
        .unwrap_or_default()
        .iter()
        .filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'))
        .map(u8::to_ascii_lowercase)
}

/// Appends a canonical form of `uri` that can be hashed and compared byte by
/// byte, for the resource that it names.
///
/// Kept: scheme, userinfo (unreserved characters unescaped, other escapes in
/// upper case), host (lower case), port, and the `user` parameter. Dropped:
/// all other parameters and the headers. `sip:%61lice@EX.com` and
/// `sip:alice@ex.com;x=y` have one key. Of a `tel` URI the number without
/// visual separators and `phone-context` are kept.
pub fn resource_key(uri: &Uri<'_>, out: &mut Vec<u8>) {
    push_lower(out, uri.scheme_name());
    out.push(b':');
    let kept: &[u8] = match uri.scheme() {
        Scheme::Sip | Scheme::Sips => {
            if let Some(user) = uri.user() {
                push_canonical(out, user, false);
                out.push(b'@');
            }
            match uri.host() {
                Some(Host::Name(name)) => push_lower(out, name),
                Some(address) => address.write(out),
                None => {}
            }
            if let Some(port) = uri.port() {
                push_port(out, port);
            }
            b"user"
        }
        Scheme::Tel => {
            out.extend(number_digits(uri));
            b"phone-context"
        }
        Scheme::Other(scheme) => {
            let rest = uri.as_bytes().get(scheme.len().saturating_add(1)..);
            out.extend_from_slice(rest.unwrap_or_default());
            return;
        }
    };
    if let Some(value) = uri.param(kept) {
        out.push(b';');
        out.extend_from_slice(kept);
        out.push(b'=');
        push_canonical(out, value.unwrap_or_default(), true);
    }
}

fn push_lower(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(u8::to_ascii_lowercase));
}

fn push_canonical(out: &mut Vec<u8>, text: &[u8], fold: bool) {
    let folded = |byte: u8| {
        if fold { byte.to_ascii_lowercase() } else { byte }
    };
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match rest_of_escape(*first, tail) {
            Some((byte, tail)) if byte.is_ascii_alphanumeric() || is_mark(byte) => {
                out.push(folded(byte));
                rest = tail;
            }
            Some((byte, tail)) => {
                lex::push_display(out, format_args!("%{byte:02X}"));
                rest = tail;
            }
            None => out.push(folded(*first)),
        }
    }
}

#[cfg(test)]
mod tests;
