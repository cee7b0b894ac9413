//! Each rule about messages and events, and a run that breaks it.

use alloc::format;
use alloc::string::String;
use core::num::NonZeroU32;

use super::*;
use crate::id::RawId;
use crate::package::Body;
use crate::{Ending, Gone, Retry, SubscriptionId, WatcherId};

const NOTIFIER: usize = 0;
const WATCHER: usize = 1;

/// A notifier and a watcher of the crate, seen from outside.
struct Rig {
    checkers: Checkers,
    now: Instant,
    stream: Option<StreamId>,
}

fn raw(slot: u32) -> RawId {
    RawId { slot, generation: NonZeroU32::MIN }
}

fn subscribe(cseq: u32, to_tag: &str, expires: u32) -> String {
    format!(
        "SUBSCRIBE sip:n@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKs{cseq}\r\n\
         From: <sip:w@x>;tag=sw\r\nTo: <sip:n@x>{to_tag}\r\nCall-ID: one\r\nCSeq: {cseq} SUBSCRIBE\r\n\
         Event: x\r\nExpires: {expires}\r\n\r\n"
    )
}

fn accepted(cseq: u32, expires: &str) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKs{cseq}\r\n\
         From: <sip:w@x>;tag=sw\r\nTo: <sip:n@x>;tag=wn\r\nCall-ID: one\r\nCSeq: {cseq} SUBSCRIBE\r\n{expires}\r\n"
    )
}

fn notify_from(tag: &str, cseq: u32, state: &str, body: &str) -> String {
    format!(
        "NOTIFY sip:w@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKn{cseq}{tag}\r\n\
         From: <sip:n@x>;tag={tag}\r\nTo: <sip:w@x>;tag=sw\r\nCall-ID: one\r\nCSeq: {cseq} NOTIFY\r\n\
         Event: x\r\nSubscription-State: {state}\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn notify(cseq: u32, state: &str, body: &str) -> String {
    notify_from("wn", cseq, state, body)
}

fn answer(cseq: u32) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKn{cseq}wn\r\n\
         From: <sip:n@x>;tag=wn\r\nTo: <sip:w@x>;tag=sw\r\nCall-ID: one\r\nCSeq: {cseq} NOTIFY\r\n\r\n"
    )
}

fn told(slot: u32, cseq: u32, body: &'static str) -> Event {
    let body = Body::from_static("text/plain", body.as_bytes());
    Event::Notify {
        subscription: SubscriptionId(raw(slot)),
        state: SubscriptionState::Active,
        expires: Some(600),
        cseq,
        document: Some(body.clone()),
        body: Some(body),
    }
}

fn ended() -> Event {
    Event::Terminated { subscription: SubscriptionId(raw(0)), why: Ending::Unsubscribed, retry: Retry::Never }
}

fn gone() -> Event {
    Event::WatcherGone { watcher: WatcherId(raw(0)), why: Gone::Expired }
}

impl Rig {
    fn sends(&mut self, node: usize, message: &str) {
        let flow = Flow::udp("10.0.0.1:5060".parse().unwrap(), "10.0.0.2:5060".parse().unwrap());
        let flow = Flow { stream: self.stream, ..flow };
        self.checkers.sent(node, self.now, self.now, &flow, message.as_bytes());
    }

    fn gets(&mut self, node: usize, message: &str) {
        self.checkers.delivered(node, self.now, message.as_bytes(), false, self.stream.is_some());
    }

    /// From one to the other.
    fn passes(&mut self, from: usize, message: &str) {
        self.sends(from, message);
        self.gets(1 - from, message);
    }

    fn tells(&mut self, node: usize, event: &Event) {
        self.checkers.told(node, event);
    }

