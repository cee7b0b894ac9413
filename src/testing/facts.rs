//! What an onlooker reads off a message: a reader of its own, so that the
//! checkers do not believe what the library's parser believes.

/// The parts of a message that the checkers look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The method of a request; empty for a response.
    pub method: &'a [u8],
    /// The Request-URI of a request.
    pub uri: &'a [u8],
    /// The status of a response; 0 for a request.
    pub status: u16,
    /// The branch of the topmost Via.
    pub branch: &'a [u8],
    /// Call-ID.
    pub call_id: &'a [u8],
    /// The tag in From.
    pub from_tag: &'a [u8],
    /// The tag in To, empty outside a dialog.
    pub to_tag: &'a [u8],
    /// The CSeq number.
    pub cseq: u32,
    /// The CSeq method.
    pub cseq_method: &'a [u8],
    /// The value of Event.
    pub event: &'a [u8],
    /// The value of Subscription-State.
    pub state: &'a [u8],
    /// The URI of the first Contact.
    pub contact: &'a [u8],
    /// Expires, seconds.
    pub expires: Option<u32>,
    /// Min-Expires or Retry-After, seconds.
    pub delay: Option<u32>,
    /// What follows the blank line, as far as Content-Length goes (RFC 3261 section 18.3).
    pub body: &'a [u8],
}

impl<'a> Facts<'a> {
    /// Reads the unfolded long or compact field names that this crate, its
    /// proxy and its peers write, in any case. `None` if it has no start line
    /// or no end.
    pub fn read(message: &'a [u8]) -> Option<Self> {
        let mut facts = Self::default();
        let (first, mut rest) = line(message)?;
        let mut length = None;
        if let Some((_, status)) = first.split_at_checked(8).filter(|(version, _)| is_version(version)) {
            facts.status = u16::try_from(number(status.get(..3)?)?).ok()?;
        } else {
            let mut words = first.split(|b| *b == b' ');
            facts.method = words.next()?;
            facts.uri = words.next()?;
            if !words.next()?.eq_ignore_ascii_case(b"SIP/2.0") {
                return None;
            }
        }
        loop {
            let (field, next) = line(rest)?;
            rest = next;
            if field.is_empty() {
                break;
            }
            facts.take(field, &mut length);
        }
        let length = length.and_then(|length| usize::try_from(length).ok());
        facts.body = length.and_then(|length| rest.get(..length)).unwrap_or(rest);
        Some(facts)
    }

    /// Whether all fields are there that every message has.
    pub const fn is_whole(&self) -> bool {
        !self.call_id.is_empty() && !self.cseq_method.is_empty()
    }

    fn take(&mut self, field: &'a [u8], length: &mut Option<u32>) {
        let Some((name, value)) = find(field, b':').and_then(|colon| field.split_at_checked(colon)) else { return };
        let Some(known) = Field::of(name) else { return };
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        match known {
            Field::Via if self.branch.is_empty() => self.branch = param(value, b"branch").unwrap_or_default(),
            Field::Via => {}
            Field::From => self.from_tag = param(value, b"tag").unwrap_or_default(),
            Field::To => self.to_tag = param(value, b"tag").unwrap_or_default(),
            Field::CallId => self.call_id = value,
            Field::CSeq => {
                let mut words = value.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
                self.cseq = words.next().and_then(number).unwrap_or(0);
                self.cseq_method = words.next().unwrap_or_default();
            }
            Field::Event => self.event = value,
            Field::State => self.state = value,
            Field::Contact if self.contact.is_empty() => {
                let start = find(value, b'<').map_or(0, |at| at.saturating_add(1));
                let inner = value.get(start..).unwrap_or_default();
                self.contact = find(inner, b'>').and_then(|end| inner.get(..end)).unwrap_or(inner);
            }
            Field::Contact => {}
            Field::Expires => self.expires = number(value),
            Field::Delay => self.delay = number(value),
            Field::Length => *length = number(value),
        }
    }

    /// The dialog of a request that came, as a number: Call-ID, To tag, From tag.
    pub fn dialog(&self) -> u64 {
        key(&[self.call_id, self.to_tag, self.from_tag])
    }

    /// Whether it is a request with this method.
    pub fn is(&self, method: &[u8]) -> bool {
        self.method == method
    }

    /// Whether it is a final response to a request with this method.
    pub fn answers(&self, method: &[u8]) -> bool {
        self.status >= 200 && self.cseq_method == method
    }

    /// The word before the parameters of Subscription-State.
    pub fn substate(&self) -> &'a [u8] {
        self.state.split(|b| *b == b';').next().unwrap_or_default().trim_ascii()
    }

    /// `expires` of Subscription-State, seconds.
    pub fn state_expires(&self) -> Option<u32> {
        param(self.state, b"expires").and_then(number)
    }
}

/// A field that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Via,
    From,
    To,
    CallId,
    CSeq,
    Event,
    State,
    Contact,
    Expires,
    /// Min-Expires and Retry-After.
    Delay,
    Length,
}

