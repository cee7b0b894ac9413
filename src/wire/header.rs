//! Header field names: recognised without regard to case and by compact form
//! (RFC 3261, section 7.3.3), dispatched on length and first letter.

use core::fmt;

macro_rules! header_names {
    ($($variant:ident = $text:literal,)+) => {
        /// The name of a header field.
        ///
        /// Names this crate knows are variants of their own, whatever spelling
        /// they had on the wire; any other name keeps its bytes in
        /// [`HeaderName::Other`]. Equality ignores ASCII case, and an `Other`
        /// that spells a known name equals that name.
        #[derive(Clone, Copy)]
        #[non_exhaustive]
        pub enum HeaderName<'a> {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
            /// A name without a variant, as it was spelt.
            Other(&'a [u8]),
        }

        /// Every known name, at the index that is its [`HeaderName::id`].
        const KNOWN: &[HeaderName<'static>] = &[$(HeaderName::$variant),+];

        #[repr(u8)]
        enum Index { $($variant),+ }

        impl<'a> HeaderName<'a> {
            /// A small number for a known name, below [`HeaderName::KNOWN_COUNT`].
            #[inline]
            pub(crate) const fn id(self) -> Option<u8> {
                match self {
                    $(Self::$variant => Some(Index::$variant as u8),)+
                    Self::Other(_) => None,
                }
            }

            /// A known name with what follows it in a field line.
            pub(crate) const fn line_start(self) -> Option<&'static [u8]> {
                match self {
                    $(Self::$variant => Some(concat!($text, ": ").as_bytes()),)+
                    Self::Other(_) => None,
                }
            }

            /// The name as RFC 3261 and its extensions spell it; the original
            /// bytes of an unknown name.
            pub const fn as_bytes(&self) -> &'a [u8] {
                match self {
                    $(Self::$variant => $text.as_bytes(),)+
                    Self::Other(name) => name,
                }
            }
        }
    };
}

header_names! {
    Accept = "Accept",
    AcceptContact = "Accept-Contact",
    AcceptEncoding = "Accept-Encoding",
    AcceptLanguage = "Accept-Language",
    AlertInfo = "Alert-Info",
    Allow = "Allow",
    AllowEvents = "Allow-Events",
    AuthenticationInfo = "Authentication-Info",
    Authorization = "Authorization",
    CallId = "Call-ID",
    CallInfo = "Call-Info",
    Contact = "Contact",
    ContentDisposition = "Content-Disposition",
    ContentEncoding = "Content-Encoding",
    ContentId = "Content-ID",
    ContentLanguage = "Content-Language",
    ContentLength = "Content-Length",
    ContentType = "Content-Type",
    CSeq = "CSeq",
    Date = "Date",
    ErrorInfo = "Error-Info",
    Event = "Event",
    Expires = "Expires",
    FlowTimer = "Flow-Timer",
    From = "From",
    HistoryInfo = "History-Info",
    Identity = "Identity",
    IdentityInfo = "Identity-Info",
    InReplyTo = "In-Reply-To",
    InfoPackage = "Info-Package",
    Join = "Join",
    MaxBreadth = "Max-Breadth",
    MaxForwards = "Max-Forwards",
    MimeVersion = "MIME-Version",
    MinExpires = "Min-Expires",
    MinSe = "Min-SE",
    Organization = "Organization",
    PAssertedIdentity = "P-Asserted-Identity",
    PPreferredIdentity = "P-Preferred-Identity",
    Path = "Path",
    PermissionMissing = "Permission-Missing",
    Priority = "Priority",
    Privacy = "Privacy",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyRequire = "Proxy-Require",
    RAck = "RAck",
    Reason = "Reason",
    RecordRoute = "Record-Route",
    RecvInfo = "Recv-Info",
    ReferEventsAt = "Refer-Events-At",
    ReferSub = "Refer-Sub",
    ReferTo = "Refer-To",
    ReferredBy = "Referred-By",
    RejectContact = "Reject-Contact",
    Replaces = "Replaces",
    ReplyTo = "Reply-To",
    RequestDisposition = "Request-Disposition",
    Require = "Require",
    RetryAfter = "Retry-After",
    Route = "Route",
    RSeq = "RSeq",
    Server = "Server",
    ServiceRoute = "Service-Route",
    SessionExpires = "Session-Expires",
    SipEtag = "SIP-ETag",
    SipIfMatch = "SIP-If-Match",
    Subject = "Subject",
    SubscriptionState = "Subscription-State",
    Supported = "Supported",
    SuppressIfMatch = "Suppress-If-Match",
    TargetDialog = "Target-Dialog",
    Timestamp = "Timestamp",
    To = "To",
    TriggerConsent = "Trigger-Consent",
    Unsupported = "Unsupported",
    UserAgent = "User-Agent",
    Via = "Via",
    Warning = "Warning",
    WwwAuthenticate = "WWW-Authenticate",
}

