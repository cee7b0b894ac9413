//! Numbers, times and texts in one canonical form: what snapshots are written
//! in, and what digests are taken of.
//!
//! Numbers are little-endian base 128 in the fewest bytes, signed ones folded
//! onto them; texts stand behind their length; times are what is left until
//! them. No form depends on the width of a pointer.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::Instant;
use crate::error::RestoreError;

/// What is written of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What a successor needs. Requests in flight are forgotten, and what they
    /// said is owed again.
    Saved,
    /// Everything that later output depends on.
    Exact,
    /// The same without identifiers, random values, CSeq numbers and versions.
    Behaviour,
}

/// A table whose slots records name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Resources,
    Attempts,
    Subscriptions,
    Watchers,
}

/// For each slot of each table, how many live records stand before it.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    pub(crate) resources: Vec<u32>,
    pub(crate) attempts: Vec<u32>,
    pub(crate) subscriptions: Vec<u32>,
    pub(crate) watchers: Vec<u32>,
}

impl Ranks {
    fn of(&self, table: Table, slot: u32) -> u32 {
        let ranks = match table {
            Table::Resources => &self.resources,
            Table::Attempts => &self.attempts,
            Table::Subscriptions => &self.subscriptions,
            Table::Watchers => &self.watchers,
        };
        ranks.get(slot as usize).copied().unwrap_or(u32::MAX)
    }
}

/// Appends to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    /// Times are written relative to it.
    base: Instant,
    mode: Mode,
    /// Packages are numbered from this one on.
    pub(crate) first_package: u16,
    pub(crate) ranks: Option<&'a Ranks>,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut Vec<u8>, base: Instant, mode: Mode) -> Self {
        Self { out, base, mode, first_package: 0, ranks: None }
    }

    pub(crate) const fn base(&self) -> Instant {
        self.base
    }

    pub(crate) fn is(&self, mode: Mode) -> bool {
        self.mode == mode
    }

    pub(crate) fn word(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    pub(crate) fn put(&mut self, value: &(impl Put + ?Sized)) {
        value.put(self);
    }

    /// An identifier, a random value, or a number that only ever grows.
    pub(crate) fn ident(&mut self, value: &(impl Put + ?Sized)) {
        if self.mode != Mode::Behaviour {
            value.put(self);
        }
    }

    /// What a successor does without.
    pub(crate) fn transient(&mut self, value: &(impl Put + ?Sized)) {
        if self.mode != Mode::Saved {
            value.put(self);
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A record of a table.
    pub(crate) fn slot(&mut self, table: Table, slot: u32) {
        let named = match self.ranks {
            Some(ranks) => ranks.of(table, slot),
            None => slot,
        };
        self.word(u64::from(named));
    }
}

/// Reads what a [`Writer`] wrote, at a later time.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    now: Instant,
    /// Nanoseconds that have passed since it was written.
    elapsed: u64,
    /// Own numbers of the packages; `None` for one that is not known.
    pub(crate) packages: Vec<Option<ReadPackage>>,
}

/// A package that records name, in the registry of the reader.
#[derive(Debug, Clone)]
pub(crate) struct ReadPackage {
    pub(crate) index: u16,
    /// Places of its media types, from old to new.
    pub(crate) media: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], now: Instant, elapsed: Duration) -> Self {
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        Self { rest: bytes, now, elapsed, packages: Vec::new() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes that are left: no count of anything can be above it.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RestoreError> {
        let (first, rest) = self.rest.split_first().ok_or(RestoreError::Malformed)?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number in the fewest bytes; any other form is refused.
    pub(crate) fn word(&mut self) -> Result<u64, RestoreError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(RestoreError::Malformed);
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(RestoreError::Malformed) } else { Ok(value) };
            }
        }
        Err(RestoreError::Malformed)
    }

    pub(crate) fn get<T: Get>(&mut self) -> Result<T, RestoreError> {
        T::get(self)
    }

    pub(crate) fn raw(&mut self, len: usize) -> Result<&'a [u8], RestoreError> {
        let (first, rest) = self.rest.split_at_checked(len).ok_or(RestoreError::Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], RestoreError> {
        let len = usize::try_from(self.word()?).map_err(|_| RestoreError::Malformed)?;
        self.raw(len)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, RestoreError> {
        core::str::from_utf8(self.bytes()?).map_err(|_| RestoreError::Malformed)
    }

    fn time(&mut self, offset: i64) -> Instant {
        if offset == i64::MAX {
            return Instant::FAR_FUTURE;
        }
        let at = i128::from(self.now.as_nanos()).saturating_add(offset.into()).saturating_sub(self.elapsed.into());
        Instant::from_nanos(u64::try_from(at.max(0)).unwrap_or(u64::MAX))
    }
}

