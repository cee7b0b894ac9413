//! What goes in and out of the subscriber's machine.

use core::time::Duration;

use super::super::{ReasonCode, Resubscribe, Substate};
use crate::Instant;

/// What to subscribe for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Duration to ask for, in seconds; 0 fetches the state once.
    pub expires: u32,
    /// Duration in seconds, capped by `expires`, when the notifier states none
    /// at all: the package's default (6665-BC-2).
    pub default_expires: u32,
    /// When to refresh.
    pub refresh: Refresh,
}

/// When to refresh (INT-17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// Whether the machine refreshes by itself.
    pub auto: bool,
    /// Automatic SUBSCRIBEs are never closer than this, up to 49 days; 1 s by default.
    pub floor: Duration,
    /// A random value that picks the point of refresh: about 80 % of the
    /// interval for 0, 95 % for `u16::MAX`, less where 64*T1 need more room.
    pub jitter: u16,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { auto: true, floor: Duration::from_secs(1), jitter: 0 }
    }
}

/// The parts of a NOTIFY that the machine needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyIn {
    /// The value of Subscription-State.
    pub substate: Substate,
    /// Its `expires` parameter, in seconds.
    pub expires: Option<u32>,
    /// Its `reason` parameter.
    pub reason: ReasonCode,
    /// Its `retry-after` parameter, in seconds.
    pub retry_after: Option<u32>,
}

/// What becomes of a NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Answer 200; the state it carries is for the application.
    Accepted,
    /// Answer 481: nothing waits for it.
    Refused,
}

/// What became of the SUBSCRIBE that [`super::Subscription::poll_subscribe`] gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeResult {
    /// 1xx.
    Provisional,
    /// 2xx other than 204.
    Accepted {
        /// The Expires of the response, in seconds.
        expires: Option<u32>,
    },
    /// 204 (RFC 5839).
    NoNotify {
        /// The Expires of the response, in seconds.
        expires: Option<u32>,
    },
    /// A changed SUBSCRIBE is to go out at once: 401, 407 and 3xx that can be answered.
    Retrying,
    /// 423.
    TooBrief {
        /// Its Min-Expires, in seconds.
        min_expires: Option<u32>,
    },
    /// Any other final response.
    Failed {
        /// The status code.
        status: u16,
        /// Its Retry-After, in seconds.
        retry_after: Option<u32>,
    },
    /// No final response (Timer F), or a 408.
    TimedOut,
    /// It could not be sent.
    TransportFailed,
}

/// What a SUBSCRIBE is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first of a subscription, outside any dialog.
    Initial,
    /// To live on, in the dialog.
    Refresh,
    /// To end, in the dialog.
    Unsubscribe,
    /// To get the state once, outside any dialog (RFC 6665 4.4.3).
    Fetch,
}

/// A SUBSCRIBE to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeOut {
    /// Its Expires, in seconds.
    pub expires: u32,
    /// What it is for.
    pub kind: Kind,
}

/// A named timer of [`super::Subscription::next_timer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// A NOTIFY is owed until then.
    TimerN,
    /// Further forks are taken until then.
    ForkWindow,
    /// Time to refresh.
    Refresh,
    /// Time to try a failed refresh again.
    Retry,
    /// The subscription runs out.
    Expiry,
}

/// Something the application may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A SUBSCRIBE was granted this many seconds.
    Accepted {
        /// Seconds, never more than were asked for.
        expires: u32,
    },
    /// The peer granted, or announced, more than was asked for (INT-3).
    PeerViolation {
        /// Which message did.
        by: Violation,
        /// Seconds it named.
        received: u32,
    },
    /// A NOTIFY named a substate that RFC 6665 does not know (INT-6).
    UnknownState,
    /// The state is now [`super::State::Pending`].
    BecamePending,
    /// The state is now [`super::State::Active`].
    BecameActive,
    /// A SUBSCRIBE failed and the subscription stands; 408 for no response, 503
    /// for a transport error (RFC 3261 8.1.3.1).
    RefreshFailed {
        /// The status code.
        status: u16,
        /// When the machine tries again, if it does before the deadline.
        retry_at: Option<Instant>,
    },
    /// Timer N of the attempt has passed: a NOTIFY with a new tag gets 481.
    ForkWindowClosed,
    /// The subscription is over. Comes exactly once.
    Ended(End),
}

/// Which message named too long a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The 2xx; the duration asked for is used.
    Response,
    /// The NOTIFY; it is believed, but the refresh does not wait for it.
    Notify,
}

/// How a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: Cause,
    /// Whether a new one may follow.
    pub resubscribe: Resubscribe,
}

/// Why a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A NOTIFY said terminated.
    ByNotifier {
        /// Its reason.
        reason: ReasonCode,
        /// Its retry-after, in seconds.
        retry_after: Option<u32>,
    },
    /// A SUBSCRIBE was refused.
    Refused {
        /// The status code.
        status: u16,
    },
    /// Answered, but no NOTIFY came until Timer N.
    NoNotify,
    /// The deadline passed.
    Expired,
    /// No response came.
    TimedOut,
    /// The SUBSCRIBE could not be sent.
    Transport,
    /// As the application wished.
    Unsubscribed {
        /// Whether a NOTIFY confirmed it.
        final_notify: bool,
    },
    /// The state asked for once has come.
    Fetched,
}