    fn waits(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// A subscription with its first NOTIFY answered; another refresh and NOTIFY.
    fn sound() -> Self {
        let mut rig = Self { checkers: Checkers::default(), now: Instant::from_secs(1), stream: None };
        rig.checkers.add_node();
        rig.checkers.add_node();
        rig.passes(WATCHER, &subscribe(1, "", 600));
        rig.passes(NOTIFIER, &accepted(1, "Expires: 600\r\n"));
        rig.passes(NOTIFIER, &notify(1, "active;expires=600", "a"));
        rig.tells(WATCHER, &told(0, 1, "a"));
        rig.passes(WATCHER, &answer(1));
        rig.waits(60);
        rig.passes(WATCHER, &subscribe(2, ";tag=wn", 600));
        rig.passes(NOTIFIER, &accepted(2, "Expires: 600\r\n"));
        rig.passes(NOTIFIER, &notify(2, "active;expires=600", "b"));
        rig.tells(WATCHER, &told(0, 2, "b"));
        rig.passes(WATCHER, &answer(2));
        rig
    }

    fn says_no_more(&mut self) {
        for node in [WATCHER, NOTIFIER] {
            self.checkers.has_said_all(node);
        }
    }

    fn violation(&self) -> Option<Invariant> {
        self.checkers.violation().map(|violation| violation.invariant)
    }
}

/// A sound run goes on as `doctor` has it: that breaks the rule, and no other first.
fn breaks(invariant: Invariant, doctor: impl FnOnce(&mut Rig)) {
    let mut rig = Rig::sound();
    assert_eq!(rig.checkers.violation(), None);
    doctor(&mut rig);
    rig.says_no_more();
    assert_eq!(rig.violation(), Some(invariant), "{:?}", rig.checkers.violation());
}

/// A sound run goes on as `doctor` has it, and stays sound.
fn stays_sound(doctor: impl FnOnce(&mut Rig)) {
    let mut rig = Rig::sound();
    doctor(&mut rig);
    rig.says_no_more();
    assert_eq!(rig.checkers.violation(), None);
}

#[test]
fn notify_order() {
    breaks(Invariant::NotifyOrder, |rig| {
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.tells(WATCHER, &told(0, 3, "c"));
        rig.passes(WATCHER, &answer(3));
        rig.gets(WATCHER, &notify(2, "active;expires=600", "b"));
        rig.tells(WATCHER, &told(0, 2, "b"));
    });
    breaks(Invariant::NotifyOrder, |rig| {
        rig.gets(WATCHER, &notify(2, "active;expires=600", "b"));
        rig.tells(WATCHER, &told(0, 2, "b"));
    });
}

#[test]
fn notify_once() {
    breaks(Invariant::NotifyOnce, |rig| {
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.tells(WATCHER, &told(0, 3, "c"));
        rig.tells(WATCHER, &told(0, 3, "c"));
    });
    // With another body than came, or without any NOTIFY.
    breaks(Invariant::NotifyOnce, |rig| {
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.tells(WATCHER, &told(0, 3, "d"));
    });
    breaks(Invariant::NotifyOnce, |rig| rig.tells(WATCHER, &told(0, 3, "c")));
}

#[test]
fn foreign_dialog() {
    // Of a fork, told to the subscription of the first answer.
    breaks(Invariant::ForeignDialog, |rig| {
        rig.gets(WATCHER, &notify_from("wm", 9, "active;expires=600", "c"));
        rig.tells(WATCHER, &told(0, 9, "c"));
    });
    // In two subscriptions.
    breaks(Invariant::ForeignDialog, |rig| {
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.tells(WATCHER, &told(1, 3, "c"));
    });
    // For a SUBSCRIBE that was never sent.
    breaks(Invariant::ForeignDialog, |rig| {
        let stray = notify(3, "active;expires=600", "c").replace("Call-ID: one", "Call-ID: two");
        rig.gets(WATCHER, &stray);
        rig.tells(WATCHER, &told(1, 3, "c"));
    });
}

#[test]
fn one_end() {
    breaks(Invariant::OneEnd, |rig| {
        rig.tells(WATCHER, &ended());
        rig.tells(WATCHER, &ended());
    });
    breaks(Invariant::OneEnd, |rig| {
        rig.tells(WATCHER, &ended());
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.tells(WATCHER, &told(0, 3, "c"));
    });
    breaks(Invariant::OneEnd, |rig| {
        rig.tells(NOTIFIER, &gone());
        rig.tells(NOTIFIER, &gone());
    });
    breaks(Invariant::OneEnd, |rig| {
        rig.tells(NOTIFIER, &gone());
        rig.tells(NOTIFIER, &Event::Refreshed { watcher: WatcherId(raw(0)), expires: 60 });
    });
}

#[test]
fn nothing_after_the_end() {
    breaks(Invariant::NothingAfterEnd, |rig| {
        rig.passes(NOTIFIER, &notify(3, "terminated;reason=timeout", ""));
        rig.passes(WATCHER, &answer(3));
        rig.passes(NOTIFIER, &notify(4, "active;expires=600", "d"));
    });
    // Nor from the watcher's side.
    breaks(Invariant::NothingAfterEnd, |rig| {
        rig.passes(NOTIFIER, &notify(3, "terminated;reason=timeout", ""));
        let body = Event::Notify {
            subscription: SubscriptionId(raw(0)),
            state: SubscriptionState::Terminated,
            expires: None,
            cseq: 3,
            body: None,
            document: None,
        };
        rig.tells(WATCHER, &body);
        rig.passes(WATCHER, &subscribe(3, ";tag=wn", 600));
    });
    // Nor after a restart, if it was answered.
    let restarts = |rig: &mut Rig, answer: &str, mangled: bool| {
        rig.passes(NOTIFIER, &notify(3, "terminated;reason=timeout", ""));
        rig.checkers.delivered(NOTIFIER, rig.now, answer.as_bytes(), mangled, false);
        rig.checkers.restarted(NOTIFIER, Store::Intact);
        rig.sends(NOTIFIER, &notify(4, "terminated;reason=timeout", ""));
    };
    breaks(Invariant::NothingAfterEnd, |rig| restarts(rig, &answer(3), false));
    // An answer whose damage leaves the branch alone may have been dropped (RFC 3261 section 17.1.3).
    for damaged in [answer(3), answer(3).replace("3 NOTIFY", "3 NO\u{2}IFY"), answer(3).replace("CSeq: 3", "CSeq: x")] {
        stays_sound(|rig| restarts(rig, &damaged, true));
    }
    // A proxy repeats it as it came there.
    stays_sound(|rig| restarts(rig, &answer(3).replace("tag=wn", "tag=wx"), false));
    // A proxy may repeat as its own what was damaged on its way there.
    for text in ["3 NO\u{2}IFY", "4 NOTIFY", "x NOTIFY"] {
        stays_sound(|rig| restarts(rig, &answer(3).replace("3 NOTIFY", text), false));
    }
    // A retransmission of the last word is none.
    stays_sound(|rig| {
        rig.passes(NOTIFIER, &notify(3, "terminated;reason=timeout", ""));
        rig.waits(1);
        rig.passes(NOTIFIER, &notify(3, "terminated;reason=timeout", ""));
    });
}

/// A connection that closes takes what was open with it: the last NOTIFY may go
/// again, once, by another way.
#[test]
fn a_last_notify_on_a_closed_connection() {
    let closes = |rig: &mut Rig, stream: u64| {
        rig.stream = Some(StreamId(2));
        rig.sends(NOTIFIER, &notify(3, "terminated", ""));
        rig.checkers.stream_closed(NOTIFIER, StreamId(stream));
        rig.stream = Some(StreamId(3));
        rig.sends(NOTIFIER, &notify(4, "terminated", ""));
    };
    stays_sound(|rig| closes(rig, 2));
    breaks(Invariant::OneInFlight, |rig| closes(rig, 5));
    // It may say the new one before it says that it gave the connection up.
    let gives_up = |rig: &mut Rig, substate: &str, in_between: bool| {
        rig.stream = Some(StreamId(2));
        rig.sends(NOTIFIER, &notify(3, substate, ""));
        rig.stream = Some(StreamId(3));
        rig.sends(NOTIFIER, &notify(4, substate, ""));
        if in_between {
            rig.says_no_more();
        }
        rig.checkers.stream_closed(NOTIFIER, StreamId(2));
    };
    // Even when its transaction may be over by the time that a pong is missed.
    stays_sound(|rig| {
        rig.stream = Some(StreamId(2));
        rig.sends(NOTIFIER, &notify(3, "terminated", ""));
        rig.waits(15);
        rig.stream = Some(StreamId(3));
        rig.sends(NOTIFIER, &notify(4, "terminated", ""));
        rig.checkers.stream_closed(NOTIFIER, StreamId(2));
    });
    for substate in ["terminated", "active;expires=600"] {
        stays_sound(|rig| gives_up(rig, substate, false));
        breaks(Invariant::OneInFlight, |rig| gives_up(rig, substate, true));
    }
    // What does not leave its socket has failed as well.
    stays_sound(|rig| {
        rig.sends(NOTIFIER, &notify(3, "terminated", ""));
        rig.checkers.failed(NOTIFIER, notify(3, "terminated", "").as_bytes());
        rig.sends(NOTIFIER, &notify(4, "terminated", ""));
    });
    breaks(Invariant::NothingAfterEnd, |rig| {
        closes(rig, 2);
        rig.waits(40);
        rig.sends(NOTIFIER, &notify(5, "terminated", ""));
    });
}

#[test]
fn what_is_taken_is_told() {
    breaks(Invariant::NotifyOnce, |rig| {
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.passes(WATCHER, &answer(3));
    });
    // One that comes again is answered again, and told no more.
    stays_sound(|rig| {
        for _ in 0..2 {
            rig.passes(NOTIFIER, &notify(2, "active;expires=600", "b"));
            rig.sends(WATCHER, &answer(2));
        }
    });
}

/// A late NOTIFY of the dialog that a subscription has left.
#[test]
fn nothing_of_a_dead_dialog() {
    let retrying =
        || Event::Retrying { subscription: SubscriptionId(raw(0)), why: Ending::GaveUp, at: Instant::from_secs(100) };
    for (end, slot) in [(retrying(), 0), (ended(), 1)] {
        breaks(Invariant::ForeignDialog, |rig| {
            rig.tells(WATCHER, &end);
            rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
            rig.tells(WATCHER, &told(slot, 3, "c"));
        });
    }
}

#[test]
fn accepted_first() {
    let first = |rig: &mut Rig| {
        *rig = Rig { checkers: Checkers::default(), now: Instant::from_secs(1), stream: rig.stream };
        rig.checkers.add_node();
        rig.checkers.add_node();
        rig.passes(WATCHER, &subscribe(1, "", 600));
        rig.passes(NOTIFIER, &notify(1, "active;expires=600", "a"));
    };
    breaks(Invariant::AcceptedFirst, first);
    // The 2xx may wait for room on a connection.
    stays_sound(|rig| {
        rig.stream = Some(StreamId(2));
        first(rig);
    });
}

#[test]
fn one_in_flight() {
    breaks(Invariant::OneInFlight, |rig| {
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.waits(1);
        rig.passes(NOTIFIER, &notify(4, "active;expires=600", "d"));
    });
    breaks(Invariant::OneInFlight, |rig| {
        rig.sends(WATCHER, &subscribe(3, ";tag=wn", 600));
        rig.waits(1);
        rig.sends(WATCHER, &subscribe(4, ";tag=wn", 600));
    });
    // What waits for a connection may have failed by the time that it leaves (Timer F).
    let late = |rig: &mut Rig, blocked: bool| {
        rig.stream = Some(StreamId(2));
        if blocked {
            rig.checkers.blocked(WATCHER, StreamId(2), rig.now);
        }
        rig.sends(WATCHER, &subscribe(3, ";tag=wn", 600));
        rig.waits(8);
        rig.sends(WATCHER, &subscribe(4, ";tag=wn", 600));
    };
    breaks(Invariant::OneInFlight, |rig| late(rig, false));
    stays_sound(|rig| late(rig, true));
    breaks(Invariant::OneInFlight, |rig| {
        rig.checkers.blocked(WATCHER, StreamId(2), rig.now);
        rig.waits(40);
        late(rig, false);
    });
    // Who moved says anew what was open.
    stays_sound(|rig| {
        rig.sends(WATCHER, &subscribe(3, ";tag=wn", 600));
        rig.checkers.moved(WATCHER);
        rig.sends(WATCHER, &subscribe(4, ";tag=wn", 600));
        rig.sends(NOTIFIER, &notify(3, "terminated", ""));
        rig.checkers.moved(NOTIFIER);
        rig.sends(NOTIFIER, &notify(4, "terminated", ""));
    });
    // INT-10: a refresh's NOTIFY replaces the one before, which is not sent again.
    let refreshed = |rig: &mut Rig| {
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.passes(WATCHER, &subscribe(3, ";tag=wn", 600));
        rig.passes(NOTIFIER, &accepted(3, "Expires: 600\r\n"));
        rig.passes(NOTIFIER, &notify(4, "active;expires=600", "d"));
    };
    stays_sound(refreshed);
    breaks(Invariant::OneInFlight, |rig| {
        refreshed(rig);
        rig.passes(NOTIFIER, &notify(3, "active;expires=600", "c"));
    });
}

#[test]
fn granted_above_asked() {
    let refresh = |granted: &'static str| {
        move |rig: &mut Rig| {
            rig.passes(WATCHER, &subscribe(3, ";tag=wn", 600));
            rig.passes(NOTIFIER, &accepted(3, granted));
        }
    };
    breaks(Invariant::GrantedAboveAsked, refresh("Expires: 601\r\n"));
    breaks(Invariant::GrantedAboveAsked, refresh(""));
    breaks(Invariant::GrantedAboveAsked, |rig| {
        refresh("Expires: 300\r\n")(rig);
        rig.passes(NOTIFIER, &notify(3, "active;expires=301", "c"));
    });
    stays_sound(|rig| {
        refresh("Expires: 300\r\n")(rig);
        rig.passes(NOTIFIER, &notify(3, "active;expires=300", "c"));
    });
}

