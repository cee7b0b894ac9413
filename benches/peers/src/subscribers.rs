//! A subscriber that is told a new state: octets in, event out, with as many
//! subscriptions as `live` says.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sip_events::package::{Expires, Opaque};
use sip_events::wire::{Message, Transport, read};
use sip_events::{
    Authentication, Config as OurConfig, Endpoint, Event, Flow, Handled, Instant, Limits, Packages, Seed, Subscribe,
};
use sipx_ua::event_client::{Config, EventClient, Output, PackageConsumer, PackageRejection, Peer, SamePeer, Start};

use crate::Candidate;

const PACKAGE: &str = "x-bench";
const BATCH: u32 = 100;
const BODY: &str = "the state of a thing";
const LIFETIME: u32 = 2_000_000_000;

pub fn told(live: u32) -> Vec<Candidate> {
    vec![
        Candidate::new("sip-events (transaction and 200 included)", ours(live)),
        Candidate::new("sipx-ua (neither)", sipx(live)),
    ]
}

/// One of the NOTIFYs, as long as all.
pub fn sample() -> Vec<u8> {
    notify(&("-".repeat(31), "-".repeat(17)), FIRST)
}

/// NOTIFYs to subscriptions evenly apart. What changes with each
/// is patched in place.
struct Notifies {
    messages: Vec<Vec<u8>>,
    numbers: Vec<std::ops::Range<usize>>,
    next: usize,
    number: u32,
}

const FIRST: u32 = 1_000_000_000;

impl Notifies {
    fn new(dialogs: &[(String, String)]) -> Self {
        let apart = (dialogs.len() / BATCH as usize).max(1);
        let messages: Vec<_> =
            (0..BATCH as usize).map(|nth| notify(&dialogs[nth * apart % dialogs.len()], FIRST)).collect();
        let text = FIRST.to_string();
        let numbers = messages
            .iter()
            .flat_map(|message| [b"branch=z9hG4bK".as_slice(), b"CSeq: "].map(|before| place(message, before)))
            .map(|start| start..start + text.len())
            .collect();
        Self { messages, numbers, next: 0, number: FIRST }
    }

    /// The next one, with a CSeq and a branch that were never used.
    fn next(&mut self) -> &[u8] {
        self.number += 1;
        let mut digits = [0; 10];
        let mut rest = self.number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let nth = self.next;
        self.next = (nth + 1) % self.messages.len();
        for place in &self.numbers[2 * nth..2 * nth + 2] {
            self.messages[nth][place.clone()].copy_from_slice(&digits);
        }
        &self.messages[nth]
    }
}

fn place(message: &[u8], before: &[u8]) -> usize {
    let start = message.windows(before.len()).position(|window| window == before).expect("it is in the message");
    start + before.len()
}

/// `dialog` is Call-ID and the subscriber's tag.
fn notify((call_id, tag): &(String, String), number: u32) -> Vec<u8> {
    format!(
        "NOTIFY sip:client@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bob@192.0.2.2>;tag=n1\r\nTo: <sip:client@192.0.2.1>;tag={tag}\r\n\
         Call-ID: {call_id}\r\nCSeq: {number} NOTIFY\r\nContact: <sip:bob@192.0.2.2:5060>\r\n\
         Event: {PACKAGE}\r\nSubscription-State: active;expires={LIFETIME}\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
    .into_bytes()
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 5060))
}

