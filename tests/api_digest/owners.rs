//! Whose credentials a request carries, and what is left of it between one
//! request and the next.

use sip_events::digest::{Credentials, Secret};
use sip_events::{Authentication, Config, Decision, Event, ResourceKey};

use super::kit::*;

fn carol() -> Credentials {
    Credentials::new("carol", Secret::password("other")).unwrap()
}

fn challenge(realm: &str, nonce: &str) -> String {
    format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\"\r\n")
}

/// User, nonce and count of the only credentials in `request`.
fn shown(request: &[u8]) -> [&str; 3] {
    let lines = fields(request, "Authorization");
    assert_eq!(lines.len(), 1, "{}", text(request));
    ["username", "nonce", "nc"].map(|name| param(lines[0], name).unwrap())
}

/// A host that is subscriber and notifier.
fn both() -> Host {
    let config = Config::new("sip:alice@192.0.2.1").unwrap().with_authentication(Authentication::None);
    let mut host = Host::new(config, CLIENT, 1);
    host.endpoint.add_resource(&ResourceKey::new("sip:alice@192.0.2.1", "presence").unwrap()).unwrap();
    host
}

/// A SUBSCRIBE to `both` by somebody who claims to be bob; the NOTIFY.
fn watched(host: &mut Host, call: &str) -> Vec<u8> {
    let request = format!(
        "SUBSCRIBE sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {SERVER};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
         From: <{BOB}>;tag=x\r\nTo: <sip:alice@192.0.2.1>\r\nCall-ID: {call}\r\nCSeq: 1 SUBSCRIBE\r\n\
         Contact: <sip:stranger@{SERVER}>\r\nEvent: presence\r\nContent-Length: 0\r\n\r\n"
    );
    host.feed(SERVER, request.as_bytes());
    let Some(Event::Subscribe(id)) = host.events.pop() else { panic!() };
    host.endpoint.accept(host.now, id, Decision::ACCEPT).unwrap();
    host.drain().pop().unwrap()
}

/// One endpoint with several users, as a gateway has.
///
/// Covers: 3261-22.2-2
#[test]
fn nobody_goes_by_the_credentials_of_another() {
    let mut client = Host::client();
    let (_, first) = client.subscribe(bob().credentials(alice()).unwrap());
    let again = client.respond(&first, "401 Unauthorized", &challenge("r", "a")).remove(0);
    assert_eq!(shown(&again), ["alice", "a", "00000001"]);
    client.respond(&again, "200 OK", "Expires: 600\r\n");
    // One without credentials, one with those of somebody else.
    let (_, nobody) = client.subscribe(bob());
    assert_eq!(fields(&nobody, "Authorization"), [""; 0]);
    let (_, other) = client.subscribe(bob().from("sip:carol@192.0.2.1").unwrap().credentials(carol()).unwrap());
    assert_eq!(fields(&other, "Authorization"), [""; 0]);
    let other = client.respond(&other, "401 Unauthorized", &challenge("r", "b")).remove(0);
    assert_eq!(shown(&other), ["carol", "b", "00000001"]);
    // Both go on with what is theirs.
    let (_, sent) = client.subscribe(bob().credentials(alice()).unwrap());
    assert_eq!(shown(&sent), ["alice", "a", "00000002"]);
    let (_, sent) = client.subscribe(bob().credentials(carol()).unwrap());
    assert_eq!(shown(&sent), ["carol", "b", "00000002"]);
}

/// Whoever has a From like our notifier's, or takes our Call-ID, gets nothing of ours.
///
/// Covers: 3261-22.2-2, 3261-22.3-1
#[test]
fn a_watcher_gets_no_credentials_that_it_did_not_ask_for() {
    let mut host = both();
    host.endpoint.set_credentials(vec![carol()]).unwrap();
    let (_, first) = host.subscribe(bob().credentials(alice()).unwrap());
    let second = host.respond(&first, "401 Unauthorized", &challenge("r", "a")).remove(0);
    let proxy = challenge("p", "b").replace("WWW-", "Proxy-");
    let third = host.respond(&second, "407 Proxy", &proxy).remove(0);
    assert_eq!((fields(&third, "Authorization").len(), fields(&third, "Proxy-Authorization").len()), (1, 1));
    host.respond(&third, "200 OK", "Expires: 600\r\n");
    // One that is authenticated by the endpoint's own credentials, for the same To.
    let (_, common) = host.subscribe(bob());
    let common = host.respond(&common, "401 Unauthorized", &challenge("r", "c")).remove(0);
    assert_eq!(shown(&common), ["carol", "c", "00000001"]);
    let call = field(&first, "Call-ID").unwrap();
    let notify = watched(&mut host, call);
    assert!(is(&notify, "NOTIFY"));
    assert_eq!((fields(&notify, "Authorization").len(), fields(&notify, "Proxy-Authorization").len()), (0, 0));
    // It may ask, and then gets what everybody may have.
    let answer = host.respond(&notify, "401 Unauthorized", &challenge("r", "d")).remove(0);
    assert_eq!(shown(&answer), ["carol", "d", "00000001"]);
}

