//! Who is to blame: the caller (`Misuse`, `ConfigError`) or the peer
//! (`DropReason`, `Ending`).

use core::fmt;

use crate::Instant;

/// A command that cannot be carried out, through a mistake of the caller or a
/// limit that the caller set. Nothing has changed; the same call may succeed
/// once the cause is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The id names nothing that lives: it ended, or belongs to another agent.
    #[error("the id names no living object")]
    StaleId,
    /// The object's state does not allow the command, such as a refresh before
    /// the first NOTIFY or an approval of an active watcher.
    #[error("the object's state does not allow this")]
    WrongState,
    /// No event package of that name is registered.
    #[error("no such event package is registered")]
    UnknownPackage,
    /// A URI, header or token that may not stand in a SIP message.
    #[error("a value that may not stand in a SIP message")]
    BadValue,
    /// One of the caller's own [`Limits`](crate::Limits) is reached.
    #[error("a configured limit is reached")]
    Limit,
    /// There is no local address for the transport: call `add_local` first.
    #[error("no local address for this transport")]
    NoLocalAddress,
    /// The resource exists already.
    #[error("the resource exists already")]
    Exists,
    /// The endpoint is closing and takes no new work.
    #[error("the endpoint is closing")]
    Closing,
    /// Nothing was said about authentication, so nobody can be accepted: call
    /// [`Config::with_authentication`](crate::Config::with_authentication), if
    /// only with [`Authentication::None`](crate::Authentication::None).
    #[error("how subscribers are authenticated was not configured")]
    NoAuthentication,
    /// The duration is not one that the notifier may grant: above what was
    /// asked for (RFC 6665 section 4.2.1.1).
    #[error("a granted duration may not exceed the one asked for")]
    LongerThanAsked,
}

/// A configuration that contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The identity is not a SIP or SIPS URI.
    #[error("the identity is not a sip: or sips: URI")]
    Identity,
    /// A minimum above its maximum.
    #[error("the minimum duration is above the maximum")]
    MinAboveMax,
    /// T1 of zero, or T2 below T1.
    #[error("timers out of order: 0 < T1 <= T2 is needed")]
    Timers,
    /// A text that may not stand in a header field.
    #[error("a text that may not stand in a header field")]
    Text,
}

/// Why a snapshot or a record cannot be taken over. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are something else.
    #[error("not a snapshot")]
    NotASnapshot,
    /// It was written in a form that this version of the crate does not read.
    #[error("a snapshot of form {found}")]
    Version {
        /// The number of that form.
        found: u16,
    },
    /// The end is missing, or something stands behind it.
    #[error("the snapshot is not whole")]
    Truncated,
    /// Bits have changed since it was written.
    #[error("the snapshot is damaged")]
    Checksum,
    /// It has objects of an event package that is not registered.
    #[error("an event package is not registered")]
    UnknownPackage,
    /// It holds more than this field of [`Limits`](crate::Limits) allows.
    #[error("more than the limit `{0}` allows")]
    Limit(&'static str),
    /// [`Restart::Continue`](crate::Restart::Continue) with another seed, or
    /// with other limits.
    #[error("not the seed and the limits of the endpoint that was saved")]
    NotTheSame,
    /// Another object lives where a record has to go: records are for the
    /// endpoint that wrote them, or for one without objects of its own.
    #[error("another object lives in that place")]
    Occupied,
    /// What lives in that place is newer: records came out of order.
    #[error("a newer record of it was imported before")]
    Outdated,
    /// It is whole, yet not what this crate writes.
    #[error("the snapshot makes no sense")]
    Malformed,
}

/// Why a message from the network had no effect. Each reason has a counter in
/// [`Stats`](crate::Stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// A keep-alive or filler: CRLFs, zeros, STUN (RFC 5626 section 8).
    KeepAlive,
    /// Not a SIP message, or one to which no answer can be built.
    Unparsable,
    /// A malformed request, answered 400 (or 413, 505 and so on).
    Malformed,
    /// A malformed response, which RFC 3261 section 18.3 says to discard.
    MalformedResponse,
    /// A retransmitted request: its answer was sent again (RFC 3261 section 17.2.2).
    Retransmission,
    /// A response that matches no transaction of ours (RFC 6026 section 7.2).
    StrayResponse,
    /// A response whose transaction has taken its final one already.
    LateResponse,
    /// A request refused with an error status.
    Refused,
    /// A request without valid credentials, answered 401 or 400.
    Unauthorized,
    /// An ACK, which belongs to no transaction of ours.
    StrayAck,
    /// A table was full; where an answer is due it is 503 with Retry-After.
    Overload,
    /// The message is larger than a limit allows.
    TooLarge,
    /// The endpoint has drained after `close`.
    Closed,
}

impl DropReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 13] = [
        Self::KeepAlive,
        Self::Unparsable,
        Self::Malformed,
        Self::MalformedResponse,
        Self::Retransmission,
        Self::StrayResponse,
        Self::LateResponse,
        Self::Refused,
        Self::Unauthorized,
        Self::StrayAck,
        Self::Overload,
        Self::TooLarge,
        Self::Closed,
    ];
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeepAlive => "keep-alive",
            Self::Unparsable => "unparsable",
            Self::Malformed => "malformed request",
            Self::MalformedResponse => "malformed response",
            Self::Retransmission => "retransmission",
            Self::StrayResponse => "stray response",
            Self::LateResponse => "late response",
            Self::Refused => "refused",
            Self::Unauthorized => "unauthorized",
            Self::StrayAck => "stray ACK",
            Self::Overload => "overload",
            Self::TooLarge => "too large",
            Self::Closed => "closed",
        })
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Handled {
    /// It took effect; drain the outputs.
    Consumed,
    /// It belongs to another stack that shares the socket ([`Role::Shared`](crate::Role)).
    NotOurs,
    /// It had no effect on any subscription. An answer may be due: drain.
    Dropped(DropReason),
}

/// Why a request of ours got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No final response within 64*T1 (Timer F, RFC 3261 section 17.1.2.2).
    Timeout,
    /// The transport failed: refused, unreachable, closed.
    Transport,
    /// The name in the next hop does not resolve (RFC 3263).
    Unresolved,
}

/// What happens after a subscription of ours has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The application may subscribe again, but not before this moment.
    NotBefore(Instant),
    /// The application may, at any time.
    Allowed,
    /// Nobody should (rejected, noresource, invariant: RFC 6665 section 4.1.3).
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_drop_reason_has_its_own_name() {
        let mut names: alloc::vec::Vec<_> = DropReason::ALL.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