/// No name, or several names, of that length begin with that letter.
const NO_NAME: u8 = u8::MAX;
const MANY_NAMES: u8 = u8::MAX - 1;
const LONGEST: usize = 20;

/// Ids of known names by length and first letter.
static SHAPES: [[u8; 26]; LONGEST + 1] = shapes();

const fn shapes() -> [[u8; 26]; LONGEST + 1] {
    let mut table = [[NO_NAME; 26]; LONGEST + 1];
    let mut names = KNOWN;
    let mut id = 0u8;
    while let [name, rest @ ..] = names {
        let text = name.as_bytes();
        if let [first, ..] = text {
            note(&mut table, text.len(), *first, id);
        }
        if let Some(letter) = name.compact() {
            note(&mut table, 1, letter, id);
        }
        names = rest;
        id = id.wrapping_add(1);
    }
    table
}

const fn note(table: &mut [[u8; 26]; LONGEST + 1], len: usize, letter: u8, id: u8) {
    let (_, from) = table.split_at_mut(len);
    let Some(row) = from.first_mut() else { return };
    let (_, from) = row.split_at_mut(letter.to_ascii_lowercase().wrapping_sub(b'a') as usize);
    if let Some(cell) = from.first_mut() {
        *cell = if *cell == NO_NAME { id } else { MANY_NAMES };
    }
}

impl<'a> HeaderName<'a> {
    /// The [`HeaderName::id`] of a name as it is spelt on the wire.
    #[inline]
    pub(crate) fn known_id(name: &[u8]) -> Option<u8> {
        let first = *name.first()?;
        let column = usize::from((first | 0x20).wrapping_sub(b'a'));
        match *SHAPES.get(name.len())?.get(column)? {
            NO_NAME => None,
            MANY_NAMES => HeaderName::from_bytes(name).id(),
            id => {
                let spelt = KNOWN.get(usize::from(id))?.as_bytes();
                (name.len() == 1 || spelt == name || spelt.eq_ignore_ascii_case(name)).then_some(id)
            }
        }
    }

    /// How many names have a variant of their own.
    pub(crate) const KNOWN_COUNT: usize = KNOWN.len();

    /// Reads a name in any letter case, long or compact. Never fails: what is
    /// not known becomes [`HeaderName::Other`].
    pub fn from_bytes(name: &'a [u8]) -> Self {
        let candidate = Self::candidate(name);
        // Most come in the usual spelling, and equal bytes are found at once.
        let spelt = candidate.as_bytes();
        let known = name.len() == 1 || spelt == name || spelt.eq_ignore_ascii_case(name);
        if known { candidate } else { Self::Other(name) }
    }

