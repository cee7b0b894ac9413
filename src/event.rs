//! What the library tells the driver and the application.

use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use crate::error::Retry;
#[cfg(feature = "digest")]
use crate::id::ClaimId;
use crate::id::{IncomingId, ResourceId, SubscriptionId, WatcherId};
use crate::io::Io;
use crate::package::Body;
use crate::wire::StatusCode;
use crate::{Failure, Instant};

/// A reason in Subscription-State (RFC 6665 section 4.1.3), owned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Subscribe again at once, perhaps elsewhere.
    Deactivated,
    /// Subscribe again later.
    Probation,
    /// Authorisation was refused or withdrawn.
    Rejected,
    /// It was not refreshed, or was ended by the subscriber.
    Timeout,
    /// Authorisation could not be had in time.
    Giveup,
    /// The resource no longer exists.
    NoResource,
    /// The state will never change again.
    Invariant,
    /// The filter cannot be honoured (RFC 4660).
    BadFilter,
    /// A token that this crate does not know.
    Other(Bytes),
}

impl Reason {
    /// The token as it travels.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Deactivated => b"deactivated",
            Self::Probation => b"probation",
            Self::Rejected => b"rejected",
            Self::Timeout => b"timeout",
            Self::Giveup => b"giveup",
            Self::NoResource => b"noresource",
            Self::Invariant => b"invariant",
            Self::BadFilter => b"badfilter",
            Self::Other(token) => token,
        }
    }
}

/// The state that a NOTIFY gave a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubscriptionState {
    /// Accepted, authorisation undecided.
    Pending,
    /// Accepted and authorised.
    Active,
    /// Over.
    Terminated,
    /// A value that this crate does not know; the state before stands (INT-6).
    Unknown,
}

/// Why a subscription of ours ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The notifier said so.
    ByNotifier {
        /// Its reason, if it gave one.
        reason: Option<Reason>,
        /// Its `retry-after`, seconds.
        retry_after: Option<u32>,
    },
    /// A SUBSCRIBE was refused with a status that ends it.
    Refused {
        /// The status.
        status: StatusCode,
        /// `Retry-After`, seconds.
        retry_after: Option<u32>,
    },
    /// No NOTIFY came within 64*T1 of a SUBSCRIBE (Timer N).
    NoNotify,
    /// It ran out, and no NOTIFY said so.
    Expired,
    /// A SUBSCRIBE got no answer.
    NoAnswer(Failure),
    /// We unsubscribed.
    Unsubscribed,
    /// A fetch is complete.
    Fetched,
    /// The automatic attempts of an hour are used up
    /// ([`Limits::retries_per_hour`](crate::Limits::retries_per_hour)).
    GaveUp,
}

/// Why a watcher is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gone {
    /// It was not refreshed in time.
    Expired,
    /// It unsubscribed, or only fetched.
    Unsubscribed,
    /// We ended it, with this reason.
    Terminated(Reason),
    /// A NOTIFY was refused with a status that ends the subscription.
    Refused(StatusCode),
    /// A NOTIFY got no answer.
    NoAnswer(Failure),
    /// Its connection closed ([`FlowGone::Remove`](crate::FlowGone)).
    FlowGone,
}

/// What became of one NOTIFY, told where
/// [`report_delivery`](crate::Agent::report_delivery) asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyResult {
    /// It was answered with this status.
    Answered(StatusCode),
    /// It was not answered.
    Failed(Failure),
}

/// An object that events and `explain` may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectId {
    /// A subscription of ours.
    Subscription(SubscriptionId),
    /// Somebody's subscription.
    Watcher(WatcherId),
    /// A resource.
    Resource(ResourceId),
}

impl From<SubscriptionId> for ObjectId {
    fn from(id: SubscriptionId) -> Self {
        Self::Subscription(id)
    }
}

impl From<WatcherId> for ObjectId {
    fn from(id: WatcherId) -> Self {
        Self::Watcher(id)
    }
}

impl From<ResourceId> for ObjectId {
    fn from(id: ResourceId) -> Self {
        Self::Resource(id)
    }
}