fn ours(live: u32) -> impl FnMut() + 'static {
    let mut limits = Limits::default();
    limits.subscriptions = live.max(limits.subscriptions);
    limits.client_transactions = live.max(limits.client_transactions);
    limits.server_transactions = live.max(limits.server_transactions);
    let config = OurConfig::new("sip:client@192.0.2.1")
        .expect("a URI")
        .with_limits(limits)
        .with_authentication(Authentication::None);
    let mut packages = Packages::new();
    let package = Opaque::new(PACKAGE).with_duration(Expires::new(1, LIFETIME, LIFETIME)).with_rate(Duration::ZERO);
    packages.register(package).expect("a package");
    let mut now = Instant::ZERO;
    let mut endpoint = Endpoint::new(Arc::new(config), packages, &Seed([1; 32]), now);
    endpoint.add_local(Transport::Udp, address(1), None, None).expect("an address");
    let flow = Flow::udp(address(1), address(2));
    let mut out = Vec::with_capacity(2_048);
    let mut dialogs = Vec::new();
    for number in 0..live {
        let request = Subscribe::new("sip:bob@192.0.2.2", PACKAGE).expect("a request");
        endpoint.subscribe(now, request).expect("room");
        out.clear();
        let _ = endpoint.poll_transmit(now, &mut out).expect("a SUBSCRIBE");
        let subscribe = Message::parse(&out).expect("sound");
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("ASCII");
        let call_id = text(read::call_id(&subscribe).expect("Call-ID"));
        let tag = text(read::from(&subscribe).expect("From").tag().expect("a tag"));
        let via = text(subscribe.field(sip_events::wire::HeaderName::Via, 0).expect("Via"));
        let mut accepted = String::new();
        let _ = write!(
            accepted,
            "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: <sip:client@192.0.2.1>;tag={tag}\r\n\
             To: <sip:bob@192.0.2.2>;tag=n1\r\nCall-ID: {call_id}\r\nCSeq: 1 SUBSCRIBE\r\n\
             Contact: <sip:bob@192.0.2.2:5060>\r\nExpires: {LIFETIME}\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(endpoint.handle_message(now, flow, accepted.as_bytes()), Handled::Consumed);
        let dialog = (call_id, tag);
        let first = notify(&dialog, 1 + number);
        assert_eq!(endpoint.handle_message(now, flow, &first), Handled::Consumed);
        out.clear();
        let _ = endpoint.poll_transmit(now, &mut out).expect("a 200");
        while endpoint.poll_event().is_some() {}
        dialogs.push(dialog);
    }
    let mut notifies = Notifies::new(&dialogs);
    let mut batch = 0;
    move || {
        let handled = endpoint.handle_message(now, flow, notifies.next());
        assert_eq!(handled, Handled::Consumed);
        out.clear();
        let _ = endpoint.poll_transmit(now, &mut out).expect("a 200");
        let mut told = 0;
        while let Some(event) = endpoint.poll_event() {
            told += u32::from(matches!(event, Event::Notify { .. }));
        }
        assert_eq!(told, 1);
        batch += 1;
        if batch == BATCH {
            // The transactions of the batch end.
            batch = 0;
            now = now + Duration::from_secs(60);
            while endpoint.next_timer().is_some_and(|(at, _)| at <= now) {
                endpoint.handle_timeout(now);
            }
            out.clear();
            assert!(endpoint.poll_transmit(now, &mut out).is_none(), "{}", String::from_utf8_lossy(&out));
            assert!(endpoint.poll_event().is_none());
            assert_eq!(endpoint.transactions(), (0, 0));
        }
    }
}

struct Plain {
    accept: Vec<String>,
}

impl PackageConsumer for Plain {
    type Value = Vec<u8>;

    fn event(&self) -> &'static str {
        PACKAGE
    }

    fn accept(&self) -> &[String] {
        &self.accept
    }

    fn neutral(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn consume(&mut self, _content_type: Option<&[u8]>, body: &[u8]) -> Result<Vec<u8>, PackageRejection> {
        Ok(body.to_vec())
    }
}

fn sipx_request(message: &[u8]) -> sipx_sip::Request {
    let limits = sipx_sip::Limits::datagram();
    match sipx_sip::parse_datagram(Bytes::copy_from_slice(message), &limits).expect("SIP") {
        sipx_sip::Message::Request(request) => request,
        _ => panic!("a request"),
    }
}

fn sipx(live: u32) -> impl FnMut() + 'static {
    let config = Config { capacity: live as usize, ..Config::default() };
    let mut client = EventClient::new(config).expect("sound");
    let peer = Peer::new(address(2), sipx_ua::event_client::Transport::Udp);
    let mut dialogs = Vec::new();
    for number in 0..live {
        let dialog = (format!("{number:020}@192.0.2.1"), format!("t{number:016}"));
        let start = Start {
            resource: sipx_sip::Uri::parse(Bytes::from_static(b"sip:bob@192.0.2.2")).expect("a URI"),
            local_identity: "<sip:client@192.0.2.1>".to_owned(),
            contact: "<sip:client@192.0.2.1:5060>".to_owned(),
            target: peer.clone(),
            expires: Duration::from_secs(LIFETIME.into()),
            body: Bytes::new(),
            content_type: None,
            credentials: None,
            call_id: dialog.0.clone(),
            from_tag: dialog.1.clone(),
            initial_cseq: 1,
            consumer: Plain { accept: vec!["text/plain".to_owned()] },
            trust: Arc::new(SamePeer),
        };
        let (id, _) = client.start(start).expect("room");
        let _ = client.notify(u64::from(number), &sipx_request(&notify(&dialog, 1)), peer.clone());
        client.consumer_drained(id, 1);
        dialogs.push(dialog);
    }
    let mut notifies = Notifies::new(&dialogs);
    let mut transaction = u64::from(live);
    move || {
        transaction += 1;
        let outputs = client.notify(transaction, &sipx_request(notifies.next()), peer.clone());
        let (mut whose, mut accepted) = (None, false);
        for output in outputs {
            match output {
                Output::Deliver { id, .. } => whose = Some(id),
                Output::RespondNotify { status, .. } => accepted = status == 200,
                _ => {}
            }
        }
        assert!(accepted);
        client.consumer_drained(whose.expect("it was delivered"), 1);
    }
}