/// Something that can be written.
pub(crate) trait Put {
    fn put(&self, w: &mut Writer<'_>);
}

/// Something that can be read back.
pub(crate) trait Get: Sized {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError>;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Put for $type {
            fn put(&self, w: &mut Writer<'_>) {
                w.word(u64::from(*self));
            }
        }

        impl Get for $type {
            fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
                Self::try_from(r.word()?).map_err(|_| RestoreError::Malformed)
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

impl Put for bool {
    fn put(&self, w: &mut Writer<'_>) {
        w.word(u64::from(*self));
    }
}

impl Get for bool {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        match r.word()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RestoreError::Malformed),
        }
    }
}

/// Never read back: no record that is saved holds one.
impl Put for usize {
    fn put(&self, w: &mut Writer<'_>) {
        w.word(*self as u64);
    }
}

impl Put for i64 {
    fn put(&self, w: &mut Writer<'_>) {
        w.word(((*self << 1) ^ (*self >> 63)) as u64);
    }
}

impl Get for i64 {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let folded = r.word()?;
        Ok((folded >> 1) as Self ^ ((folded & 1) as Self).wrapping_neg())
    }
}

/// What is left until then; more than 292 years are for ever.
impl Put for Instant {
    fn put(&self, w: &mut Writer<'_>) {
        let offset = i128::from(self.as_nanos()).saturating_sub(w.base.as_nanos().into());
        let offset = i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX });
        w.put(&if *self == Self::FAR_FUTURE { i64::MAX } else { offset });
    }
}

impl Get for Instant {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let offset = r.get()?;
        Ok(r.time(offset))
    }
}

impl<T: Put> Put for Option<T> {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.is_some());
        if let Some(value) = self {
            w.put(value);
        }
    }
}

impl<T: Get> Get for Option<T> {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(if r.get()? { Some(r.get()?) } else { None })
    }
}

impl<T: Put + ?Sized> Put for &T {
    fn put(&self, w: &mut Writer<'_>) {
        (*self).put(w);
    }
}

impl<T: Put + ?Sized> Put for Box<T> {
    fn put(&self, w: &mut Writer<'_>) {
        (**self).put(w);
    }
}

impl<A: Put, B: Put> Put for (A, B) {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.0);
        w.put(&self.1);
    }
}

impl<A: Get, B: Get> Get for (A, B) {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok((r.get()?, r.get()?))
    }
}

impl Put for [u8] {
    fn put(&self, w: &mut Writer<'_>) {
        w.word(self.len() as u64);
        w.raw(self);
    }
}

impl Put for str {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(self.as_bytes());
    }
}

impl Put for String {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(self.as_str());
    }
}

impl Get for String {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.text().map(Self::from)
    }
}

impl Get for Box<str> {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.text().map(Self::from)
    }
}

impl Get for Box<[u8]> {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.bytes().map(Self::from)
    }
}

impl Put for Bytes {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&**self);
    }
}

impl Get for Bytes {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.bytes().map(Self::copy_from_slice)
    }
}

/// A list; [`list`] reads it.
pub(crate) fn put_list<T: Put>(w: &mut Writer<'_>, items: impl ExactSizeIterator<Item = T>) {
    w.word(items.len() as u64);
    for item in items {
        w.put(&item);
    }
}

pub(crate) fn list<T: Get>(r: &mut Reader<'_>) -> Result<Vec<T>, RestoreError> {
    let count = r.word()?;
    if count > r.left() as u64 {
        return Err(RestoreError::Malformed);
    }
    (0..count).map(|_| r.get()).collect()
}

impl<T: Put> Put for Vec<T> {
    fn put(&self, w: &mut Writer<'_>) {
        put_list(w, self.iter());
    }
}

impl<T: Get> Get for Vec<T> {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        list(r)
    }
}