/// What happened. [`Event::Io`] is the driver's business; everything else is
/// the application's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The driver has to do something.
    Io(Io),
    /// A 2xx came for a SUBSCRIBE; state follows with a NOTIFY.
    Accepted {
        /// Which subscription.
        subscription: SubscriptionId,
        /// The status.
        status: StatusCode,
        /// Seconds granted.
        expires: u32,
    },
    /// A NOTIFY was accepted: exactly one event for each.
    Notify {
        /// Which subscription.
        subscription: SubscriptionId,
        /// The state it is in now.
        state: SubscriptionState,
        /// Seconds left, if the NOTIFY said so.
        expires: Option<u32>,
        /// The NOTIFY's CSeq number: rising within a dialog.
        cseq: u32,
        /// The body as it came.
        body: Option<Body>,
        /// The whole state, after the package has merged the body into it.
        document: Option<Body>,
    },
    /// A further fork answered: a subscription of its own (RFC 6665 section 4.1.4).
    Forked {
        /// The subscription that was asked for.
        parent: SubscriptionId,
        /// The new one.
        child: SubscriptionId,
    },
    /// A request of ours was refused for want of credentials (401 or 407):
    /// [`authenticate`](crate::Agent::authenticate) gives them. A SUBSCRIBE
    /// waits for that for [`Timers::decision`](crate::Timers::decision), then
    /// the refusal stands; a NOTIFY is sent again later.
    Challenge {
        /// Which subscription or watcher it was for.
        subject: ObjectId,
        /// The realm, without quotes.
        realm: Bytes,
    },
    /// A request of ours got a 3xx. 301, 302 and 305 are followed, best first,
    /// to each address once (RFC 3261 section 8.1.3.4); 300 and 380, and what
    /// leads nowhere, fail the request: the choice is the application's. A SIPS
    /// URI is left for none but a SIPS URI.
    Redirected {
        /// Which subscription or watcher it was for.
        subject: ObjectId,
        /// The status.
        status: StatusCode,
        /// The URIs in Contact, the preferred ones first; not only SIP URIs.
        contacts: Vec<Bytes>,
        /// Whether the request goes out again, to another address.
        followed: bool,
    },
    /// A user's secret is needed to verify a request:
    /// [`supply`](crate::Agent::supply) it within
    /// [`Timers::decision`](crate::Timers::decision), or the request gets 500
    /// with Retry-After.
    #[cfg(feature = "digest")]
    Credentials {
        /// Which request.
        id: ClaimId,
        /// The user's name, or its hash; neither is verified.
        user: Bytes,
        /// `user` is a hash (RFC 7616 section 3.4.4).
        hashed: bool,
        /// The realm.
        realm: Bytes,
        /// What an HA1 has to be made with; a password always fits.
        algorithm: crate::digest::Algorithm,
    },
    /// A subscription is interrupted; the library subscribes again by itself.
    Retrying {
        /// Which subscription; its id stays.
        subscription: SubscriptionId,
        /// What ended the dialog.
        why: Ending,
        /// When the next SUBSCRIBE goes out.
        at: Instant,
    },
    /// A refresh failed in a way that leaves the subscription as it was (RFC
    /// 6665 section 4.1.2.2).
    RefreshFailed {
        /// Which subscription.
        subscription: SubscriptionId,
        /// The status; `None` for no answer.
        status: Option<StatusCode>,
    },
    /// A subscription of ours is over. Its id is dead from now on.
    Terminated {
        /// Which subscription.
        subscription: SubscriptionId,
        /// Why.
        why: Ending,
        /// What may be done about it.
        retry: Retry,
    },
    /// Somebody wants to watch: `accept` or `reject` within
    /// [`Timers::decision`](crate::Timers::decision).
    Subscribe(IncomingId),
    /// A watcher refreshed.
    Refreshed {
        /// Which one.
        watcher: WatcherId,
        /// Seconds granted.
        expires: u32,
    },
    /// A NOTIFY was answered, or not.
    Notified {
        /// To whom.
        watcher: WatcherId,
        /// Its CSeq number.
        cseq: u32,
        /// What became of it.
        result: NotifyResult,
    },
    /// A watcher is gone. Its id is dead from now on.
    WatcherGone {
        /// Which one.
        watcher: WatcherId,
        /// Why.
        why: Gone,
    },
    /// After `close`: nothing is left to send or to wait for.
    Drained,
}

/// What a timer is for; see `next_timer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimerKind {
    /// Timer N: no NOTIFY yet (RFC 6665 section 4.1.2.4).
    AwaitNotify,
    /// A refresh is due.
    Refresh,
    /// A subscription runs out.
    Expiry,
    /// A new attempt after a failure.
    Retry,
    /// The rate limit of NOTIFYs (RFC 6665 section 5.4.10).
    Throttle,
    /// A pending watcher has waited long enough.
    GiveUp,
    /// The application has not decided on a SUBSCRIBE.
    Decision,
    /// The window for forks closes.
    ForkWindow,
    /// The window of unanswered NOTIFYs opens again.
    Window,
    /// A transaction retransmits, times out or ends.
    Transaction,
    /// A flow is kept open, or has failed.
    KeepAlive,
}

/// Why an object is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Which object.
    pub object: ObjectId,
    /// The state it is in, in the words of RFC 6665's figures.
    pub state: &'static str,
    /// What it waits for, and until when.
    pub waits_for: Option<(TimerKind, Instant)>,
    /// What is left of the subscription, at the last `now`.
    pub remaining: Option<Duration>,
    /// How the last decision about it fell.
    pub because: &'static str,
}

impl core::fmt::Display for Explanation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.object {
            ObjectId::Subscription(id) => write!(f, "{id}")?,
            ObjectId::Watcher(id) => write!(f, "{id}")?,
            ObjectId::Resource(id) => write!(f, "{id}")?,
        }
        write!(f, " is {}", self.state)?;
        if let Some(left) = self.remaining {
            write!(f, ", {} s left", left.as_secs())?;
        }
        match self.waits_for {
            Some((kind, at)) => write!(f, ", waits for {kind:?} at {at}")?,
            None => f.write_str(", waits for nothing")?,
        }
        write!(f, ": {}", self.because)
    }
}