impl Field {
    fn of(name: &[u8]) -> Option<Self> {
        let second = name.get(1).map(u8::to_ascii_lowercase);
        let (long, field): (&[u8], Self) = match (name.first()?.to_ascii_lowercase(), name.len()) {
            (b'v', 1 | 3) => (b"Via", Self::Via),
            (b'f', 1 | 4) => (b"From", Self::From),
            (b't', 1 | 2) => (b"To", Self::To),
            (b'i', 1) => (b"Call-ID", Self::CallId),
            (b'c', 7) if second == Some(b'a') => (b"Call-ID", Self::CallId),
            (b'm', 1) | (b'c', 7) => (b"Contact", Self::Contact),
            (b'c', 4) => (b"CSeq", Self::CSeq),
            (b'o', 1) | (b'e', 5) => (b"Event", Self::Event),
            (b's', 18) => (b"Subscription-State", Self::State),
            (b'e', 7) => (b"Expires", Self::Expires),
            (b'm', 11) => (b"Min-Expires", Self::Delay),
            (b'r', 11) => (b"Retry-After", Self::Delay),
            (b'l', 1) | (b'c', 14) => (b"Content-Length", Self::Length),
            _ => return None,
        };
        (name.len() == 1 || name.eq_ignore_ascii_case(long)).then_some(field)
    }
}

fn is_version(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"SIP/2.0 ")
}

fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = find(text, b'\n')?;
    let (line, rest) = text.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default()))
}

/// The value of a parameter behind the address, if there is one.
fn param<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = match find(value, b'>') {
        Some(at) => value.get(at.saturating_add(1)..)?,
        None => value,
    };
    loop {
        rest = rest.get(find(rest, b';')?.saturating_add(1)..)?;
        let param = rest.trim_ascii_start();
        let Some((own, value)) = param.split_at_checked(name.len()) else { continue };
        if let Some(value) = value.strip_prefix(b"=").filter(|_| own.eq_ignore_ascii_case(name)) {
            let end = value.iter().position(|b| matches!(b, b';' | b',')).unwrap_or(value.len());
            return value.get(..end).map(<[u8]>::trim_ascii);
        }
    }
}

/// A decimal number, clamped to `u32::MAX` (INT-12).
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    let digits = text.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value =
        digits.iter().fold(0u64, |sum, d| sum.saturating_mul(10).saturating_add(u64::from(d.wrapping_sub(b'0'))));
    Some(u32::try_from(value).unwrap_or(u32::MAX))
}

/// A key for maps made of parts of messages.
pub(crate) fn key(parts: &[&[u8]]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, part| mix_bytes(hash, part))
}

/// One more number in a hash.
pub(crate) const fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    mixed ^ (mixed >> 29)
}

/// More bytes in a hash, and how many they are.
pub(crate) fn mix_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let rest = rest.iter().fold(0u64, |word, byte| (word << 8) | u64::from(*byte));
    mix(mix(hash, rest), bytes.len() as u64)
}

/// Where `byte` is, eight at a time.
fn find(text: &[u8], byte: u8) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = text.as_chunks::<8>();
    let pattern = ONES.wrapping_mul(u64::from(byte));
    for (at, word) in words.iter().enumerate() {
        let same = u64::from_le_bytes(*word) ^ pattern;
        let zeros = same.wrapping_sub(ONES) & !same & (ONES << 7);
        if zeros != 0 {
            return Some(at.saturating_mul(8).saturating_add((zeros.trailing_zeros() / 8) as usize));
        }
    }
    let at = rest.iter().position(|b| *b == byte)?;
    Some(words.len().saturating_mul(8).saturating_add(at))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn facts_of_a_notify() {
        let text = b"NOTIFY sip:a@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKx;rport\r\n\
            From: <sip:b@x;tag=no>;tag=wb\r\nTo: <sip:a@x>;tag=sa\r\nCall-ID: c\r\nCSeq: 7 NOTIFY\r\n\
            Contact: <sip:b@10.0.0.2:5060>\r\nSubscription-State: active;expires=99\r\n\
            Content-Length: 4\r\n\r\nbody and more";
        let facts = Facts::read(text).unwrap();
        assert_eq!((facts.from_tag, facts.to_tag, facts.cseq), (&b"wb"[..], &b"sa"[..], 7));
        assert_eq!(
            (facts.branch, facts.substate(), facts.state_expires()),
            (&b"z9hG4bKx"[..], &b"active"[..], Some(99))
        );
        assert_eq!((facts.contact, facts.body), (&b"sip:b@10.0.0.2:5060"[..], &b"body"[..]));
        assert!(Facts::read(b"\r\n\r\n").is_none());
    }

    #[test]
    fn names_long_and_compact_in_any_case() {
        for (names, field) in [
            ("Via v", Field::Via),
            ("From f", Field::From),
            ("To t", Field::To),
            ("Call-ID i", Field::CallId),
            ("CSeq", Field::CSeq),
            ("Event o", Field::Event),
            ("Subscription-State", Field::State),
            ("Contact m", Field::Contact),
            ("Expires", Field::Expires),
            ("Min-Expires Retry-After", Field::Delay),
            ("Content-Length l", Field::Length),
        ] {
            for name in names.split(' ') {
                for name in [name.to_string(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                    assert_eq!(Field::of(name.as_bytes()), Some(field), "{name}");
                }
            }
        }
        for name in ["", "u", "k", "Tp", "Vja", "Contacu", "Call_ID", "Max-Forwards", "Record-Route", "Allow-Event"] {
            assert_eq!(Field::of(name.as_bytes()), None, "{name}");
        }
    }
}
