//! Lies told to the model, each of which it has to notice.

use alloc::vec::Vec;

use alloc::string::String;
use alloc::sync::Arc;

use super::*;
use crate::wire::Transport;
use crate::{Authentication, Config, Decision, Event, Flow, Packages, ResourceKey, Seed, Subscribe};

const FROM: &str = "From: <sip:ann@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>;tag=b\r\n";
const BACK: &str = "From: <sip:bob@192.0.2.2>;tag=b\r\nTo: <sip:ann@192.0.2.1>;tag=a\r\n";

fn accepted(expires: u32) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{expires}\r\n{FROM}Call-ID: c\r\nCSeq: 1 SUBSCRIBE\r\n\
         Expires: {expires}\r\n\r\n"
    )
}

fn subscribe(branch: u32, expires: u32) -> String {
    format!(
        "SUBSCRIBE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{branch}\r\n{FROM}Call-ID: c\r\n\
         CSeq: 1 SUBSCRIBE\r\nExpires: {expires}\r\n\r\n"
    )
}

fn notify(cseq: u32, state: &str) -> String {
    format!(
        "NOTIFY sip:ann@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKn{cseq}\r\n{BACK}Call-ID: c\r\n\
         CSeq: {cseq} NOTIFY\r\nEvent: presence\r\nSubscription-State: {state}\r\n\r\n"
    )
}

fn taken(cseq: u32, status: u16) -> String {
    format!(
        "SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKn{cseq}\r\n{BACK}Call-ID: c\r\nCSeq: {cseq} NOTIFY\r\n\r\n"
    )
}

/// The model of one node, and the time.
struct Rig(Model, Instant);

impl Rig {
    fn sent(&mut self, message: &str) -> Option<String> {
        self.0.sent(0, self.1, &Facts::read(message.as_bytes()).unwrap(), false)
    }

    fn delivered(&mut self, message: &str) {
        self.0.delivered(0, self.1, &Facts::read(message.as_bytes()).unwrap(), false, false);
    }

    fn compare(&mut self, endpoint: &Endpoint) -> Result<u64, String> {
        self.0.compare(0, self.1, endpoint, |_| Some(key(&[b"c", b"a", b"b"])))
    }
}

fn rig() -> Rig {
    Rig(Model { times: true, ..Model::default() }, Instant::from_secs(100))
}

fn endpoint() -> Endpoint {
    let config = Config::new("sip:bob@192.0.2.2").unwrap().with_authentication(Authentication::None);
    let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([1; 32]), Instant::from_secs(100));
    endpoint.add_local(Transport::Udp, "192.0.2.2:5060".parse().unwrap(), None, None).unwrap();
    endpoint
}

/// A notifier that ann watches for 600 s.
fn notifier() -> Endpoint {
    let (mut bob, now) = (endpoint(), Instant::from_secs(100));
    bob.add_resource(&ResourceKey::new("sip:bob@192.0.2.2", "presence").unwrap()).unwrap();
    let subscribe = "SUBSCRIBE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK600\r\n\
        Max-Forwards: 70\r\nFrom: <sip:ann@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: c\r\n\
        CSeq: 1 SUBSCRIBE\r\nContact: <sip:ann@192.0.2.1>\r\nEvent: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n";
    let flow = Flow::udp("192.0.2.2:5060".parse().unwrap(), "192.0.2.1:5060".parse().unwrap());
    let _ = bob.handle_message(now, flow, subscribe.as_bytes());
    while let Some(event) = bob.poll_event() {
        if let Event::Subscribe(id) = event {
            bob.accept(now, id, Decision::ACCEPT).unwrap();
        }
    }
    while bob.poll_transmit(now, &mut Vec::new()).is_some() {}
    bob
}

