//! Several endpoints side by side, each on a core or a machine of its own: who
//! of them gets a message.

use alloc::vec::Vec;

use crate::entropy::{Entropy, Minted, Seed};
use crate::error::Misuse;
use crate::wire::{HeaderName, NameAddr, Uri, Via, lex, resource_key};

/// Every branch of RFC 3261 starts with it.
const COOKIE: &[u8] = b"z9hG4bK";

/// Tells whose each message is among endpoints that share an address.
///
/// Each endpoint is configured with its number
/// ([`Config::with_shard`](crate::Config::with_shard)), which its tags and
/// branches carry: a response, and a request inside a dialog of ours, names
/// its shard. Any other request goes by the resource in its Request-URI, so
/// that all watchers of a resource are with one shard. A message is not parsed
/// for that, but for the one header field that decides; one that is no SIP
/// goes to shard 0.
///
/// ```
/// use sip_events::{Seed, Shards};
/// let shards = Shards::new(&Seed([7; 32]), 2)?;
/// let request = b"SUBSCRIBE sip:bob@example.com SIP/2.0\r\nTo: <sip:bob@example.com>\r\n\r\n";
/// let again = b"SUBSCRIBE sip:bob@EXAMPLE.com;x=y SIP/2.0\r\nt: <sip:bob@example.com>\r\n\r\n";
/// assert_eq!(shards.owner(request), shards.owner(again));
/// # Ok::<(), sip_events::Misuse>(())
/// ```
#[derive(Debug, Clone)]
pub struct Shards {
    entropy: Entropy,
    count: u8,
}

impl Shards {
    /// `count` shards, numbered from 0. Whoever dispatches for the same shards
    /// needs the same `seed`, which need not be that of an endpoint.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] for 0.
    pub fn new(seed: &Seed, count: u8) -> Result<Self, Misuse> {
        if count == 0 {
            return Err(Misuse::BadValue);
        }
        Ok(Self { entropy: Entropy::new(seed, 4), count })
    }

    /// How many there are.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// The shard that gets `message`: always one below [`count`](Self::count).
    pub fn owner(&self, message: &[u8]) -> u8 {
        let start = message.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
        let message = message.get(start..).unwrap_or_default();
        let (line, fields) = split_line(message);
        if line.get(..4).is_some_and(|first| first.eq_ignore_ascii_case(b"SIP/")) {
            return self.named(branch(fields)).unwrap_or(0);
        }
        self.named(to_tag(fields)).unwrap_or_else(|| self.of_request_uri(line))
    }

    /// The shard of the resource `uri`: the one to give its state to. 0 for
    /// what is no URI.
    pub fn of_resource(&self, uri: &[u8]) -> u8 {
        let Ok(uri) = Uri::parse(uri) else { return 0 };
        let mut key = Vec::with_capacity(64);
        resource_key(&uri, &mut key);
        let hash = self.entropy.hash(&[&key]);
        u8::try_from(hash.checked_rem(u64::from(self.count)).unwrap_or(0)).unwrap_or(0)
    }

    fn of_request_uri(&self, line: &[u8]) -> u8 {
        self.of_resource(line.split(|byte| *byte == b' ').nth(1).unwrap_or_default())
    }

    fn named(&self, minted: Option<Minted>) -> Option<u8> {
        minted.map(Minted::shard).filter(|shard| *shard < self.count)
    }
}

fn branch(fields: &[u8]) -> Option<Minted> {
    let top = lex::split_list(value_of(fields, HeaderName::Via)?).next()?;
    Minted::read(Via::parse(top).ok()?.branch()?.strip_prefix(COOKIE)?)
}

fn to_tag(fields: &[u8]) -> Option<Minted> {
    Minted::read(NameAddr::parse(value_of(fields, HeaderName::To)?).ok()?.tag()?)
}

/// The first line without its end, and what follows.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default())
}

