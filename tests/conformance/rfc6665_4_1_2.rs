//! RFC 6665 sections 4.1.1 and 4.1.2: creating and keeping a subscription.

use crate::harness::*;

/// Covers: 6665-4.1.2.1-1, 6665-3.1.1-1, 6665-4.1.1-1, 6665-3.1.2-2, 6665-3.1.3-1, 6665-BC-16
#[test]
fn the_first_subscribe_stands_outside_any_dialog() {
    let mut rig = Rig::new();
    let ours = rig.start(Rig::request());
    let subscribe = &ours.subscribe;
    assert_eq!(subscribe.start(), format!("SUBSCRIBE {PEER_URI} SIP/2.0"));
    assert_eq!(subscribe.tag("To"), None);
    assert!(subscribe.tag("From").is_some());
    assert_eq!(subscribe.get("Expires"), "600");
    assert_eq!(subscribe.get("Event"), "presence");
    assert_eq!(subscribe.get("Accept"), PIDF);
    assert!(!subscribe.has("Route"));
    assert!(!subscribe.has("Supported"));
}
