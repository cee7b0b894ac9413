//! What status codes and termination reasons mean (RFC 6665 4.1.2.2, 4.1.3
//! and 4.2.2, RFC 5057 5.1).
//!
//! All functions are total over `u16`. A code without a row of its own counts
//! as the `x00` of its class; codes below 200 and above 699 end nothing.

use core::time::Duration;

use super::secs;

/// What the final response to a SUBSCRIBE does to the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeEffect {
    /// 2xx: granted, a NOTIFY follows.
    Accepted,
    /// 204: granted, no NOTIFY follows (RFC 5839).
    NoNotify,
    /// 3xx: ask at another address.
    Redirect,
    /// 401, 407: ask again with credentials.
    Challenge,
    /// 423: ask again for longer.
    TooBrief,
    /// Only this request failed; a subscription that exists stays.
    TransactionOnly,
    /// The subscription is over, other usages of the dialog are not.
    EndUsage,
    /// The whole dialog is over.
    EndDialog,
    /// 408: counts as no response at all (6665-RSP-6).
    TimedOut,
}

/// What `status`, answering a SUBSCRIBE, does (6665-RSP-1 to 13).
pub const fn subscribe_effect(status: u16) -> SubscribeEffect {
    match status {
        204 => SubscribeEffect::NoNotify,
        200..=299 => SubscribeEffect::Accepted,
        300..=399 => SubscribeEffect::Redirect,
        401 | 407 => SubscribeEffect::Challenge,
        408 => SubscribeEffect::TimedOut,
        423 => SubscribeEffect::TooBrief,
        _ if ends_dialog(status) => SubscribeEffect::EndDialog,
        _ if is_fatal(status) => SubscribeEffect::EndUsage,
        _ => SubscribeEffect::TransactionOnly,
    }
}

/// What the final response to a NOTIFY does to the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyEffect {
    /// 2xx.
    Delivered,
    /// 3xx: send again to another address.
    Redirect,
    /// 401, 407: send again with credentials.
    Challenge,
    /// Only this request failed; the subscription stays.
    Keep,
    /// The subscription is over, other usages of the dialog are not.
    EndUsage,
    /// The whole dialog is over.
    EndDialog,
    /// 408: counts as no response at all (6665-NRC-4).
    TimedOut,
}

/// What `status`, answering a NOTIFY, does (6665-NRC-1 to 21).
///
/// With `rfc3265` every failure ends the subscription as RFC 3265 3.2.2 had
/// it, a Retry-After apart: see [`notify_effect_rfc3265`].
pub const fn notify_effect(status: u16, rfc3265: bool) -> NotifyEffect {
    if rfc3265 {
        return notify_effect_rfc3265(status, false);
    }
    match status {
        200..=299 => NotifyEffect::Delivered,
        300..=399 => NotifyEffect::Redirect,
        401 | 407 => NotifyEffect::Challenge,
        408 => NotifyEffect::TimedOut,
        _ if ends_dialog(status) => NotifyEffect::EndDialog,
        _ if is_fatal(status) => NotifyEffect::EndUsage,
        _ => NotifyEffect::Keep,
    }
}

/// The RFC 3265 column of the same table: a failure other than 481 that has a
/// Retry-After, of a code for which it was a delay, keeps the subscription.
pub const fn notify_effect_rfc3265(status: u16, has_retry_after: bool) -> NotifyEffect {
    match status {
        200..=299 => NotifyEffect::Delivered,
        401 | 407 => NotifyEffect::Challenge,
        480 | 500 | 502..=599 if has_retry_after => NotifyEffect::Keep,
        _ if ends_dialog(status) => NotifyEffect::EndDialog,
        300..=699 => NotifyEffect::EndUsage,
        _ => NotifyEffect::Keep,
    }
}

/// Whether RFC 6665 4.1.2.2 and 4.2.2 say that this code ends a subscription.
pub const fn is_fatal(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

/// Fatal codes that take the dialog along (RFC 5057 5.1). 502 is not among
/// them: RFC 6665 leaves it out (INT-8).
pub(crate) const fn ends_dialog(status: u16) -> bool {
    matches!(status, 404 | 410 | 416 | 482..=485 | 604)
}

/// The `reason` of a terminated subscription (RFC 6665 4.1.3, RFC 4660).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReasonCode {
    /// Subscribe again at once, in a new dialog.
    Deactivated,
    /// Subscribe again later.
    Probation,
    /// Authorisation refused or withdrawn.
    Rejected,
    /// Not refreshed in time.
    Timeout,
    /// No authorisation in time.
    Giveup,
    /// The resource is gone.
    NoResource,
    /// The state will never change.
    Invariant,
    /// The filter cannot be honoured (RFC 4660).
    BadFilter,
    /// A token that is not registered.
    Other,
    /// No reason given.
    #[default]
    Absent,
}