/// The value of the first field of that name, folds included.
fn value_of<'a>(mut fields: &'a [u8], name: HeaderName<'_>) -> Option<&'a [u8]> {
    let initial = name.as_bytes().first()?.to_ascii_lowercase();
    loop {
        let (line, mut rest) = split_line(fields);
        // Both spellings of the names in question begin with one letter.
        let first = line.first()?.to_ascii_lowercase();
        if first == initial
            && let Some(colon) = line.iter().position(|byte| *byte == b':')
            && HeaderName::from_bytes(line.get(..colon)?.trim_ascii_end()) == name
        {
            let mut len = line.len();
            while let Some(b' ' | b'\t') = rest.first() {
                let (more, after) = split_line(rest);
                let end = rest.len().saturating_sub(after.len());
                len = fields.len().saturating_sub(rest.len()).saturating_add(more.len().min(end));
                rest = after;
            }
            return fields.get(colon.saturating_add(1)..len).map(lex::trim);
        }
        fields = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Role;
    use alloc::format;

    fn minted(role: Role, shard: u8) -> alloc::string::String {
        let text = Minted { role, slot: 77, nonce: 0x0123_4567_89ab_cd00 | u64::from(shard) }.text();
        alloc::string::String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn tags_and_branches_name_their_shard() {
        let shards = Shards::new(&Seed([1; 32]), 200).unwrap();
        for shard in 0..200 {
            let tag = minted(Role::Notifier, shard);
            for to in [
                format!("To: <sip:b@c>;tag={tag}"),
                format!("t: <sip:b@c>;tag={tag}"),
                format!("TO : \"x;tag=y\" <sip:b@c>;x=1;TAG={tag}"),
                format!("To:\r\n <sip:b@c>\r\n\t;tag={tag}"),
            ] {
                let text = format!("SUBSCRIBE sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n{to}\r\nTotal: 1\r\n\r\n");
                assert_eq!(shards.owner(text.as_bytes()), shard, "{text}");
            }
            let branch = minted(Role::Client, shard);
            for via in [
                format!("Via: SIP/2.0/UDP h;branch=z9hG4bK{branch}"),
                format!("v: SIP/2.0/UDP h;received=1.2.3.4;branch=z9hG4bK{branch}, SIP/2.0/UDP i"),
            ] {
                let text = format!("\r\nSIP/2.0 200 OK\r\n{via}\r\nTo: <sip:b@c>;tag=x\r\n\r\n");
                assert_eq!(shards.owner(text.as_bytes()), shard, "{text}");
            }
        }
    }

    #[test]
    fn other_requests_go_by_the_resource_and_all_shards_get_some() {
        let shards = Shards::new(&Seed([1; 32]), 4).unwrap();
        let mut seen = [0u32; 4];
        for user in 0..4_000 {
            let shard = shards.of_resource(format!("sip:user{user}@example.com").as_bytes());
            seen[usize::from(shard)] += 1;
            // A foreign tag, one of a shard that is not there, none.
            for to in ["<sip:a@b>;tag=1".into(), format!("<sip:a@b>;tag={}", minted(Role::Notifier, 4)), "<x>".into()] {
                let text = format!("SUBSCRIBE sip:user{user}@EXAMPLE.com SIP/2.0\r\nTo: {to}\r\n\r\n");
                assert_eq!(shards.owner(text.as_bytes()), shard);
            }
        }
        assert!(seen.iter().all(|count| (850..1_150).contains(count)), "{seen:?}");
        assert_eq!(Shards::new(&Seed([1; 32]), 0).err(), Some(Misuse::BadValue));
    }

    #[test]
    fn whatever_comes_has_an_owner() {
        let shards = Shards::new(&Seed([1; 32]), 3).unwrap();
        let whole = format!("SUBSCRIBE sip:b@c SIP/2.0\r\nTo: <sip:b@c>;tag={}\r\n\r\n", minted(Role::Notifier, 2));
        for end in 0..whole.len() {
            assert!(shards.owner(&whole.as_bytes()[..end]) < 3);
        }
        for junk in [&b""[..], b"\r\n\r\n", b"\0\0\0", b"SIP/2.0", b"SIP/2.0 200 OK\r\nVia:\r\n", b"A B C\r\nTo\r\nTo:"]
        {
            assert!(shards.owner(junk) < 3);
        }
    }
}