/// Some servers give the same nonce to whoever asks within a second.
///
/// Covers: 3261-22.2-2, 7616-3.4-4
#[test]
fn one_nonce_may_be_given_to_two_requests() {
    let mut client = Host::client();
    let (_, first) = client.subscribe(bob().credentials(alice()).unwrap());
    let (_, second) = client.subscribe(bob().credentials(alice()).unwrap());
    let one = client.respond(&first, "401 Unauthorized", &challenge("r", "n")).remove(0);
    let two = client.respond(&second, "401 Unauthorized", &challenge("r", "n")).remove(0);
    assert_eq!((shown(&one), shown(&two)), (["alice", "n", "00000001"], ["alice", "n", "00000002"]));
    client.respond(&one, "200 OK", "Expires: 600\r\n");
    client.respond(&two, "200 OK", "Expires: 600\r\n");
    assert_eq!(client.count(|e| matches!(e, Event::Terminated { .. })), 0);
    // The same when the application is asked.
    let mut client = Host::client();
    let (id, first) = client.subscribe(bob());
    let (other, second) = client.subscribe(bob());
    client.respond(&first, "401 Unauthorized", &challenge("r", "n"));
    client.respond(&second, "401 Unauthorized", &challenge("r", "n"));
    for (id, nc) in [(id, "00000001"), (other, "00000002")] {
        client.endpoint.authenticate(client.now, id, alice()).unwrap();
        assert_eq!(shown(&client.drain()[0]), ["alice", "n", nc]);
    }
    // Who is refused with what it showed is refused.
    let (_, third) = client.subscribe(bob().credentials(alice()).unwrap());
    assert_eq!(shown(&third), ["alice", "n", "00000003"]);
    assert!(client.respond(&third, "401 Unauthorized", &challenge("r", "n")).is_empty());
    assert_eq!(client.count(|e| matches!(e, Event::Terminated { .. })), 1);
}

/// Covers: 6665-NRC-5, 6665-NRC-6
#[test]
fn a_redirected_notify_may_be_challenged_again() {
    let mut host = both();
    host.endpoint.set_credentials(vec![alice()]).unwrap();
    let first = watched(&mut host, "c1");
    let second = host.respond(&first, "401 Unauthorized", &challenge("r", "a")).remove(0);
    let third = host.respond(&second, "302 Moved", &format!("Contact: <sip:there@{SERVER}>\r\n")).remove(0);
    assert!(is(&third, "NOTIFY sip:there@"));
    let fourth = host.respond(&third, "401 Unauthorized", &challenge("r", "b")).remove(0);
    assert!(is(&fourth, "NOTIFY sip:there@"));
    assert_eq!(shown(&fourth), ["alice", "b", "00000001"]);
    host.respond(&fourth, "200 OK", "");
}

/// Covers: 6665-NRC-6, 6665-NRC-22
#[test]
fn a_notify_that_is_given_up_leaves_no_refusal_behind() {
    let mut host = both();
    host.endpoint.set_credentials(vec![alice()]).unwrap();
    let first = watched(&mut host, "c1");
    let second = host.respond(&first, "401 Unauthorized", &challenge("r", "a")).remove(0);
    // A refresh takes its place; that one is challenged anew.
    let to = field(&first, "From").unwrap().to_owned();
    let refresh = format!(
        "SUBSCRIBE sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {SERVER};branch=z9hG4bKr\r\nMax-Forwards: 70\r\n\
         From: <{BOB}>;tag=x\r\nTo: {to}\r\nCall-ID: c1\r\nCSeq: 2 SUBSCRIBE\r\n\
         Contact: <sip:stranger@{SERVER}>\r\nEvent: presence\r\nContent-Length: 0\r\n\r\n"
    );
    let sent = host.feed(SERVER, refresh.as_bytes());
    let third = those(&sent, "NOTIFY").pop().unwrap().to_vec();
    assert_ne!(field(&third, "CSeq"), field(&second, "CSeq"));
    let fourth = host.respond(&third, "401 Unauthorized", &challenge("r", "b")).remove(0);
    assert_eq!(shown(&fourth), ["alice", "b", "00000001"]);
}
