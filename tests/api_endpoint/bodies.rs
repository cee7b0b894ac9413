//! Bodies with a number of their own for each watcher.

use std::sync::Arc;

use sip_events::package::{EventPackage, Expires, NotifyContext, Rendered};
use sip_events::wire::HeaderName;
use sip_events::{Body, Config, Endpoint, Instant, Packages, Progress, ResourceKey, Restart, Seed};

use crate::kit::{Kit, Request, Sent, peer};

/// Puts a number at the place that it was made with.
#[derive(Debug)]
struct Counted(usize);

impl EventPackage for Counted {
    fn name(&self) -> &str {
        "x-counted"
    }

    fn duration(&self) -> Expires {
        Expires::new(60, 3_600, 86_400)
    }

    fn notify_bodies(&self) -> &[&str] {
        &["text/plain"]
    }

    fn render(&self, cx: &NotifyContext<'_>) -> Rendered {
        Rendered::Numbered { body: cx.state.clone(), at: self.0 }
    }

    fn rate(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// PEER-G01, 3261-20.14-1: each watcher counts from 0 without gaps, and
/// Content-Length counts the digits, wherever they stand.
#[test]
fn numbers_are_written_into_the_body_of_each_watcher() {
    const TEXT: &str = "<v=>";
    for at in [0, 3, 4, 99] {
        let mut packages = Packages::new();
        packages.register(Counted(at)).unwrap();
        let config = Config::new("sip:me@192.0.2.1").unwrap().with_authentication(sip_events::Authentication::None);
        let mut kit = Kit::with(Config::new("sip:me@192.0.2.1").unwrap());
        let now = Instant::from_secs(1000);
        kit.endpoint = Endpoint::new(Arc::new(config), packages, &Seed([7; 32]), now);
        kit.endpoint.add_local(sip_events::wire::Transport::Udp, peer().local, None, None).unwrap();
        let key = ResourceKey::new("sip:bob@192.0.2.1", "x-counted").unwrap();
        let bob = kit.endpoint.add_resource(&key).unwrap();
        kit.endpoint.set_state(now, bob, Body::new("text/plain", TEXT)).unwrap();
        let expected = |n: u32| {
            let at = at.min(TEXT.len());
            format!("{}{n}{}", &TEXT[..at], &TEXT[at..])
        };
        let more = "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: x-counted\r\n";
        let check = |sent: &Sent, n: u32| {
            let message = sent.message();
            assert_eq!(String::from_utf8_lossy(message.body()), expected(n), "at {at}");
            assert_eq!(sent.field(HeaderName::ContentLength), expected(n).len().to_string());
            assert!(sent.bytes.ends_with(expected(n).as_bytes()));
        };
        for (joined, call_id) in ["one", "two"].into_iter().enumerate() {
            kit.feed(peer(), Request { more, call_id, ..Request::subscribe(call_id) }.bytes());
            let sent = kit.accept_all();
            check(&sent[1], 0);
            // Again, the same bytes.
            let again = kit.run_millis(500).remove(0).1;
            assert_eq!(again.bytes, sent[1].bytes);
            kit.feed(peer(), sent[1].answer("200 OK", ""));
            for n in 1..=12 {
                kit.endpoint
                    .set_state(kit.now, bob, Body::new("text/plain", if n % 2 == 0 { TEXT } else { "<w=>" }))
                    .unwrap();
                let sent = kit.drain();
                assert_eq!(sent.len(), joined + 1);
                for sent in &sent {
                    if n % 2 == 0 {
                        let mine = sent.field(HeaderName::CallId) == call_id;
                        check(sent, if mine { n } else { n + 12 });
                    }
                    kit.feed(peer(), sent.answer("200 OK", ""));
                }
            }
        }
    }
}

/// PEER-G02: after a restart the numbers go on where they were.
#[test]
fn numbers_go_on_after_a_restart() {
    let packages = || {
        let mut packages = Packages::new();
        packages.register(Counted(0)).unwrap();
        packages
    };
    let config = Config::new("sip:me@192.0.2.1").unwrap().with_authentication(sip_events::Authentication::None);
    let config = Arc::new(config);
    let mut kit = Kit::new();
    kit.endpoint = Endpoint::new(config.clone(), packages(), &Seed([7; 32]), kit.now);
    kit.endpoint.add_local(sip_events::wire::Transport::Udp, peer().local, None, None).unwrap();
    let key = ResourceKey::new("sip:bob@192.0.2.1", "x-counted").unwrap();
    let bob = kit.endpoint.add_resource(&key).unwrap();
    let tell = |kit: &mut Kit, bob, n: u32| {
        kit.endpoint.set_state(kit.now, bob, Body::new("text/plain", format!(":{n}"))).unwrap();
        let sent = kit.drain();
        kit.feed(peer(), sent[0].answer("200 OK", ""));
        assert_eq!(sent[0].message().body(), format!("{n}:{n}").as_bytes());
    };
    kit.endpoint.set_state(kit.now, bob, Body::new("text/plain", ":0")).unwrap();
    let more = "Contact: <sip:alice@198.51.100.7:5080>\r\nEvent: x-counted\r\n";
    kit.feed(peer(), Request { more, ..Request::subscribe("v") }.bytes());
    let sent = kit.accept_all();
    kit.feed(peer(), sent[1].answer("200 OK", ""));
    for n in 1..4 {
        tell(&mut kit, bob, n);
    }
    kit.run_millis(40_000);
    let (mut writer, mut saved) = (kit.endpoint.snapshot(kit.now, 100), Vec::new());
    while writer.step(&kit.endpoint, &mut saved) == Progress::More {}
    let downtime = std::time::Duration::from_secs(5);
    let restart = Restart::Fresh(Seed([8; 32]));
    kit.endpoint = Endpoint::restore(config, packages(), &saved, kit.now, downtime, &restart).unwrap();
    kit.endpoint.add_local(sip_events::wire::Transport::Udp, peer().local, None, None).unwrap();
    assert!(kit.drain().is_empty());
    let bob = kit.endpoint.find(&key).unwrap();
    for n in 4..6 {
        tell(&mut kit, bob, n);
    }
}
