//! The state machines of the RFCs: no bytes, no maps, no allocation.
//!
//! Each module is one machine for one object: [`subscriber`] and [`notifier`]
//! hold one subscription of RFC 6665, [`client_txn`] and [`server_txn`] one
//! non-INVITE transaction of RFC 3261. [`responses`] is what status codes and
//! reasons mean to them. All machines are small `Copy` values. They take the
//! current time with every input, never panic, and refuse an input that their
//! state does not allow without changing anything.
//!
//! Every change of state goes through the table at the top of its module; the
//! same tables print the matrices and graphs of `docs/states.md`.
//!
//! ```
//! use sip_events::Instant;
//! use sip_events::machine::{Timers, notifier, subscriber};
//! let (now, timers) = (Instant::ZERO, Timers::default());
//! let ask = subscriber::Params { expires: 600, default_expires: 3600, refresh: subscriber::Refresh::default() };
//! let mut watcher = subscriber::Subscription::new(&ask);
//! let subscribe = watcher.poll_subscribe(now, &timers).unwrap();
//! let grant = notifier::Params { granted: subscribe.expires, ..notifier::Params::default() };
//! let mut source = notifier::Subscription::new(now, &grant);
//! let notify = source.take_notify(now).unwrap();
//! let heard = subscriber::NotifyIn { substate: notify.substate, expires: notify.expires, ..Default::default() };
//! assert_eq!(watcher.handle_notify(now, &heard, &timers), subscriber::Delivery::Accepted);
//! assert_eq!(watcher.state(), subscriber::State::Active);
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use core::fmt;
use core::time::Duration;

#[macro_use]
pub mod table;
pub mod client_txn;
pub mod notifier;
pub mod responses;
pub mod server_txn;
pub mod subscriber;

#[cfg(test)]
mod golden;

pub use responses::{ReasonCode, Resubscribe};

/// The base values of all protocol timers (RFC 3261 17.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip, 0.5 s by default; not to be lowered on open networks.
    pub t1: Duration,
    /// Longest interval between retransmissions, 4 s by default.
    pub t2: Duration,
    /// Longest life of a message in the network, 5 s by default.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// Timer N: how long a SUBSCRIBE waits for its NOTIFY, 64*T1 (RFC 6665 4.1.2.4).
    pub const fn timer_n(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer F: how long a request waits for its final response, 64*T1 (RFC 3261 17.1.2.2).
    pub const fn timer_f(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

/// The call is not allowed in the machine's present state; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong;

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not allowed in this state")
    }
}

impl core::error::Error for Wrong {}

/// The three substates of RFC 6665 4.1.3, and everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Substate {
    /// Accepted and authorised.
    Active,
    /// Accepted, not yet authorised.
    #[default]
    Pending,
    /// Over.
    Terminated,
    /// A token that RFC 6665 does not define (8.4 allows it).
    Other,
}

/// A duration as whole milliseconds, rounded up, at most 49 days.
fn to_millis(duration: Duration) -> u32 {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    u32::try_from(millis).unwrap_or(u32::MAX)
}

/// Whole seconds as a duration.
const fn secs(seconds: u32) -> Duration {
    // A widening cast; `From` is not const.
    Duration::from_secs(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: 6665-4.1.2.2-5, 3261-17.1.2.2-1
    #[test]
    fn long_timers_are_64_t1_and_saturate() {
        assert_eq!(Timers::default().timer_n(), Duration::from_secs(32));
        assert_eq!(Timers::default().timer_f(), Duration::from_secs(32));
        let slow = Timers { t1: Duration::MAX, ..Timers::default() };
        assert_eq!(slow.timer_n(), Duration::MAX);
    }

    #[test]
    fn milliseconds_round_up_and_clamp() {
        assert_eq!(to_millis(Duration::from_nanos(1)), 1);
        assert_eq!(to_millis(Duration::from_millis(7)), 7);
        assert_eq!(to_millis(Duration::MAX), u32::MAX);
        assert_eq!(secs(u32::MAX).as_secs(), 4_294_967_295);
    }
}
