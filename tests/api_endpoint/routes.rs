//! Ours against ours through two proxies, each of which routes loosely (RFC 3261 section 16) or strictly (RFC 2543).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use sip_events::wire::Transport;
use sip_events::{
    Authentication, Body, Config, Ending, Endpoint, Event, Flow, Instant, Packages, ResourceKey, Scope, Seed, Subscribe,
};

use crate::kit::{Kit, Sent, addr};

const SUBSCRIBER: &str = "192.0.2.1:5060";
const NOTIFIER: &str = "203.0.113.9:5060";
const PROXIES: [&str; 2] = ["198.51.100.1:5060", "198.51.100.2:5060"];

/// A proxy in the path of a dialog: it adds Record-Route to all that passes.
#[derive(Clone, Copy)]
struct Proxy {
    own: &'static str,
    strict: bool,
    /// Where requests go that name no further hop.
    next: &'static str,
}

fn host(text: &str) -> &str {
    text.split(':').next().unwrap()
}

impl Proxy {
    fn uri(&self) -> String {
        format!("sip:p@{}{}", host(self.own), if self.strict { "" } else { ";lr" })
    }

    fn is_own(&self, uri: &str) -> bool {
        uri.split('@').nth(1).is_some_and(|rest| rest.split([';', ':']).next() == Some(host(self.own)))
    }

    /// What becomes of a message, and where it goes.
    fn forward(&self, message: &[u8]) -> (SocketAddr, Vec<u8>) {
        let text = std::str::from_utf8(message).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
        if text.starts_with("SIP/2.0") {
            let at = lines.iter().position(|line| line.starts_with("Via: ")).unwrap();
            assert!(lines.remove(at).contains(self.own), "a response comes the way of its request");
            let via = lines.iter().find(|line| line.starts_with("Via: ")).unwrap();
            let to = via.split(' ').nth(2).unwrap().split(';').next().unwrap();
            return (addr(to), format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes());
        }
        let mut words = lines[0].split(' ');
        let (method, mut target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let routes = |line: &String| line.strip_prefix("Route: ").map(str::to_owned);
        let mut route: VecDeque<String> = lines
            .iter()
            .filter_map(routes)
            .flat_map(|line| {
                line.split(',').map(|one| one.trim().trim_matches(['<', '>']).to_owned()).collect::<Vec<_>>()
            })
            .collect();
        lines.retain(|line| routes(line).is_none());
        let hop;
        if self.strict {
            // RFC 2543: the next hop is the first Route, and it becomes the Request-URI.
            assert!(self.is_own(&target), "a strict router finds itself in the Request-URI: {target}");
            target = route.pop_front().unwrap();
            hop = target.clone();
        } else {
            if self.is_own(&target) {
                // RFC 3261 section 16.4: a strict router was here before.
                target = route.pop_back().unwrap();
            } else if route.front().is_some_and(|first| self.is_own(first)) {
                route.pop_front();
            }
            hop = route.front().unwrap_or(&target).clone();
            if route.front().is_some_and(|first| !first.contains(";lr")) {
                // Section 16.6 step 6.
                route.push_back(target);
                target = route.pop_front().unwrap();
            }
        }
        let to = match hop.split('@').nth(1).unwrap().split([';', ':']).next().unwrap() {
            "example.com" => addr(self.next),
            ip => addr(&format!("{ip}:5060")),
        };
        lines[0] = format!("{method} {target} SIP/2.0");
        let below = text.split(";branch=").nth(1).unwrap().split([';', '\r']).next().unwrap();
        lines.insert(1, format!("Via: SIP/2.0/UDP {};branch={below}.1", self.own));
        lines.insert(2, format!("Record-Route: <{}>", self.uri()));
        lines.extend(route.iter().map(|uri| format!("Route: <{uri}>")));
        (to, format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes())
    }
}

struct Net {
    subscriber: Kit,
    notifier: Kit,
    proxies: [Proxy; 2],
}

impl Net {
    fn new(strict: [bool; 2]) -> Self {
        let kit = |own: &str, user: &str, seed| {
            let config = Config::new(&format!("sip:{user}@{}", host(own))).unwrap();
            let config = Arc::new(config.with_authentication(Authentication::None));
            let now = Instant::from_secs(1000);
            let mut endpoint = Endpoint::new(config, Packages::standard(), &Seed([seed; 32]), now);
            endpoint.add_local(Transport::Udp, addr(own), None, None).unwrap();
            Kit { endpoint, now, events: Vec::new() }
        };
        let mut notifier = kit(NOTIFIER, "bob", 2);
        notifier.endpoint.add_resource(&ResourceKey::new("sip:bob@example.com", "presence").unwrap()).unwrap();
        let proxy = |n: usize, next| Proxy { own: PROXIES[n], strict: strict[n], next };
        Self { subscriber: kit(SUBSCRIBER, "ann", 1), notifier, proxies: [proxy(0, PROXIES[1]), proxy(1, NOTIFIER)] }
    }

