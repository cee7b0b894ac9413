//! URIs that own their text, and how to build them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use super::error::{ParseError, ParseErrorKind};
use super::host::{Host, push_port};
use super::lex::push_display;
use super::uri::{Parts, Scheme, Uri, is_header_byte, is_param_byte, is_password_byte, is_user_byte};

/// An owned, checked URI; cloning shares the text.
///
/// Equality and hash are those of the text. See [`Uri::equivalent`] for the
/// comparison of RFC 3261 and [`super::resource_key`] for a canonical key.
#[derive(Clone)]
pub struct UriBuf {
    raw: Arc<[u8]>,
    parts: Parts,
}

impl UriBuf {
    /// Parses and copies a URI, see [`Uri::parse`] for what is refused.
    ///
    /// # Errors
    /// Those of [`Uri::parse`].
    pub fn parse(raw: &[u8]) -> Result<Self, ParseError> {
        Uri::parse(raw).map(Self::from)
    }

    /// Starts a `sip` or `sips` URI with its host: a name, an IPv4 address, or
    /// an IPv6 address with or without brackets.
    pub fn builder(scheme: Scheme<'_>, host: &str) -> UriBuilder {
        let mut authority = Vec::new();
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Host::V6(address)),
            // Checked on its own: it must not bring a user or parameters along.
            Err(_) => Host::parse(host.as_bytes()),
        };
        let refused = match (scheme, host) {
            (Scheme::Sip | Scheme::Sips, Ok(host)) => {
                host.write(&mut authority);
                None
            }
            (Scheme::Sip | Scheme::Sips, Err(error)) => Some(error),
            _ => Some(ParseError::new(ParseErrorKind::UnsupportedUriScheme, 0)),
        };
        UriBuilder {
            refused,
            secure: scheme == Scheme::Sips,
            userinfo: Vec::new(),
            authority,
            params: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The URI, borrowed; costs nothing.
    pub fn as_uri(&self) -> Uri<'_> {
        Uri::from_parts(&self.raw, self.parts)
    }

    /// The whole text; ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        self.as_uri().as_str()
    }
}

impl From<Uri<'_>> for UriBuf {
    fn from(uri: Uri<'_>) -> Self {
        Self { raw: Arc::from(uri.as_bytes()), parts: uri.parts() }
    }
}

impl TryFrom<&str> for UriBuf {
    type Error = ParseError;

    fn try_from(text: &str) -> Result<Self, ParseError> {
        Self::parse(text.as_bytes())
    }
}

impl TryFrom<&[u8]> for UriBuf {
    type Error = ParseError;

    fn try_from(raw: &[u8]) -> Result<Self, ParseError> {
        Self::parse(raw)
    }
}

impl FromStr for UriBuf {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text.as_bytes())
    }
}

impl AsRef<[u8]> for UriBuf {
    fn as_ref(&self) -> &[u8] {
        &self.raw
    }
}

impl PartialEq for UriBuf {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for UriBuf {}

impl core::hash::Hash for UriBuf {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

impl fmt::Display for UriBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UriBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Builds a `sip` or `sips` URI, escaping what its components may not hold
/// (3261-19.1.2-1). Begin with [`UriBuf::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct UriBuilder {
    refused: Option<ParseError>,
    secure: bool,
    userinfo: Vec<u8>,
    authority: Vec<u8>,
    params: Vec<u8>,
    headers: Vec<u8>,
}

impl UriBuilder {
    /// Sets the user part from plain text: `j@s0n` becomes `j%40s0n`. Replaces
    /// an earlier user and password.
    pub fn user(mut self, user: impl AsRef<[u8]>) -> Self {
        self.userinfo.clear();
        push_escaped(&mut self.userinfo, user.as_ref(), is_user_byte);
        self
    }

    /// Adds a password from plain text, behind [`UriBuilder::user`]. RFC 3261
    /// advises against passwords in URIs.
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.userinfo.push(b':');
        push_escaped(&mut self.userinfo, password.as_ref(), is_password_byte);
        self
    }

    /// Adds the port.
    pub fn port(mut self, port: u16) -> Self {
        push_port(&mut self.authority, port);
        self
    }

    /// Adds a parameter from plain text.
    pub fn param(mut self, name: impl AsRef<[u8]>, value: Option<&[u8]>) -> Self {
        self.params.push(b';');
        push_escaped(&mut self.params, name.as_ref(), is_param_byte);
        if let Some(value) = value {
            self.params.push(b'=');
            push_escaped(&mut self.params, value, is_param_byte);
        }
        self
    }

    /// Adds a header component from plain text.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let separator = if self.headers.is_empty() { b'?' } else { b'&' };
        self.headers.push(separator);
        push_escaped(&mut self.headers, name.as_ref(), is_header_byte);
        self.headers.push(b'=');
        push_escaped(&mut self.headers, value.as_ref(), is_header_byte);
        self
    }

    /// Checks and gives the URI.
    ///
    /// # Errors
    /// [`ParseErrorKind::UnsupportedUriScheme`], or those of [`Uri::parse`] for
    /// a bad host, an empty name or value, or a doubled parameter.
    pub fn build(self) -> Result<UriBuf, ParseError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let mut raw = Vec::new();
        raw.extend_from_slice(if self.secure { b"sips:" } else { b"sip:" });
        if !self.userinfo.is_empty() {
            raw.extend_from_slice(&self.userinfo);
            raw.push(b'@');
        }
        raw.extend_from_slice(&self.authority);
        raw.extend_from_slice(&self.params);
        raw.extend_from_slice(&self.headers);
        UriBuf::parse(&raw)
    }
}

fn push_escaped(out: &mut Vec<u8>, plain: &[u8], accept: fn(u8) -> bool) {
    for &byte in plain {
        if accept(byte) {
            out.push(byte);
        } else {
            push_display(out, format_args!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests;