    /// The only known name that `name` can be, judged by its length, its
    /// first letter and where needed one letter more.
    fn candidate(name: &'a [u8]) -> Self {
        let (Some(first), Some(last)) = (name.first(), name.last()) else {
            return Self::Other(name);
        };
        let (first, last) = (first.to_ascii_lowercase(), last.to_ascii_lowercase());
        match (name.len(), first) {
            (1, b'a') => Self::AcceptContact,
            (1, b'u') => Self::AllowEvents,
            (1, b'i') => Self::CallId,
            (1, b'm') => Self::Contact,
            (1, b'e') => Self::ContentEncoding,
            (1, b'l') => Self::ContentLength,
            (1, b'c') => Self::ContentType,
            (1, b'o') => Self::Event,
            (1, b'f') => Self::From,
            (1, b'y') => Self::Identity,
            (1, b'n') => Self::IdentityInfo,
            (1, b'r') => Self::ReferTo,
            (1, b'b') => Self::ReferredBy,
            (1, b'j') => Self::RejectContact,
            (1, b'd') => Self::RequestDisposition,
            (1, b'x') => Self::SessionExpires,
            (1, b's') => Self::Subject,
            (1, b'k') => Self::Supported,
            (1, b't') => Self::To,
            (1, b'v') => Self::Via,
            (2, b't') => Self::To,
            (3, b'v') => Self::Via,
            (4, b'c') => Self::CSeq,
            (4, b'd') => Self::Date,
            (4, b'f') => Self::From,
            (4, b'j') => Self::Join,
            (4, b'p') => Self::Path,
            (4, b'r') if last == b'k' => Self::RAck,
            (4, b'r') => Self::RSeq,
            (5, b'a') => Self::Allow,
            (5, b'e') => Self::Event,
            (5, b'r') => Self::Route,
            (6, b'a') => Self::Accept,
            (6, b'm') => Self::MinSe,
            (6, b'r') => Self::Reason,
            (6, b's') => Self::Server,
            (7, b'c') if last == b'd' => Self::CallId,
            (7, b'c') => Self::Contact,
            (7, b'e') => Self::Expires,
            (7, b'p') => Self::Privacy,
            (7, b'r') => Self::Require,
            (7, b's') => Self::Subject,
            (7, b'w') => Self::Warning,
            (8, b'i') => Self::Identity,
            (8, b'p') => Self::Priority,
            (8, b'r') if last == b's' => Self::Replaces,
            (8, b'r') if name.get(2).is_some_and(|b| b.eq_ignore_ascii_case(&b'p')) => Self::ReplyTo,
            (8, b'r') => Self::ReferTo,
            (8, b's') => Self::SipEtag,
            (9, b'c') => Self::CallInfo,
            (9, b'r') if last == b'o' => Self::RecvInfo,
            (9, b'r') => Self::ReferSub,
            (9, b's') => Self::Supported,
            (9, b't') => Self::Timestamp,
            (10, b'a') => Self::AlertInfo,
            (10, b'c') => Self::ContentId,
            (10, b'e') => Self::ErrorInfo,
            (10, b'f') => Self::FlowTimer,
            (10, b'u') => Self::UserAgent,
            (11, b'i') => Self::InReplyTo,
            (11, b'm') if last == b'h' => Self::MaxBreadth,
            (11, b'm') => Self::MinExpires,
            (11, b'r') if last == b'y' => Self::ReferredBy,
            (11, b'r') => Self::RetryAfter,
            (11, b'u') => Self::Unsupported,
            (12, b'a') => Self::AllowEvents,
            (12, b'c') => Self::ContentType,
            (12, b'h') => Self::HistoryInfo,
            (12, b'i') => Self::InfoPackage,
            (12, b'm') if last == b's' => Self::MaxForwards,
            (12, b'm') => Self::MimeVersion,
            (12, b'o') => Self::Organization,
            (12, b'r') => Self::RecordRoute,
            (12, b's') => Self::SipIfMatch,
            (13, b'a') => Self::Authorization,
            (13, b'i') => Self::IdentityInfo,
            (13, b'p') => Self::ProxyRequire,
            (13, b's') => Self::ServiceRoute,
            (13, b't') => Self::TargetDialog,
            (14, b'a') => Self::AcceptContact,
            (14, b'c') => Self::ContentLength,
            (14, b'r') => Self::RejectContact,
            (15, b'a') if last == b'g' => Self::AcceptEncoding,
            (15, b'a') => Self::AcceptLanguage,
            (15, b'r') => Self::ReferEventsAt,
            (15, b's') => Self::SessionExpires,
            (15, b't') => Self::TriggerConsent,
            (16, b'c') if last == b'g' => Self::ContentEncoding,
            (16, b'c') => Self::ContentLanguage,
            (16, b'w') => Self::WwwAuthenticate,
            (17, b's') => Self::SuppressIfMatch,
            (18, b'p') if last == b'g' => Self::PermissionMissing,
            (18, b'p') => Self::ProxyAuthenticate,
            (18, b's') => Self::SubscriptionState,
            (19, b'a') => Self::AuthenticationInfo,
            (19, b'c') => Self::ContentDisposition,
            (19, b'p') if last == b'y' => Self::PAssertedIdentity,
            (19, b'p') => Self::ProxyAuthorization,
            (19, b'r') => Self::RequestDisposition,
            (20, b'p') => Self::PPreferredIdentity,
            _ => Self::Other(name),
        }
    }

