//! Time as a number that the caller supplies.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

/// A moment, in nanoseconds since an epoch that the caller chooses.
///
/// Nothing in this crate reads a clock: every call that may change state takes
/// `now`. Only differences between instants matter, so the epoch may be the
/// start of the process, of a simulation, or anything else. All arithmetic
/// saturates. `Option<Instant>` is as small as `Instant`.
///
/// ```
/// use core::time::Duration;
/// use sip_events::Instant;
/// let t = Instant::from_nanos(0) + Duration::from_secs(32);
/// assert_eq!(t.as_nanos(), 32_000_000_000);
/// assert_eq!(t - Instant::ZERO, Duration::from_secs(32));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The epoch itself.
    pub const ZERO: Self = Self(NonZeroU64::MIN);
    /// The last moment that can be expressed, some 584 years after the epoch.
    pub const FAR_FUTURE: Self = Self(NonZeroU64::MAX);

    /// The moment `nanos` nanoseconds after the epoch; `u64::MAX` is read as
    /// one nanosecond less.
    pub const fn from_nanos(nanos: u64) -> Self {
        match NonZeroU64::new(nanos.saturating_add(1)) {
            Some(value) => Self(value),
            None => Self::FAR_FUTURE,
        }
    }

    /// The moment `secs` seconds after the epoch, saturating.
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_nanos(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0.get().saturating_sub(1)
    }

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// `self` plus `delta`, at most [`Instant::FAR_FUTURE`].
    pub fn saturating_add(self, delta: Duration) -> Self {
        let nanos = u64::try_from(delta.as_nanos()).unwrap_or(u64::MAX);
        Self::from_nanos(self.as_nanos().saturating_add(nanos))
    }

    /// `self` minus `delta`, at least [`Instant::ZERO`].
    pub fn saturating_sub(self, delta: Duration) -> Self {
        let nanos = u64::try_from(delta.as_nanos()).unwrap_or(u64::MAX);
        Self::from_nanos(self.as_nanos().saturating_sub(nanos))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;
    /// Saturates.
    fn add(self, delta: Duration) -> Self {
        self.saturating_add(delta)
    }
}

impl core::ops::Sub for Instant {
    type Output = Duration;
    /// Saturates at zero.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Instant {
    /// Seconds and microseconds since the epoch, such as `12.000500`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_nanos(self.as_nanos());
        write!(f, "{}.{:06}", since.as_secs(), since.subsec_micros())
    }
}

/// The earlier of two optional moments; `None` means "never".
pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Maps the standard library's clock to [`Instant`].
///
/// The reference point is explicit: make one `Clock` with a reading that *you*
/// took, and convert every later reading through it.
///
/// ```
/// # #[allow(clippy::disallowed_methods)] fn main() {
/// let clock = sip_events::Clock::new(std::time::Instant::now());
/// let now = clock.convert(std::time::Instant::now());
/// # let _ = now; }
/// ```
#[cfg(feature = "std")]
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: std::time::Instant,
}

#[cfg(feature = "std")]
impl Clock {
    /// A clock whose zero is `epoch`.
    pub const fn new(epoch: std::time::Instant) -> Self {
        Self { epoch }
    }

    /// The crate's name for `reading`; readings before the epoch become the epoch.
    pub fn convert(&self, reading: std::time::Instant) -> Instant {
        Instant::ZERO + reading.saturating_duration_since(self.epoch)
    }

    /// How long to sleep at `reading` until `deadline`; zero when it has passed.
    pub fn until(&self, deadline: Instant, reading: std::time::Instant) -> Duration {
        deadline - self.convert(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::from_nanos(u64::MAX), Instant::FAR_FUTURE);
        assert_eq!(Instant::FAR_FUTURE + Duration::MAX, Instant::FAR_FUTURE);
        assert_eq!(Instant::ZERO - Instant::FAR_FUTURE, Duration::ZERO);
        assert_eq!(Instant::ZERO.saturating_sub(Duration::MAX), Instant::ZERO);
        assert_eq!(size_of::<Option<Instant>>(), 8);
    }

    #[test]
    fn earliest_treats_none_as_never() {
        let (a, b) = (Instant::from_nanos(1), Instant::from_nanos(2));
        assert_eq!(earliest(Some(b), Some(a)), Some(a));
        assert_eq!(earliest(None, Some(b)), Some(b));
        assert_eq!(earliest(None, None), None);
    }
}