/// A subscriber whose first NOTIFY told it that it is active for 600 s.
fn subscriber() -> Endpoint {
    let (mut ann, now, mut sent) = (endpoint(), Instant::from_secs(100), Vec::new());
    let _ = ann.subscribe(now, Subscribe::new("sip:bob@192.0.2.3", "presence").unwrap()).unwrap();
    let _ = ann.poll_transmit(now, &mut sent).unwrap();
    let asked = Facts::read(&sent).unwrap();
    let [tag, id] = [asked.from_tag, asked.call_id].map(|text| String::from_utf8_lossy(text).into_owned());
    let told = format!(
        "NOTIFY sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKn\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@192.0.2.3>;tag=b\r\nTo: <sip:bob@192.0.2.2>;tag={tag}\r\nCall-ID: {id}\r\n\
         CSeq: 2 NOTIFY\r\nContact: <sip:bob@192.0.2.3>\r\nEvent: presence\r\n\
         Subscription-State: active;expires=600\r\nContent-Length: 0\r\n\r\n"
    );
    let flow = Flow::udp("192.0.2.2:5060".parse().unwrap(), "192.0.2.3:5060".parse().unwrap());
    let _ = ann.handle_message(now, flow, told.as_bytes());
    ann
}

#[test]
fn what_a_notifier_may_not_say() {
    for (state, lie) in [
        ("active;expires=700", Some("more time")),
        ("active;expires=600", None),
        ("pending;expires=10", Some("pending after active")),
        ("terminated;expires=3", Some("an end with time left")),
        ("terminated", None),
    ] {
        let mut rig = rig();
        assert_eq!(rig.sent(&accepted(600)), None);
        assert_eq!(rig.sent(&notify(1, "active;expires=600")), None);
        rig.delivered(&taken(1, 200));
        let said = rig.sent(&notify(2, state));
        assert_eq!(said.is_some(), lie.is_some(), "{state}: {said:?}");
        assert!(said.unwrap_or_default().contains(lie.unwrap_or_default()), "{state}");
    }
    let mut rig = rig();
    assert_eq!(rig.sent(&accepted(600)), None);
    assert_eq!(rig.sent(&notify(1, "terminated")), None);
    assert!(rig.sent(&notify(2, "active;expires=9")).is_some_and(|said| said.contains("after the end")));
}

/// The 2xx of a refresh may wait for room on its connection, while the NOTIFY
/// takes another.
#[test]
fn what_a_notifier_may_say_before_its_2xx_leaves() {
    let refused = accepted(600).replace("CSeq: 1", "CSeq: 2").replace("200 OK", "500 x");
    for (stream, cseq, is_refused, state, right) in [
        (true, 2, false, "active;expires=600", true),
        (true, 2, false, "active;expires=700", false),
        (true, 1, false, "active;expires=600", false),
        (true, 2, true, "active;expires=600", false),
        (false, 2, false, "active;expires=600", false),
    ] {
        let mut rig = rig();
        assert_eq!(rig.sent(&accepted(60)), None);
        assert_eq!(rig.sent(&notify(1, "active;expires=60")), None);
        rig.delivered(&taken(1, 200));
        let refresh = subscribe(601, 600).replace("CSeq: 1", &format!("CSeq: {cseq}"));
        rig.0.delivered(0, rig.1, &Facts::read(refresh.as_bytes()).unwrap(), false, stream);
        if is_refused {
            assert_eq!(rig.sent(&refused), None);
        }
        let said = rig.sent(&notify(2, state));
        assert_eq!(said.is_none(), right, "{stream} {cseq} {is_refused} {state}: {said:?}");
        assert!(right || said.is_some_and(|said| said.contains("more time")));
    }
    // Once it has left, it counts.
    let mut rig = rig();
    assert_eq!(rig.sent(&accepted(60)), None);
    let refresh = subscribe(601, 600).replace("CSeq: 1", "CSeq: 2");
    rig.0.delivered(0, rig.1, &Facts::read(refresh.as_bytes()).unwrap(), false, true);
    assert_eq!(rig.sent(&accepted(120).replace("CSeq: 1", "CSeq: 2")), None);
    assert!(rig.sent(&notify(2, "active;expires=600")).is_some_and(|said| said.contains("more time")));
}

