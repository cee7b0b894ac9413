//! What goes in and out of the notifier's machine.

use core::time::Duration;

use super::super::{ReasonCode, Substate};

/// Whether the watcher is authorised already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// Yes.
    #[default]
    Active,
    /// Not decided.
    Pending,
}

/// How to accept a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Seconds granted; 0 answers a fetch, or refuses to be subscribed to.
    pub granted: u32,
    /// Whether the watcher is authorised.
    pub decision: Grant,
    /// The shortest time between a NOTIFY and the next that a mere change
    /// causes, up to 49 days (RFC 6665 5.4.10).
    pub min_interval: Duration,
    /// How long to stay pending before giving up (6665-NSM-8).
    pub give_up: Option<Duration>,
    /// Whether a NOTIFY without response leaves the subscription alive until
    /// its deadline, against 6665-4.2.2-4.
    pub keep_on_timeout: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            granted: 3600,
            decision: Grant::Active,
            min_interval: Duration::ZERO,
            give_up: None,
            keep_on_timeout: false,
        }
    }
}

/// Why a NOTIFY is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It answers a SUBSCRIBE: in the same step, whatever is open (INT-10).
    Owed,
    /// It is the last: not throttled.
    Terminal,
    /// Something changed, or a NOTIFY is to be repeated.
    Change,
}

/// A NOTIFY to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyOut {
    /// Its Subscription-State.
    pub substate: Substate,
    /// Seconds left, rounded down and never 0; absent from a terminated one.
    pub expires: Option<u32>,
    /// The reason of a terminated one.
    pub reason: Option<ReasonCode>,
    /// Seconds that the subscriber is to stay away, where the reason allows it.
    pub retry_after: Option<u32>,
    /// The body must be the full state: a partial one would leave a gap.
    pub full: bool,
    /// The NOTIFY that was open is given up: no retransmission, no result.
    pub abandon_open: bool,
    /// Names this NOTIFY in [`super::Subscription::handle_notify_result`].
    pub seq: u32,
}

/// What became of a NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyResult {
    /// 2xx.
    Delivered,
    /// A 401 or 3xx that can be answered: send again, with the next CSeq.
    Retry,
    /// Failed without harm to the subscription.
    Kept {
        /// Its Retry-After, in seconds.
        retry_after: Option<u32>,
    },
    /// Failed with a code that ends the subscription.
    Ended,
    /// No final response (Timer F), or a 408.
    TimedOut,
    /// It could not be sent (INT-11: counts as [`NotifyResult::TimedOut`]).
    TransportFailed,
}

/// A named timer of [`super::Subscription::next_timer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// The subscription runs out.
    Expiry,
    /// The watcher has been pending for too long.
    GiveUp,
    /// The next change may be told.
    Throttle,
    /// A failed NOTIFY may be repeated.
    Retry,
}

/// Something the application may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The subscription can be freed. Comes exactly once.
    Gone(GoneCause),
}

/// Why a subscription is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneCause {
    /// Not refreshed in time.
    Expired,
    /// The subscriber ended it, or was granted no time.
    Unsubscribed,
    /// Ended by local policy.
    Terminated {
        /// The reason that the subscriber was told.
        reason: ReasonCode,
    },
    /// A NOTIFY failed.
    NotifyFailed {
        /// How.
        why: Failure,
    },
}

/// How a NOTIFY failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// By its response.
    Refused,
    /// There was no response.
    TimedOut,
    /// It could not be sent.
    Transport,
}
