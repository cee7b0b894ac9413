//! By what a request is recognised when it comes again (RFC 3261 sections
//! 17.2.3 and 8.2.2.2).

use alloc::vec::Vec;

use crate::entropy::Entropy;
use crate::wire::{CSeq, Host, Message, NameAddr, ParseError, Via, read};

/// The parts of a sound request by which it is told from others.
#[derive(Debug, Clone)]
pub(super) struct Identity<'a> {
    pub(super) via: Via<'a>,
    pub(super) from: NameAddr<'a>,
    pub(super) to: NameAddr<'a>,
    pub(super) call_id: &'a [u8],
    pub(super) cseq: CSeq<'a>,
    uri: &'a [u8],
}

impl<'a> Identity<'a> {
    pub(super) fn of(message: &'a Message<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            via: read::top_via(message)?,
            from: read::from(message)?,
            to: read::to(message)?,
            call_id: read::call_id(message)?,
            cseq: read::cseq(message)?,
            uri: message.uri().unwrap_or_default(),
        })
    }

    /// Appends the key of the server transaction of this request, or (with
    /// another `method`) of the one that it cancels.
    pub(super) fn transaction_key(&self, method: &[u8], out: &mut Vec<u8>) {
        if let Some(branch) = self.via.branch()
            && self.via.has_cookie()
        {
            out.reserve(branch.len().saturating_add(method.len()).saturating_add(64));
            out.push(3);
            push(out, branch);
            push_host(out, &self.via);
            push(out, method);
            return;
        }
        // RFC 2543 peers.
        let tags = [self.to.tag(), self.from.tag()];
        let texts = [self.uri, self.call_id, self.via.as_bytes(), method].into_iter().chain(tags.into_iter().flatten());
        out.reserve(texts.fold(64usize, |size, text| size.saturating_add(text.len())));
        out.push(2);
        push(out, self.uri);
        for tag in tags {
            out.push(u8::from(tag.is_some()));
            push(out, tag.unwrap_or_default());
        }
        push(out, self.call_id);
        out.extend_from_slice(&self.cseq.number.to_be_bytes());
        push(out, method);
        push(out, self.via.as_bytes());
    }

    /// Appends what two copies of one request have in common that came along
    /// different ways.
    pub(super) fn merge_key(&self, out: &mut Vec<u8>) {
        let tag = self.from.tag().unwrap_or_default();
        out.reserve_exact(tag.len().saturating_add(self.call_id.len()).saturating_add(64));
        push(out, tag);
        push(out, self.call_id);
        out.extend_from_slice(&self.cseq.number.to_be_bytes());
        push(out, self.cseq.method.as_bytes());
    }

    /// A To tag for an answer of which nothing is remembered: the same for
    /// every copy of the request (3261-8.2.7-1).
    pub(super) fn stateless_tag(&self, entropy: &Entropy) -> [u8; 16] {
        let mut key = Vec::with_capacity(128);
        key.extend_from_slice(b"tag");
        self.transaction_key(b"", &mut key);
        self.merge_key(&mut key);
        hex(entropy.hash(&[&key]))
    }
}

/// Longest key that is kept as it is, bytes.
const MAX_KEY: usize = 256;

/// Puts 128 bits of a keyed hash in the place of an overlong key: what is kept
/// of a request is about as long as its answer.
pub(super) fn condense(entropy: &Entropy, text: &mut Vec<u8>) {
    if text.len() <= MAX_KEY {
        return;
    }
    let hashes = [entropy.hash(&[text]), entropy.hash(&[b"key", text])];
    // Nor is its memory kept.
    text.clear();
    text.shrink_to(MAX_KEY);
    // No key begins so.
    text.push(u8::MAX);
    text.extend(hashes.into_iter().flat_map(u64::to_be_bytes));
}

pub(super) fn hex(value: u64) -> [u8; 16] {
    let mut out = [0; 16];
    for (digit, shift) in out.iter_mut().zip((0..64).step_by(4).rev()) {
        let nibble = u8::try_from((value >> shift) & 15).unwrap_or(0);
        *digit = b"0123456789abcdef".get(usize::from(nibble)).copied().unwrap_or(b'0');
    }
    out
}

fn push(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(part);
}

fn push_host(out: &mut Vec<u8>, via: &Via<'_>) {
    match via.host() {
        Host::V4(ip) => out.extend_from_slice(&ip.octets()),
        host => {
            let start = out.len();
            host.write(out);
            if let Some(host) = out.get_mut(start..) {
                host.make_ascii_lowercase();
            }
        }
    }
    out.push(0);
    out.extend_from_slice(&via.port().unwrap_or(0).to_be_bytes());
}