    /// Carries everything where it goes; what arrived at either end, and the way that requests took.
    fn settle(&mut self) -> Vec<(Vec<&'static str>, String)> {
        let mut arrived = Vec::new();
        let mut under_way: VecDeque<(&'static str, SocketAddr, Vec<u8>, Vec<&'static str>)> = VecDeque::new();
        let start = |from, sent: Vec<Sent>| sent.into_iter().map(move |s| (from, s.flow.remote, s.bytes, vec![from]));
        under_way.extend(start(SUBSCRIBER, self.subscriber.drain()));
        under_way.extend(start(NOTIFIER, self.notifier.drain()));
        while let Some((from, to, message, mut way)) = under_way.pop_front() {
            if let Some(proxy) = self.proxies.iter().find(|proxy| addr(proxy.own) == to) {
                let (next, message) = proxy.forward(&message);
                way.push(proxy.own);
                under_way.push_back((proxy.own, next, message, way));
                continue;
            }
            let (own, kit) = match to {
                to if to == addr(SUBSCRIBER) => (SUBSCRIBER, &mut self.subscriber),
                to if to == addr(NOTIFIER) => (NOTIFIER, &mut self.notifier),
                elsewhere => panic!("{elsewhere}: {}", String::from_utf8_lossy(&message)),
            };
            way.push(own);
            arrived.push((way, String::from_utf8(message.clone()).unwrap()));
            let mut sent = kit.feed(Flow::udp(addr(own), addr(from)), message);
            sent.extend(kit.accept_all());
            under_way.extend(start(own, sent));
        }
        arrived
    }

    fn pass(&mut self, millis: u64) {
        assert!(self.subscriber.run_millis(millis).is_empty());
        let sent = self.notifier.run_millis(millis);
        assert!(sent.is_empty(), "{}", String::from_utf8_lossy(&sent[0].1.bytes));
    }

    /// One SUBSCRIBE and one NOTIFY by way of both proxies, each answered with 200, addressed to its target, without a
    /// Route left over.
    fn exchange(&mut self, what: &str, methods: &[&str]) -> Vec<String> {
        let arrived = self.settle();
        let up = vec![SUBSCRIBER, PROXIES[0], PROXIES[1], NOTIFIER];
        let down: Vec<_> = up.iter().copied().rev().collect();
        let mut requests = Vec::new();
        for (way, message) in arrived {
            let goes_up = message.contains("CSeq: ") && (way[0] == SUBSCRIBER);
            assert_eq!(way, if goes_up { up.clone() } else { down.clone() }, "{what}: {message}");
            if message.starts_with("SIP/2.0") {
                assert!(message.starts_with("SIP/2.0 200"), "{what}: {message}");
            } else {
                assert!(!message.contains("\r\nRoute: "), "{what}: {message}");
                requests.push(message);
            }
        }
        let seen: Vec<_> = requests.iter().map(|message| message.split(' ').next().unwrap()).collect();
        assert_eq!(seen, methods, "{what}");
        requests
    }
}

/// Covers: 3261-12.2.1.1-4, 3261-12.2.1.1-5, 3261-8.1.2-1, 6665-4.4.1-1
#[test]
fn a_dialog_through_loose_and_strict_proxies() {
    for strict in [[false, false], [true, false], [false, true], [true, true]] {
        let mut net = Net::new(strict);
        let mut request = Subscribe::new("sip:bob@example.com", "presence").unwrap().expires(600);
        for proxy in net.proxies {
            request = request.route(&proxy.uri()).unwrap();
        }
        let id = net.subscriber.endpoint.subscribe(net.subscriber.now, request).unwrap();
        let requests = net.exchange(&format!("{strict:?}, first"), &["SUBSCRIBE", "NOTIFY"]);
        assert!(requests[0].starts_with("SUBSCRIBE sip:bob@example.com SIP/2.0"), "{}", requests[0]);
        assert!(requests[1].starts_with("NOTIFY sip:ann@192.0.2.1:5060 SIP/2.0"), "{}", requests[1]);

        net.pass(10_000);
        let bob = net.notifier.endpoint.resources().next().unwrap();
        let body = Body::new("application/pidf+xml", "<presence/>");
        net.notifier.endpoint.set_state(net.notifier.now, bob, body).unwrap();
        let requests = net.exchange(&format!("{strict:?}, state"), &["NOTIFY"]);
        assert!(requests[0].starts_with("NOTIFY sip:ann@192.0.2.1:5060 SIP/2.0"), "{}", requests[0]);

        net.pass(10_000);
        net.subscriber.endpoint.refresh(net.subscriber.now, id, None).unwrap();
        let requests = net.exchange(&format!("{strict:?}, refresh"), &["SUBSCRIBE", "NOTIFY"]);
        assert!(requests[0].starts_with("SUBSCRIBE sip:bob@203.0.113.9:5060 SIP/2.0"), "{}", requests[0]);

        net.pass(10_000);
        net.subscriber.endpoint.unsubscribe(net.subscriber.now, id, Scope::This).unwrap();
        net.exchange(&format!("{strict:?}, end"), &["SUBSCRIBE", "NOTIFY"]);
        let ended = |e: &Event| matches!(e, Event::Terminated { why: Ending::Unsubscribed, .. });
        assert_eq!(net.subscriber.events.iter().filter(|e| ended(e)).count(), 1);
        assert_eq!(net.notifier.endpoint.watchers().count(), 0);
    }
}