/// Whether, and when, a new subscription may replace one that ended.
///
/// Permission by the protocol; whether the application still wants it, and any
/// further back-off, is for the layer above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resubscribe {
    /// Not by itself.
    Never,
    /// At once.
    Now,
    /// Yes, but not before this time has passed.
    NotBefore(Duration),
    /// Allowed after this time, not asked for; back off.
    MayAfter(Duration),
    /// Yes, after a back-off of one's own.
    Later,
}

/// What a termination reason says about subscribing again (6665-RSN-1 to 10).
///
/// `retry_after` is in seconds, and bounded by its type to 136 years (INT-12);
/// no shorter cap is applied, since the peer asked not to be called earlier.
pub const fn after_reason(reason: ReasonCode, retry_after: Option<u32>) -> Resubscribe {
    match (reason, retry_after) {
        (ReasonCode::Deactivated, _) => Resubscribe::Now,
        (ReasonCode::Probation | ReasonCode::Giveup, Some(wait)) => Resubscribe::NotBefore(secs(wait)),
        (ReasonCode::Probation, None) => Resubscribe::Later,
        (ReasonCode::Giveup, None) | (ReasonCode::Timeout, _) => Resubscribe::MayAfter(Duration::ZERO),
        (ReasonCode::Rejected | ReasonCode::NoResource | ReasonCode::Invariant | ReasonCode::BadFilter, _) => {
            Resubscribe::Never
        }
        (ReasonCode::Other | ReasonCode::Absent, Some(wait)) => Resubscribe::MayAfter(secs(wait)),
        (ReasonCode::Other | ReasonCode::Absent, None) => Resubscribe::MayAfter(Duration::ZERO),
    }
}

