//! Header field names: recognised without regard to case and by compact form
//! (RFC 3261, section 7.3.3), found through a perfect hash of their octets.

use super::scan;
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
            #[inline(always)]
            pub(crate) const fn id(self) -> Option<u8> {
                match self {
                    $(Self::$variant => Some(Index::$variant as u8),)+
                    Self::Other(_) => None,
                }
            }

            /// A known name with what follows it in a field line.
            const fn with_colon(self) -> &'static [u8] {
                match self {
                    $(Self::$variant => concat!($text, ": ").as_bytes(),)+
                    Self::Other(_) => b": ",
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

/// A free place in the table of names.
const NO_NAME: u8 = u8::MAX;
/// Longer names than three words hold, colon included, are not known.
const LONGEST: usize = 23;
const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
const COLONS: u64 = u64::from_le_bytes([b':'; 8]);
const TABLE_BITS: u32 = 9;

/// Ids of known names, long and compact, by [`Spelling::place`].
static TABLE: [u8; 1 << TABLE_BITS] = table();

/// A known name with what follows it in a field line, and how long that is.
/// All are as wide as the longest, so that copying one is a few moves.
static LINE_STARTS: [([u8; LONGEST + 1], u8); KNOWN.len()] = line_starts();

const fn line_starts() -> [([u8; LONGEST + 1], u8); KNOWN.len()] {
    let mut starts = [([b' '; LONGEST + 1], 0u8); KNOWN.len()];
    let mut cells: &mut [([u8; LONGEST + 1], u8)] = &mut starts;
    let mut names = KNOWN;
    while let ([name, more @ ..], [(text, len), tail @ ..]) = (names, cells) {
        let mut places: &mut [u8] = text;
        let mut octets = name.with_colon();
        while let ([octet, others @ ..], [place, free @ ..]) = (octets, places) {
            *place = *octet;
            *len = len.wrapping_add(1);
            octets = others;
            places = free;
        }
        names = more;
        cells = tail;
    }
    starts
}

/// How each known name is spelt, by id.
static SPELT: [Spelling; KNOWN.len()] = spelt();

const fn table() -> [u8; 1 << TABLE_BITS] {
    let mut table = [NO_NAME; 1 << TABLE_BITS];
    let mut names = KNOWN;
    let mut id = 0u8;
    while let [name, rest @ ..] = names {
        note(&mut table, name.as_bytes(), id);
        if let Some(letter) = name.compact() {
            note(&mut table, &[letter], id);
        }
        names = rest;
        id = id.wrapping_add(1);
    }
    table
}

const fn note(table: &mut [u8], name: &[u8], id: u8) {
    let Some(spelling) = Spelling::of(name) else { return };
    let (_, from) = table.split_at_mut(spelling.place());
    if let Some(cell) = from.first_mut() {
        *cell = id;
    }
}

const fn spelt() -> [Spelling; KNOWN.len()] {
    let mut spelt = [Spelling { words: [0; 3], len: 0 }; KNOWN.len()];
    let mut cells: &mut [Spelling] = &mut spelt;
    let mut names = KNOWN;
    while let ([name, more @ ..], [cell, tail @ ..]) = (names, cells) {
        if let Some(spelling) = Spelling::of(name.as_bytes()) {
            *cell = spelling;
        }
        names = more;
        cells = tail;
    }
    spelt
}

const fn word(octets: &[u8]) -> u64 {
    match octets.first_chunk::<8>() {
        Some(octets) => u64::from_le_bytes(*octets),
        None => 0,
    }
}

/// The octets of a name as little-endian words, zeros behind it.
#[derive(Clone, Copy, PartialEq)]
struct Spelling {
    words: [u64; 3],
    len: usize,
}

impl Spelling {
    const fn of(name: &[u8]) -> Option<Self> {
        if name.len() > LONGEST {
            return None;
        }
        let mut octets = [0; 24];
        let mut cells: &mut [u8] = &mut octets;
        let mut rest = name;
        while let ([cell, more @ ..], [octet, tail @ ..]) = (cells, rest) {
            *cell = *octet;
            cells = more;
            rest = tail;
        }
        let (first, rest) = octets.split_at(8);
        let (second, third) = rest.split_at(8);
        Some(Self { words: [word(first), word(second), word(third)], len: name.len() })
    }

    /// Where the name is in [`TABLE`]. No two known names share a place in any
    /// letter case; the multiplier was searched for.
    #[inline]
    const fn place(&self) -> usize {
        let [first, second, third] = self.words;
        let mut mixed = first | SPACES;
        if self.len >= 8 {
            mixed = mixed.rotate_left(23) ^ (second | SPACES);
        }
        if self.len >= 16 {
            mixed = mixed.rotate_left(23) ^ (third | SPACES);
        }
        (mixed.wrapping_mul(0xb9bd_144b_937e_0363) >> (u64::BITS - TABLE_BITS)) as usize
    }

    /// The only known name that this can be.
    #[inline]
    fn candidate(&self) -> Option<(u8, &'static Self)> {
        let id = *TABLE.get(self.place())?;
        Some((id, SPELT.get(usize::from(id))?))
    }
}

/// The octets of `word` before its first colon, and how many they are.
#[inline]
const fn before_colon(word: u64) -> Option<(u64, usize)> {
    let colons = scan::zero_octets(word ^ COLONS);
    if colons == 0 {
        return None;
    }
    let kept = word & ((colons & colons.wrapping_neg()) >> 7).wrapping_sub(1);
    Some((kept, (colons.trailing_zeros() / 8) as usize))
}

impl<'a> HeaderName<'a> {
    /// The [`HeaderName::id`] of the long name at the start of a field line,
    /// and its length; only if it has the usual spelling and the colon follows
    /// at once.
    #[inline]
    pub(crate) fn at_start(line: &[u8]) -> Option<(u8, usize)> {
        let (first, rest) = line.split_first_chunk::<8>()?;
        let first = u64::from_le_bytes(*first);
        if let Some((first, len)) = before_colon(first) {
            let (id, known) = Spelling { words: [first, 0, 0], len }.candidate()?;
            return (known.len == len && known.words[0] == first).then_some((id, len));
        }
        let (second, rest) = rest.split_first_chunk::<8>()?;
        let second = u64::from_le_bytes(*second);
        if let Some((second, len)) = before_colon(second) {
            let len = len.wrapping_add(8);
            let (id, known) = Spelling { words: [first, second, 0], len }.candidate()?;
            return (known.len == len && known.words[0] == first && known.words[1] == second).then_some((id, len));
        }
        let (third, len) = before_colon(u64::from_le_bytes(*rest.first_chunk::<8>()?))?;
        let spelling = Spelling { words: [first, second, third], len: len.wrapping_add(16) };
        let (id, known) = spelling.candidate()?;
        (*known == spelling).then_some((id, spelling.len))
    }

    /// The [`HeaderName::id`] of a name as it is spelt on the wire.
    pub(crate) fn known_id(name: &[u8]) -> Option<u8> {
        let (id, _) = Spelling::of(name)?.candidate()?;
        let known = KNOWN.get(usize::from(id))?;
        let compact = |letter: u8| known.compact() == Some(letter.to_ascii_lowercase());
        let same = match name {
            [letter] => compact(*letter),
            _ => known.as_bytes().eq_ignore_ascii_case(name),
        };
        same.then_some(id)
    }

    /// How many names have a variant of their own.
    pub(crate) const KNOWN_COUNT: usize = KNOWN.len();

    /// Reads a name in any letter case, long or compact. Never fails: what is
    /// not known becomes [`HeaderName::Other`].
    pub fn from_bytes(name: &'a [u8]) -> Self {
        Self::known_id(name).and_then(Self::from_id).unwrap_or(Self::Other(name))
    }

    /// A known name, colon and blank, with filler behind, and how much of it
    /// counts.
    #[inline(always)]
    pub(crate) fn line_start(self) -> Option<(&'static [u8; LONGEST + 1], usize)> {
        let (text, len) = LINE_STARTS.get(usize::from(self.id()?))?;
        Some((text, usize::from(*len)))
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
                let line = [spelling, b": 7\r\n2: 4\r\n6: 8\r\n"].concat();
                let usual = (spelling == name.as_bytes()).then_some((id, spelling.len()));
                assert_eq!(HeaderName::at_start(&line).map(|(id, len)| (usize::from(id), len)), usual, "{name}");
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
        for line in [
            &b"Vib: 1234567890123456789012"[..],
            b"Via : 123456789012345678901",
            b"Via\0: 123456789012345678901",
            b"\0\0\0\0\0\0\0\0: 34567890123456",
            b": 12345678901234567890123",
            b"Via",
            b"Via: 1",
            b"Content-Length and more of it: 4",
            b"Subscription-State-: 789012345678901",
        ] {
            assert_eq!(HeaderName::at_start(line), None);
        }
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