#[test]
fn cseq_back() {
    breaks(Invariant::CseqBack, |rig| rig.sends(NOTIFIER, &notify(1, "active;expires=600", "e").replace("n1w", "mw")));
    for store in [Store::Intact, Store::Stale, Store::Truncated, Store::Lost] {
        breaks(Invariant::CseqBack, |rig| {
            rig.checkers.restarted(WATCHER, store);
            rig.sends(WATCHER, &subscribe(2, ";tag=wn", 600).replace("s2", "t2").replace("CSeq: 2", "CSeq: 1"));
        });
        stays_sound(|rig| {
            rig.checkers.restarted(WATCHER, store);
            rig.sends(WATCHER, &subscribe(3, ";tag=wn", 600));
        });
    }
    // The number of a request whose Timer F has run out is spent.
    breaks(Invariant::CseqBack, |rig| {
        rig.waits(60);
        rig.sends(NOTIFIER, &notify(2, "active;expires=600", "e").replace("n2w", "mw"));
    });
}

#[test]
fn well_formed() {
    breaks(Invariant::WellFormed, |rig| rig.sends(NOTIFIER, "NOTIFY sip:w@10.0.0.2 SIP/2.0\r\n\r\n"));
    // A pong and a ping (RFC 5626 section 4.4.1).
    stays_sound(|rig| {
        rig.sends(NOTIFIER, "\r\n");
        rig.sends(WATCHER, "\r\n\r\n");
    });
}

