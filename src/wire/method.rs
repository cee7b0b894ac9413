//! Request methods.

use core::fmt;

/// The method of a request: a case-sensitive token (RFC 3261, section 7.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method<'a> {
    /// `ACK`, RFC 3261.
    Ack,
    /// `BYE`, RFC 3261.
    Bye,
    /// `CANCEL`, RFC 3261.
    Cancel,
    /// `INFO`, RFC 6086.
    Info,
    /// `INVITE`, RFC 3261.
    Invite,
    /// `MESSAGE`, RFC 3428.
    Message,
    /// `NOTIFY`, RFC 6665.
    Notify,
    /// `OPTIONS`, RFC 3261.
    Options,
    /// `PRACK`, RFC 3262.
    Prack,
    /// `PUBLISH`, RFC 3903.
    Publish,
    /// `REFER`, RFC 3515.
    Refer,
    /// `REGISTER`, RFC 3261.
    Register,
    /// `SUBSCRIBE`, RFC 6665.
    Subscribe,
    /// `UPDATE`, RFC 3311.
    Update,
    /// Any other method; never the spelling of one above when it comes from
    /// [`Method::from_bytes`].
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// Reads a method. Never fails; whether an unknown one is a token is for
    /// the message parser to judge.
    pub const fn from_bytes(method: &'a [u8]) -> Self {
        match method {
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"INFO" => Self::Info,
            b"INVITE" => Self::Invite,
            b"MESSAGE" => Self::Message,
            b"NOTIFY" => Self::Notify,
            b"OPTIONS" => Self::Options,
            b"PRACK" => Self::Prack,
            b"PUBLISH" => Self::Publish,
            b"REFER" => Self::Refer,
            b"REGISTER" => Self::Register,
            b"SUBSCRIBE" => Self::Subscribe,
            b"UPDATE" => Self::Update,
            other => Self::Other(other),
        }
    }

    /// The method as it is written on the wire.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Ack => b"ACK",
            Self::Bye => b"BYE",
            Self::Cancel => b"CANCEL",
            Self::Info => b"INFO",
            Self::Invite => b"INVITE",
            Self::Message => b"MESSAGE",
            Self::Notify => b"NOTIFY",
            Self::Options => b"OPTIONS",
            Self::Prack => b"PRACK",
            Self::Publish => b"PUBLISH",
            Self::Refer => b"REFER",
            Self::Register => b"REGISTER",
            Self::Subscribe => b"SUBSCRIBE",
            Self::Update => b"UPDATE",
            Self::Other(method) => method,
        }
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: 3261-7.1-3
    #[test]
    fn methods_are_case_sensitive() {
        for name in [
            "ACK",
            "BYE",
            "CANCEL",
            "INFO",
            "INVITE",
            "MESSAGE",
            "NOTIFY",
            "OPTIONS",
            "PRACK",
            "PUBLISH",
            "REFER",
            "REGISTER",
            "SUBSCRIBE",
            "UPDATE",
        ] {
            let method = Method::from_bytes(name.as_bytes());
            assert!(!matches!(method, Method::Other(_)), "{name}");
            assert_eq!(method.as_bytes(), name.as_bytes());
            let lower = name.to_ascii_lowercase();
            assert_eq!(Method::from_bytes(lower.as_bytes()), Method::Other(lower.as_bytes()));
        }
    }
}