    /// The known name with this [`HeaderName::id`].
    pub(crate) fn from_id(id: u8) -> Option<HeaderName<'static>> {
        KNOWN.get(usize::from(id)).copied()
    }

    /// The one-letter form, where one is registered.
    pub const fn compact(self) -> Option<u8> {
        Some(match self {
            Self::AcceptContact => b'a',
            Self::AllowEvents => b'u',
            Self::CallId => b'i',
            Self::Contact => b'm',
            Self::ContentEncoding => b'e',
            Self::ContentLength => b'l',
            Self::ContentType => b'c',
            Self::Event => b'o',
            Self::From => b'f',
            Self::Identity => b'y',
            Self::IdentityInfo => b'n',
            Self::ReferTo => b'r',
            Self::ReferredBy => b'b',
            Self::RejectContact => b'j',
            Self::RequestDisposition => b'd',
            Self::SessionExpires => b'x',
            Self::Subject => b's',
            Self::Supported => b'k',
            Self::To => b't',
            Self::Via => b'v',
            _ => return None,
        })
    }

    /// `Other` that spells a known name becomes that name.
    #[inline]
    pub(crate) fn canonical(self) -> Self {
        match self {
            Self::Other(name) => Self::from_bytes(name),
            known => known,
        }
    }
}

impl PartialEq<HeaderName<'_>> for HeaderName<'_> {
    fn eq(&self, other: &HeaderName<'_>) -> bool {
        match (self.canonical(), other.canonical()) {
            (HeaderName::Other(a), HeaderName::Other(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a.id() == b.id(),
        }
    }
}

impl Eq for HeaderName<'_> {}

impl fmt::Display for HeaderName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for HeaderName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Covers: 3261-7.3.3-1, 3261-7.3.1-8
    #[test]
    fn every_known_name_is_found_in_any_case_and_compact() {
        assert_eq!(HeaderName::KNOWN_COUNT, 80);
        for (id, name) in KNOWN.iter().enumerate() {
            let upper: Vec<u8> = name.as_bytes().to_ascii_uppercase();
            let lower: Vec<u8> = name.as_bytes().to_ascii_lowercase();
            for spelling in [name.as_bytes(), &upper, &lower] {
                assert_eq!(HeaderName::known_id(spelling).map(usize::from), Some(id), "{name}");
                let found = HeaderName::from_bytes(spelling);
                assert_eq!(found.id().map(usize::from), Some(id), "{name}");
                assert_eq!(found.as_bytes(), name.as_bytes());
            }
            if let Some(letter) = name.compact() {
                assert_eq!(HeaderName::from_bytes(&[letter]).id(), name.id());
                let upper = [letter.to_ascii_uppercase()];
                assert_eq!(HeaderName::from_bytes(&upper).id(), name.id());
            }
        }
        for byte in 0..=u8::MAX {
            assert_eq!(HeaderName::known_id(&[byte]), HeaderName::from_bytes(&[byte]).id());
        }
        let letters: Vec<u8> = (0..=u8::MAX)
            .filter(|b| HeaderName::from_bytes(&[*b]).id().is_some())
            .filter(u8::is_ascii_lowercase)
            .collect();
        assert_eq!(letters, b"abcdefijklmnorstuvxy");
    }

    #[test]
    fn near_misses_stay_unknown() {
        for name in [&b""[..], b"z", b"Vi", b"Vib", b"Frim", b"Refer-Te", b"Min-Expired", b"X-Foo", b"Event\x00"] {
            assert!(HeaderName::from_bytes(name).id().is_none());
            assert_eq!(HeaderName::known_id(name), None);
            assert_eq!(HeaderName::from_bytes(name).as_bytes(), name);
        }
    }

    /// Covers: 3261-7.3.1-8
    #[test]
    fn equality_sees_through_spelling() {
        assert_eq!(HeaderName::Other(b"x-foo"), HeaderName::Other(b"X-Foo"));
        assert_eq!(HeaderName::Other(b"o"), HeaderName::Event);
        assert_eq!(HeaderName::CallId, HeaderName::Other(b"CALL-ID"));
        assert_ne!(HeaderName::Event, HeaderName::Expires);
        assert_ne!(HeaderName::Other(b"x"), HeaderName::Other(b"X-Foo"));
    }
}
