//! The subscriber's single bits.

/// Single bits, named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    pub(super) const AUTO: Self = Self(1);
    /// The request in flight is to be sent again.
    pub(super) const RESEND: Self = Self(1 << 1);
    /// The application, or a fetch, wants no more.
    pub(super) const ENDING: Self = Self(1 << 2);
    /// So do all forks of the attempt (INT-16).
    pub(super) const ENDING_ALL: Self = Self(1 << 3);
    /// A NOTIFY with expires came since the latest SUBSCRIBE was sent (INT-13).
    pub(super) const NOTIFIED: Self = Self(1 << 4);
    /// The latest SUBSCRIBE got no response; Timer N decides (6665-RSP-6).
    pub(super) const TIMED_OUT: Self = Self(1 << 5);
    /// A 423 has been answered once (PEER-B20).
    pub(super) const LENGTHENED: Self = Self(1 << 6);
    /// One refresh was allowed below the floor (PEER-B06).
    pub(super) const HURRIED: Self = Self(1 << 7);
    /// No refresh until the deadline moves.
    pub(super) const STOPPED: Self = Self(1 << 8);
    /// Made by [`super::Subscription::fork`]: the window is the parent's.
    pub(super) const FORK: Self = Self(1 << 9);
    /// Ended without ever having had a NOTIFY.
    pub(super) const STILLBORN: Self = Self(1 << 10);
    /// Asked for once only.
    pub(super) const FETCH: Self = Self(1 << 11);
    /// A refresh is wanted as soon as the floor allows.
    pub(super) const RESYNC: Self = Self(1 << 12);
}

// Bits of `news`, in the order in which they are told.
pub(super) const ACCEPTED: u16 = 1;
pub(super) const LONG_GRANT: u16 = 1 << 1;
pub(super) const LONG_NOTIFY: u16 = 1 << 2;
pub(super) const UNKNOWN: u16 = 1 << 3;
pub(super) const PENDING: u16 = 1 << 4;
pub(super) const ACTIVE: u16 = 1 << 5;
pub(super) const FAILED: u16 = 1 << 6;
pub(super) const WINDOW: u16 = 1 << 7;
pub(super) const ENDED: u16 = 1 << 8;

/// [`super::Cause`] without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    ByNotifier,
    Refused,
    NoNotify,
    Expired,
    TimedOut,
    Transport,
    Confirmed,
    Unconfirmed,
    Fetched,
}

impl Flags {
    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub(super) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) const fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0;
        } else {
            self.0 &= !flag.0;
        }
    }

    /// Whether it was set; clears it.
    pub(super) const fn take(&mut self, flag: Self) -> bool {
        let was = self.has(flag);
        self.set(flag, false);
        was
    }
}
