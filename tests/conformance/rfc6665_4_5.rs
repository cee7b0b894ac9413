//! RFC 6665 section 4.5 and RFC 7621: GRUUs, and one dialog for each
//! subscription.

use sip_events::wire::{Transport, UriBuf};
use sip_events::{Packages, Subscribe};

use crate::harness::*;

const GRUU: &str = "sip:me@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

fn with_gruu() -> Rig {
    let mut rig = Rig::bare(Rig::config(), Packages::standard());
    let gruu = UriBuf::try_from(GRUU).unwrap();
    rig.endpoint.add_local(Transport::Udp, addr(LOCAL), None, Some(gruu)).unwrap();
    rig.add_bob();
    rig
}

/// Covers: 6665-4.5.1-1, 6665-4.5.1-2, 7621-2-1, 7621-2-2
#[test]
fn a_gruu_is_the_local_target_everywhere() {
    let mut rig = with_gruu();
    let theirs = rig.theirs();
    assert_eq!(theirs.ok.contact(), GRUU);
    assert_eq!(theirs.notify.contact(), GRUU);
    let refresh = theirs.ok.refresh(2, 600).line(format!("SUBSCRIBE {GRUU} SIP/2.0"));
    let sent = rig.feed(refresh);
    assert_eq!((sent[0].contact().as_str(), sent[1].contact().as_str()), (GRUU, GRUU));
    let ours = rig.ours();
    assert_eq!(ours.subscribe.contact(), GRUU);
    assert_eq!(rig.refresh(&ours).contact(), GRUU);
}

/// Covers: 6665-4.5.1-3, 6665-4.5.2-1, 6665-4.5.2-2, 6665-4.5-1, 6665-4.5.2-11, PEER-C12, PEER-C14
#[test]
fn every_subscription_has_a_dialog_of_its_own() {
    let mut rig = Rig::new();
    let device = "sip:peer@198.51.100.7:5080;gr=abc";
    let ours = rig.start(Rig::request());
    rig.quiet(ours.subscribe.accepted(600));
    let notify = ours.subscribe.notify(1, "active;expires=600");
    assert_eq!(rig.status(notify.set("Contact", format!("<{device}>"))), 200);
    // Another package of the same device: a new dialog, with the GRUU as target.
    let target = rig.endpoint.subscription(ours.id).unwrap().target.unwrap();
    let target = std::str::from_utf8(target).unwrap().to_owned();
    assert_eq!(target, device);
    let second = rig.start(Subscribe::new(&target, "message-summary").unwrap());
    assert_eq!(second.subscribe.uri(), device);
    assert_eq!(second.subscribe.tag("To"), None);
    assert_ne!(second.subscribe.get("Call-ID"), ours.subscribe.get("Call-ID"));
    assert_ne!(second.subscribe.tag("From"), ours.subscribe.tag("From"));
}

/// Covers: 6665-4.5.2-3, 6665-4.5.2-4, 6665-4.5.2-10, 7621-2-3, 7621-2-4, 5057-5.6-1, 6665-DISP-12,
/// 6665-4.2.1.1-7
#[test]
fn a_second_subscription_in_a_dialog_is_refused_and_harms_nothing() {
    for gruu in [false, true] {
        for event in ["message-summary", "presence;id=7"] {
            let mut rig = if gruu { with_gruu() } else { Rig::notifier() };
            let theirs = rig.theirs();
            let refused = rig.one(theirs.ok.refresh(2, 600).set("Event", event));
            assert_eq!(refused.start(), "SIP/2.0 403 Dialog Sharing Not Supported", "{event}");
            assert_eq!(rig.set_bob("<closed/>").len() + rig.run(secs(5)).len(), 1, "{event}");
            assert!(rig.watches(&theirs));
        }
    }
}

/// Covers: 6665-4.5.2-7, 6665-4.5.2-8, 6665-4.5.2-10, 6665-3.2.1-2
#[test]
fn the_id_of_the_subscribe_is_in_every_notify() {
    let mut rig = Rig::notifier();
    let theirs = rig.theirs_by(subscribe(600).set("Event", "presence;id=a1"));
    assert_eq!(theirs.notify.get("Event"), "presence;id=a1");
    let change =
        rig.run(secs(5)).len() + rig.set_bob("<closed/>").iter().filter(|n| n.get("Event") == "presence;id=a1").count();
    assert_eq!(change, 1);
    // Without it, or with another, it would be another subscription.
    assert_eq!(rig.status(theirs.ok.refresh(2, 600)), 403);
    assert_eq!(rig.status(theirs.ok.refresh(3, 600).set("Event", "presence;id=A1")), 403);
    let sent = rig.feed(theirs.ok.refresh(4, 600).set("Event", "presence;id=a1"));
    assert_eq!((sent[0].status(), sent[1].get("Event").as_str()), (200, "presence;id=a1"));
}

/// Covers: 6665-4.5.2-9, 6665-4.5.2-7
#[test]
fn a_refresh_carries_the_same_id() {
    let mut rig = Rig::new();
    let request = Subscribe::new(PEER_URI, "presence;id=a1").unwrap();
    let ours = rig.ours_in(request, "active;expires=3600");
    assert_eq!(ours.subscribe.get("Event"), "presence;id=a1");
    assert_eq!(rig.refresh(&ours).get("Event"), "presence;id=a1");
}