#[test]
fn same_bytes() {
    breaks(Invariant::SameBytes, |rig| {
        rig.sends(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.waits(1);
        rig.sends(NOTIFIER, &notify(3, "active;expires=599", "c"));
    });
    stays_sound(|rig| {
        rig.sends(NOTIFIER, &notify(3, "active;expires=600", "c"));
        rig.waits(1);
        rig.sends(NOTIFIER, &notify(3, "active;expires=600", "c"));
    });
}

/// A damaged message binds nobody, but excuses only itself.
#[test]
fn what_was_damaged_is_not_held_against_anybody() {
    stays_sound(|rig| {
        let damaged = notify(3, "active;expires=600", "c");
        rig.checkers.delivered(WATCHER, rig.now, damaged.as_bytes(), true, false);
        rig.tells(WATCHER, &told(0, 3, "x"));
    });
    breaks(Invariant::NotifyOnce, |rig| {
        let damaged = notify(3, "active;expires=600", "c");
        rig.checkers.delivered(WATCHER, rig.now, damaged.as_bytes(), true, false);
        rig.tells(WATCHER, &told(0, 3, "x"));
        rig.tells(WATCHER, &told(0, 4, "x"));
    });
}

#[test]
fn a_silent_watcher_is_seen_by_the_others() {
    let mut rig = Rig::sound();
    let other = key(&[b"one", b"wm", b"sw"]);
    assert!(!rig.checkers.has_silent(NOTIFIER, other, Duration::from_secs(3)));
    rig.sends(NOTIFIER, &notify(3, "active;expires=600", "c"));
    rig.waits(4);
    rig.gets(NOTIFIER, &answer(2));
    assert!(rig.checkers.has_silent(NOTIFIER, other, Duration::from_secs(3)));
    let own = key(&[b"one", b"wn", b"sw"]);
    assert!(!rig.checkers.has_silent(NOTIFIER, own, Duration::from_secs(3)), "its own silence is no excuse");
    rig.gets(NOTIFIER, &answer(3));
    assert!(!rig.checkers.has_silent(NOTIFIER, other, Duration::from_secs(3)));
}

/// A late copy of a NOTIFY that an earlier life took is news to an older memory:
/// what it tells is compared with nothing. Nor does it count as told.
#[test]
fn a_late_copy_says_nothing_of_the_present() {
    let id = SubscriptionId(raw(0)).as_u64();
    let after = |cseq: u32, store: Store| {
        let mut rig = Rig::sound();
        rig.checkers.restarted(WATCHER, store);
        rig.gets(WATCHER, &notify(cseq, "active;expires=600", "x"));
        rig.tells(WATCHER, &told(0, cseq, "x"));
        assert!(rig.checkers.violation().is_none(), "{:?}", rig.checkers.violation());
        rig
    };
    for (cseq, is_compared) in [(1, false), (2, true), (3, true)] {
        let rig = after(cseq, Store::Stale);
        assert_eq!(rig.checkers.path(WATCHER, id).is_some(), is_compared, "{cseq}");
        assert_eq!(rig.checkers.has_dialog(WATCHER, id), is_compared, "{cseq}");
    }
    let mut rig = after(1, Store::Stale);
    rig.gets(WATCHER, &notify(3, "active;expires=600", "y"));
    rig.tells(WATCHER, &told(0, 3, "y"));
    assert!(rig.checkers.path(WATCHER, id).is_some(), "a later one counts");
    // Not even after another crash with the same memory.
    let mut rig = after(1, Store::Stale);
    rig.checkers.restarted(WATCHER, Store::Stale);
    rig.gets(WATCHER, &notify(1, "active;expires=600", "x"));
    rig.tells(WATCHER, &told(0, 1, "x"));
    assert!(rig.checkers.path(WATCHER, id).is_none());
    // A memory that is whole has forgotten nothing.
    assert!(after(3, Store::Intact).checkers.path(WATCHER, id).is_some());
}