#[test]
fn what_a_notifier_must_believe() {
    let (bob, nobody) = (notifier(), endpoint());
    let mut rig = rig();
    let _ = rig.sent(&accepted(600));
    let _ = rig.sent(&notify(1, "active;expires=600"));
    assert_eq!(rig.compare(&bob), Ok(1));
    assert_eq!(rig.compare(&nobody), Ok(0), "the NOTIFY is not answered: nothing is certain");
    rig.delivered(&taken(1, 200));
    assert_eq!(rig.compare(&bob), Ok(2));
    assert!(rig.compare(&nobody).unwrap_err().contains("is not held"));
    // An answer after Timer F comes too late.
    let mut late = self::rig();
    let _ = late.sent(&accepted(600));
    let _ = late.sent(&notify(1, "active;expires=600"));
    late.1 = Instant::from_secs(132);
    late.delivered(&taken(1, 200));
    assert_eq!(late.compare(&nobody), Ok(0));
    // A NOTIFY that is refused leaves room, an end leaves none.
    let _ = rig.sent(&notify(2, "active;expires=600"));
    rig.delivered(&taken(2, 481));
    assert_eq!(rig.compare(&nobody), Ok(0));
    let _ = rig.sent(&notify(3, "terminated"));
    assert!(rig.compare(&bob).unwrap_err().contains("is Active"));
    // It believes in more than it granted.
    let mut rig = self::rig();
    let _ = rig.sent(&accepted(60));
    let _ = rig.sent(&notify(1, "active;expires=60"));
    assert!(rig.compare(&bob).unwrap_err().contains("until"));
    // A crash without store: nothing is known.
    rig.0.restarted(0, Store::Lost);
    assert_eq!(rig.compare(&bob), Ok(0));
}

#[test]
fn what_a_subscriber_must_believe() {
    let at = |seconds| Some(Instant::from_secs(seconds));
    let now = Instant::from_secs(100);
    let mut rig = rig();
    assert_eq!(rig.sent(&subscribe(600, 600)), None);
    rig.delivered(&accepted(600));
    rig.delivered(&notify(1, "active;expires=300"));
    let held = |rig: &Rig| rig.0.nodes[&0].held.values().next().cloned().unwrap();
    assert!(!held(&rig).allows(subscriber::State::Active, at(400), Some(now), false), "it has not taken the NOTIFY");
    assert_eq!(rig.sent(&taken(1, 200)), None);
    let told = held(&rig);
    for (state, until, right) in [
        (subscriber::State::Active, at(400), true),
        (subscriber::State::Active, at(700), true),
        (subscriber::State::Active, at(500), false),
        (subscriber::State::Active, None, false),
        (subscriber::State::Pending, at(400), false),
    ] {
        assert_eq!(told.allows(state, until, Some(now), false), right, "{state:?} until {until:?}");
    }
    assert!(
        !told.allows(subscriber::State::Active, at(400), Some(Instant::from_secs(500)), false),
        "its time has passed"
    );
    let waits = told.allows(subscriber::State::Active, at(400), Some(Instant::from_secs(500)), true);
    assert!(waits, "its refresh is not answered yet");
    rig.delivered(&notify(2, "terminated"));
    assert_eq!(rig.sent(&taken(2, 200)), None);
    assert!(!held(&rig).allows(subscriber::State::NotifyWait, None, Some(now), false));
    // The answer to a NOTIFY may wait for its connection, while what it told is believed.
    let ann = subscriber();
    for (stream, sound) in [(false, false), (true, true)] {
        let mut rig = self::rig();
        assert_eq!(rig.sent(&subscribe(600, 600)), None);
        rig.delivered(&accepted(600));
        rig.delivered(&notify(1, "pending;expires=600"));
        assert_eq!(rig.sent(&taken(1, 200)), None);
        let active = notify(2, "active;expires=600");
        rig.0.delivered(0, now, &Facts::read(active.as_bytes()).unwrap(), false, stream);
        assert_eq!(rig.compare(&ann).is_ok(), sound);
        assert_eq!(rig.sent(&taken(2, 200)), None);
        assert_eq!(rig.compare(&ann), Ok(1));
    }
    // An answer that comes again, too late, or to nothing tells nothing.
    let answered = held(&rig).answered;
    for (left, came) in [(None, 101), (Some(102), 135)] {
        if let Some(left) = left {
            rig.1 = Instant::from_secs(left);
            assert_eq!(rig.sent(&subscribe(900, 900)), None);
        }
        rig.1 = Instant::from_secs(came);
        rig.delivered(&accepted(900));
        assert_eq!(held(&rig).answered, answered);
    }
    // More than was asked for is not believed.
    assert_eq!(rig.sent(&subscribe(800, 60)), None);
    rig.delivered(&accepted(800));
    assert_eq!(held(&rig).answered, at(135 + 60));
    // What was refused tells nothing.
    rig.delivered(&notify(3, "active;expires=50"));
    assert_eq!(rig.sent(&taken(3, 481)), None);
    assert_eq!(held(&rig).told, Told::Over);
}
