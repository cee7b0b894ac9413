//! The state of an endpoint as bytes: to go on after a restart, on another
//! machine, or as a hot standby.
//!
//! A snapshot is built from state, never from messages as they came. It begins
//! with a name and the number of its form, and ends with its length and a
//! checksum. In between, objects stand in the order of their slots, with times
//! as what is left of them. It holds no seed, but the identifiers of all
//! dialogs, and every document: keep it as secret as those are.

mod tables;
mod values;
mod writer;

use alloc::vec::Vec;
use core::hash::Hasher;

use siphasher::sip::SipHasher24;

pub(crate) use tables::{Cursor, put_free, put_slots, put_table, read_table};
pub use writer::{Progress, SnapshotWriter};

use crate::Instant;
use crate::codec::{Mode, Ranks, Writer};
use crate::config::Limits;
use crate::entropy::Seed;
use crate::error::RestoreError;

/// What whole snapshots begin with.
pub(crate) const SNAPSHOT: &[u8; 8] = b"SIPEVSNP";
/// What the record of one object begins with.
pub(crate) const RECORD: &[u8; 8] = b"SIPEVREC";
/// The number of the form; raised with every change to it, which the tests
/// named `form` notice.
pub(crate) const VERSION: u16 = 2;
const HEAD_LEN: usize = 10;
/// The length of the whole, and the checksum of all before it.
const TAIL_LEN: usize = 16;

/// How an endpoint goes on from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// A new life, with a seed that was never used before: no identifier
    /// repeats, the CSeq numbers of every dialog leap by 65,536 and some 60 for
    /// each second of downtime, and all connections are gone. This is for every
    /// start of a program. Save anew after a start: the leaps of two starts may
    /// add up to more than that from a snapshot older than both. And save so
    /// often that no dialog sees more than 65,536 requests above 60 a second
    /// between two snapshots: only a package without a least interval
    /// ([`EventPackage::rate`](crate::package::EventPackage::rate)) can come
    /// near that.
    Fresh(Seed),
    /// The same life, with the seed of the endpoint that was saved: given the
    /// same calls, it gives the same bytes, if the other was
    /// [quiescent](crate::Endpoint::is_quiescent) when it was saved and nobody
    /// authenticates. What was in flight is forgotten, so what is sent again
    /// differs. Credentials, nonces and their counts are in no snapshot: until
    /// the standby has its own, it challenges where the other accepts, and is
    /// challenged where the other is let in. This is for a hot standby, whose
    /// outputs are thrown away until it takes the other's place. Connections
    /// stay, since the calls name them.
    Continue(Seed),
}

/// Appends what stands at the start.
pub(crate) fn begin(w: &mut Writer<'_>, magic: &[u8; 8]) {
    w.raw(magic);
    w.raw(&VERSION.to_le_bytes());
}

/// Appends what stands at the end of the bytes from `start` on.
pub(crate) fn seal(out: &mut Vec<u8>, start: usize) {
    let mut check = checksum();
    let whole = out.get(start..).unwrap_or_default();
    check.write(whole);
    let len = (whole.len() as u64).saturating_add(TAIL_LEN as u64);
    finish(out, check, len);
}

fn finish(out: &mut Vec<u8>, mut check: SipHasher24, len: u64) {
    out.extend_from_slice(&len.to_le_bytes());
    check.write(&len.to_le_bytes());
    out.extend_from_slice(&check.finish().to_le_bytes());
}

/// Without a secret: it tells damage, not forgery.
fn checksum() -> SipHasher24 {
    SipHasher24::new_with_keys(0x5349_5045_5645_4e54, u64::from_le_bytes(*SNAPSHOT))
}

/// What stands between start and end, checked.
pub(crate) fn open<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Result<&'a [u8], RestoreError> {
    let (name, rest) = bytes.split_first_chunk::<8>().ok_or(RestoreError::Truncated)?;
    if name != magic {
        return Err(RestoreError::NotASnapshot);
    }
    let (version, _) = rest.split_first_chunk::<2>().ok_or(RestoreError::Truncated)?;
    let found = u16::from_le_bytes(*version);
    if found != VERSION {
        return Err(RestoreError::Version { found });
    }
    let (checked, sum) = bytes.split_last_chunk::<8>().ok_or(RestoreError::Truncated)?;
    let (body, len) = checked.split_last_chunk::<8>().ok_or(RestoreError::Truncated)?;
    if u64::from_le_bytes(*len) != bytes.len() as u64 {
        return Err(RestoreError::Truncated);
    }
    let mut check = checksum();
    check.write(checked);
    if check.finish().to_le_bytes() != *sum {
        return Err(RestoreError::Checksum);
    }
    body.get(HEAD_LEN..).ok_or(RestoreError::Truncated)
}

/// Tells whether two sets of limits are the same.
pub(crate) fn fingerprint(limits: &Limits) -> u64 {
    digest(Instant::ZERO, Mode::Exact, None, |w| w.put(limits))
}

/// A digest of what `put` writes.
pub(crate) fn digest(now: Instant, mode: Mode, ranks: Option<&Ranks>, put: impl Fn(&mut Writer<'_>)) -> u64 {
    let mut bytes = Vec::new();
    let mut w = Writer::new(&mut bytes, now, mode);
    w.ranks = ranks;
    put(&mut w);
    let mut check = checksum();
    check.write(&bytes);
    check.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_breaks_with_every_bit_and_every_byte_less() {
        let mut bytes = b"before".to_vec();
        let mut w = Writer::new(&mut bytes, Instant::ZERO, Mode::Saved);
        begin(&mut w, RECORD);
        w.put("content");
        seal(&mut bytes, 6);
        let sealed = bytes.split_off(6);
        assert_eq!(open(&sealed, RECORD), Ok(&b"\x07content"[..]));
        assert_eq!(open(&sealed, SNAPSHOT), Err(RestoreError::NotASnapshot));
        for len in 0..sealed.len() {
            assert!(open(&sealed[..len], RECORD).is_err(), "{len} bytes");
        }
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&flipped, RECORD).is_err(), "bit {bit}");
        }
        let longer = [&sealed[..], b"x"].concat();
        assert_eq!(open(&longer, RECORD), Err(RestoreError::Truncated));
    }

    #[test]
    fn the_checksum_does_not_depend_on_the_pieces() {
        let mut whole = checksum();
        whole.write(b"0123456789abcdefghij");
        let mut pieces = checksum();
        for piece in [&b"01"[..], b"", b"23456789a", b"bcdefghi", b"j"] {
            pieces.write(piece);
        }
        assert_eq!(whole.finish(), pieces.finish());
    }
}