/// What a final response that ended the attempt (`initial`), or a subscription,
/// says about a fresh one.
///
/// A Retry-After counts with the codes for which RFC 3261 20.33 names it. In a
/// dialog, 404, 410 and 480 to 483 speak of the device behind the Contact, so a
/// fresh request to the resource is worth a try; the same codes to an initial
/// request are an answer (6665-RSP-10, -11).
pub const fn after_refusal(status: u16, retry_after: Option<u32>, initial: bool) -> Resubscribe {
    match (status, retry_after) {
        (404 | 413 | 480 | 486 | 500 | 503 | 600 | 603, Some(wait)) => Resubscribe::NotBefore(secs(wait)),
        (404 | 410 | 480..=483, _) if !initial => Resubscribe::Later,
        (408 | 480 | 491 | 500 | 502..=504, _) => Resubscribe::Later,
        _ => Resubscribe::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FATAL: [u16; 13] = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604];
    const DIALOG: [u16; 8] = [404, 410, 416, 482, 483, 484, 485, 604];

    /// Covers: 6665-RSP-1, 6665-RSP-2, 6665-RSP-3, 6665-RSP-4, 6665-RSP-5, 6665-RSP-6,
    /// 6665-RSP-7, 6665-RSP-8, 6665-RSP-9, 6665-RSP-11, 6665-RSP-12, 6665-RSP-13,
    /// 6665-4.1.2.2-2, 6665-8.3.1-1, 5057-5.1-1, INT-8
    #[test]
    fn every_code_to_a_subscribe_has_its_row() {
        use SubscribeEffect as E;
        for status in 0..=u16::MAX {
            let expected = match status {
                204 => E::NoNotify,
                200..=299 => E::Accepted,
                300..=399 => E::Redirect,
                401 | 407 => E::Challenge,
                408 => E::TimedOut,
                423 => E::TooBrief,
                s if DIALOG.contains(&s) => E::EndDialog,
                s if FATAL.contains(&s) => E::EndUsage,
                _ => E::TransactionOnly,
            };
            assert_eq!(subscribe_effect(status), expected, "{status}");
            assert_eq!(is_fatal(status), FATAL.contains(&status), "{status}");
        }
        assert_eq!(subscribe_effect(202), E::Accepted);
        assert_eq!(subscribe_effect(502), E::TransactionOnly);
    }

    /// Covers: 6665-NRC-1, 6665-NRC-2, 6665-NRC-4, 6665-NRC-5, 6665-NRC-6, 6665-NRC-7,
    /// 6665-NRC-8, 6665-NRC-9, 6665-NRC-10, 6665-NRC-11, 6665-NRC-12, 6665-NRC-13,
    /// 6665-NRC-14, 6665-NRC-15, 6665-NRC-16, 6665-NRC-17, 6665-NRC-18, 6665-NRC-19,
    /// 6665-NRC-20, 6665-NRC-21, 6665-4.2.2-5
    #[test]
    fn every_code_to_a_notify_has_its_row() {
        use NotifyEffect as E;
        for status in 0..=u16::MAX {
            let expected = match status {
                200..=299 => E::Delivered,
                300..=399 => E::Redirect,
                401 | 407 => E::Challenge,
                408 => E::TimedOut,
                s if DIALOG.contains(&s) => E::EndDialog,
                s if FATAL.contains(&s) => E::EndUsage,
                _ => E::Keep,
            };
            assert_eq!(notify_effect(status, false), expected, "{status}");
        }
        for status in [100, 400, 413, 415, 423, 499, 500, 502, 503, 513, 599, 600, 603, 699] {
            assert_eq!(notify_effect(status, false), E::Keep, "{status}");
        }
    }

    /// Covers: 6665-NRC-7, 6665-NRC-12, 6665-NRC-13, 6665-NRC-17, 6665-NRC-19
    #[test]
    fn the_older_rfc_removes_on_failure_unless_told_to_wait() {
        use NotifyEffect as E;
        for status in 300..=699 {
            let effect = notify_effect(status, true);
            if matches!(status, 401 | 407) {
                assert_eq!(effect, E::Challenge);
            } else {
                assert!(matches!(effect, E::EndUsage | E::EndDialog), "{status}");
            }
        }
        assert_eq!(notify_effect(202, true), E::Delivered);
        for status in [480, 500, 502, 503, 504, 599] {
            assert_eq!(notify_effect_rfc3265(status, true), E::Keep, "{status}");
        }
        assert_eq!(notify_effect_rfc3265(481, true), E::EndUsage);
        assert_eq!(notify_effect_rfc3265(400, true), E::EndUsage);
        assert_eq!(notify_effect_rfc3265(100, false), E::Keep);
    }

    /// Covers: 6665-RSN-1, 6665-RSN-2, 6665-RSN-3, 6665-RSN-4, 6665-RSN-5, 6665-RSN-6,
    /// 6665-RSN-7, 6665-RSN-8, 6665-RSN-9, 6665-RSN-10, 6665-4.1.3-14, 6665-4.1.3-15,
    /// 6665-4.1.3-16, 6665-4.1.3-17, 6665-4.1.3-18, 6665-4.1.3-19, 6665-4.1.3-20, 6665-4.1.3-21
    #[test]
    fn every_reason_has_its_row() {
        use ReasonCode as C;
        use Resubscribe as R;
        let zero = Duration::ZERO;
        let d30 = Duration::from_secs(30);
        let rows = [
            (C::Deactivated, R::Now, R::Now),
            (C::Probation, R::Later, R::NotBefore(d30)),
            (C::Rejected, R::Never, R::Never),
            (C::Timeout, R::MayAfter(zero), R::MayAfter(zero)),
            (C::Giveup, R::MayAfter(zero), R::NotBefore(d30)),
            (C::NoResource, R::Never, R::Never),
            (C::Invariant, R::Never, R::Never),
            (C::BadFilter, R::Never, R::Never),
            (C::Other, R::MayAfter(zero), R::MayAfter(d30)),
            (C::Absent, R::MayAfter(zero), R::MayAfter(d30)),
        ];
        for (reason, without, with) in rows {
            assert_eq!(after_reason(reason, None), without, "{reason:?}");
            assert_eq!(after_reason(reason, Some(30)), with, "{reason:?}");
        }
        let longest = Duration::from_secs(4_294_967_295);
        assert_eq!(after_reason(C::Probation, Some(u32::MAX)), R::NotBefore(longest));
    }

    /// Covers: 6665-RSP-10, 6665-RSP-11, PEER-A15, PEER-D15
    #[test]
    fn a_refusal_is_retried_only_where_time_can_help() {
        use Resubscribe as R;
        assert_eq!(after_refusal(481, None, true), R::Never);
        assert_eq!(after_refusal(481, None, false), R::Later);
        assert_eq!(after_refusal(404, None, true), R::Never);
        assert_eq!(after_refusal(404, None, false), R::Later);
        let wait = R::NotBefore(Duration::from_secs(9));
        assert_eq!(after_refusal(480, Some(9), true), wait);
        assert_eq!(after_refusal(503, Some(9), true), wait);
        assert_eq!(after_refusal(503, None, true), R::Later);
        for status in [400, 403, 405, 406, 415, 420, 423, 489, 501, 505, 513, 600, 603, 604, 606] {
            assert_eq!(after_refusal(status, None, true), R::Never, "{status}");
        }
    }
}