impl<T: Put, const N: usize> Put for SmallVec<[T; N]> {
    fn put(&self, w: &mut Writer<'_>) {
        put_list(w, self.iter());
    }
}

impl<T: Get, const N: usize> Get for SmallVec<[T; N]> {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        list(r).map(Self::from_vec)
    }
}

impl Put for Duration {
    fn put(&self, w: &mut Writer<'_>) {
        w.word(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Get for Duration {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        match r.word()? {
            u64::MAX => Ok(Self::MAX),
            nanos => Ok(Self::from_nanos(nanos)),
        }
    }
}

/// Writes and reads the fields of a struct, all of them, in the order given;
/// `ident` marks what only [`Mode::Behaviour`] leaves out.
macro_rules! fields {
    ($type:ty { $($field:ident $(: $how:ident)?),* $(,)? }) => {
        impl $crate::codec::Put for $type {
            fn put(&self, w: &mut $crate::codec::Writer<'_>) {
                let Self { $($field),* } = self;
                $(fields!(@put w $field $($how)?);)*
            }
        }

        impl $crate::codec::Get for $type {
            fn get(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::error::RestoreError> {
                Ok(Self { $($field: r.get()?),* })
            }
        }
    };
    (@put $w:ident $field:ident) => { $w.put($field) };
    (@put $w:ident $field:ident ident) => { $w.ident($field) };
}

/// Writes and reads an enum without data, all variants of it.
macro_rules! tags {
    ($type:ty { $($variant:ident = $tag:literal),* $(,)? }) => {
        impl $crate::codec::Put for $type {
            fn put(&self, w: &mut $crate::codec::Writer<'_>) {
                w.word(match self { $(Self::$variant => $tag),* });
            }
        }

        impl $crate::codec::Get for $type {
            fn get(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::error::RestoreError> {
                match r.word()? {
                    $($tag => Ok(Self::$variant),)*
                    _ => Err($crate::error::RestoreError::Malformed),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round<T: Put + Get>(value: &T) -> T {
        let mut out = Vec::new();
        Writer::new(&mut out, Instant::from_secs(10), Mode::Saved).put(value);
        let mut reader = Reader::new(&out, Instant::from_secs(10), Duration::ZERO);
        let read = reader.get().unwrap();
        assert!(reader.is_empty());
        read
    }

    #[test]
    fn numbers_read_back_in_one_form_only() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            assert_eq!(round(&value), value);
        }
        for value in [0, 1, -1, i64::MAX, i64::MIN, 1 << 40] {
            assert_eq!(round(&value), value);
        }
        let read = |bytes: &[u8]| Reader::new(bytes, Instant::ZERO, Duration::ZERO).word();
        assert_eq!(read(&[0x80, 0x00]), Err(RestoreError::Malformed), "a zero in two bytes");
        assert_eq!(read(&[0xff; 10]), Err(RestoreError::Malformed));
        assert_eq!(read(&[0x80]), Err(RestoreError::Malformed));
        assert!(Reader::new(&[2], Instant::ZERO, Duration::ZERO).get::<bool>().is_err());
    }

    #[test]
    fn times_are_what_is_left_of_them() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, Instant::from_secs(100), Mode::Saved);
        for at in [Instant::from_secs(160), Instant::from_secs(90), Instant::FAR_FUTURE] {
            writer.put(&at);
        }
        let mut reader = Reader::new(&out, Instant::from_secs(1_000), Duration::from_secs(45));
        assert_eq!(reader.get::<Instant>(), Ok(Instant::from_secs(1_015)));
        assert_eq!(reader.get::<Instant>(), Ok(Instant::from_secs(945)));
        assert_eq!(reader.get::<Instant>(), Ok(Instant::FAR_FUTURE));
        let mut early = Reader::new(&out, Instant::from_secs(1), Duration::from_secs(70));
        assert_eq!(early.get::<Instant>(), Ok(Instant::ZERO), "past is past, whatever the clock");
    }

    #[test]
    fn no_count_asks_for_more_than_there_is() {
        let bytes = [0xff, 0xff, 0xff, 0xff, 0x0f];
        let mut reader = Reader::new(&bytes, Instant::ZERO, Duration::ZERO);
        assert_eq!(reader.get::<Vec<u8>>(), Err(RestoreError::Malformed));
    }
}
