//! In the manner of PROTOS: each header of each kind of message in turn holds
//! each of many exceptional elements. Nothing panics, and the endpoint is alive
//! after each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::{HeaderName, Message, Transport};
use sip_events::{Body, Config, Decision, Endpoint, Event, Flow, Instant, Packages, ResourceKey, Seed, Subscribe};

const LOCAL: &str = "192.0.2.1:5060";
const PEER: &str = "198.51.100.7:5080";

/// What a header may hold that nobody thought of.
fn elements() -> Vec<Vec<u8>> {
    let mut elements: Vec<Vec<u8>> = [
        &b""[..],
        b" ",
        b"\t\t",
        b"\r\n ",
        b"\r\n\r\n",
        b"\0",
        b"\0\0\0\0",
        b"\x7f\x01\x02\x1f",
        b"\xff",
        b"\xff\xfe\xfd\xfc",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"%00",
        b"%s%s%s%n",
        b"%",
        b"-1",
        b"0",
        b"00000000000000000000000001",
        b"2147483647",
        b"2147483648",
        b"4294967295",
        b"4294967296",
        b"18446744073709551615",
        b"18446744073709551616",
        b"-9223372036854775808",
        b"1e309",
        b"0x41414141",
        b"NaN",
        b"<",
        b">",
        b"<>",
        b"<<>>",
        b"\"",
        b"\"\\",
        b"\\",
        b"\"\"\"\"",
        b";",
        b";;;;;;;;",
        b";=;=;=",
        b",",
        b",,,,,,,,",
        b"=",
        b":",
        b":::::",
        b"[",
        b"[::1",
        b"[]",
        b"@",
        b"sip:",
        b"sip:@",
        b"<sip:a@b;;;;?>",
        b"tel:1",
        b"*",
        b"(((((",
        b"a b c d",
        b"../../../../etc/passwd",
        b"';--",
        b"{{{{",
        b"SIP/2.0",
    ]
    .iter()
    .map(|element| element.to_vec())
    .collect();
    let long = |piece: &[u8], count: usize| piece.repeat(count);
    for count in [16, 256, 1024, 20_000] {
        elements.push(long(b"a", count));
    }
    elements.extend([
        long(b"9", 1000),
        long(b",", 5000),
        long(b";a=b", 2000),
        long(b"<", 3000),
        long(b"\"", 3000),
        long(b"\\", 3000),
        long(b"\r\n ", 2000),
        long(b"%41", 3000),
        long(b"[:", 2000),
        long(b"\xff", 3000),
        long(b"a, ", 4000),
    ]);
    elements
}

const HEADERS: [&str; 40] = [
    "Via",
    "v",
    "From",
    "f",
    "To",
    "t",
    "Call-ID",
    "i",
    "CSeq",
    "Max-Forwards",
    "Contact",
    "m",
    "Event",
    "o",
    "Subscription-State",
    "Expires",
    "Min-Expires",
    "Retry-After",
    "Content-Length",
    "l",
    "Content-Type",
    "c",
    "Content-Encoding",
    "Content-Disposition",
    "Accept",
    "Allow-Events",
    "u",
    "Require",
    "Proxy-Require",
    "Supported",
    "k",
    "Route",
    "Record-Route",
    "Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Authentication-Info",
    "Timestamp",
    "Allow",
    "X-Unknown",
];

/// How the element takes its place.
#[derive(Clone, Copy)]
enum How {
    Instead,
    Behind,
    Parameter,
    Doubled,
}

const HOW: [How; 4] = [How::Instead, How::Behind, How::Parameter, How::Doubled];

struct Target {
    endpoint: Endpoint,
    now: Instant,
    subscribe: Vec<u8>,
    number: u64,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn value(message: &[u8], name: HeaderName<'_>) -> Vec<u8> {
    Message::scan(message).unwrap().field(name, 0).unwrap_or_default().to_vec()
}

impl Target {
    fn new() -> Self {
        let now = Instant::from_secs(1000);
        let config = Config::new("sip:me@192.0.2.1").unwrap().with_authentication(sip_events::Authentication::None);
        let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([7; 32]), now);
        endpoint.add_local(Transport::Udp, addr(LOCAL), None, None).unwrap();
        let bob = endpoint.add_resource(&ResourceKey::new("sip:bob@192.0.2.1", "presence").unwrap()).unwrap();
        endpoint.set_state(now, bob, Body::new("application/pidf+xml", "<open/>")).unwrap();
        let mut target = Self { endpoint, now, subscribe: Vec::new(), number: 0 };
        target.ask();
        target
    }

    /// A SUBSCRIBE of ours that may be answered.
    fn ask(&mut self) {
        let request = Subscribe::new("sip:bob@198.51.100.7:5080", "presence").unwrap();
        self.endpoint.subscribe(self.now, request).unwrap();
        self.subscribe = self.drain().into_iter().find(|sent| sent.starts_with(b"SUBSCRIBE")).unwrap();
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let before = all.len();
            let mut bytes = Vec::new();
            while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut bytes) {
                transmit.append_body(&mut bytes);
                all.push(std::mem::take(&mut bytes));
            }
            let mut told = false;
            while let Some(event) = self.endpoint.poll_event() {
                told = true;
                if let Event::Subscribe(id) = event {
                    let _ = self.endpoint.accept(self.now, id, Decision::ACCEPT);
                }
            }
            if before == all.len() && !told {
                return all;
            }
        }
    }

    /// The lines of a sound message of one of the four kinds.
    fn lines(&mut self, kind: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.number += 1;
        let n = self.number;
        let line = |name: &str, text: String| (name.as_bytes().to_vec(), text.into_bytes());
        if kind == 0 {
            return vec![
                line("", "SUBSCRIBE sip:bob@192.0.2.1 SIP/2.0".into()),
                line("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bK{n}")),
                line("Max-Forwards", "70".into()),
                line("From", format!("<sip:ann@example.com>;tag=a{n}")),
                line("To", "<sip:bob@192.0.2.1>".into()),
                line("Call-ID", format!("{n}")),
                line("CSeq", "1 SUBSCRIBE".into()),
                line("Contact", format!("<sip:ann@{PEER}>")),
                line("Event", "presence".into()),
                line("Expires", "60".into()),
            ];
        }
        let ours = |name: HeaderName<'_>| value(&self.subscribe, name);
        let mut lines = Vec::new();
        if kind == 1 {
            lines.push(line("", "NOTIFY sip:me@192.0.2.1 SIP/2.0".into()));
            lines.push(line("Via", format!("SIP/2.0/UDP {PEER};branch=z9hG4bKn{n}")));
            lines.push(line("Max-Forwards", "70".into()));
            lines.push((b"From".to_vec(), [ours(HeaderName::To), b";tag=b".to_vec()].concat()));
            lines.push((b"To".to_vec(), ours(HeaderName::From)));
            lines.push((b"Call-ID".to_vec(), ours(HeaderName::CallId)));
            lines.push(line("CSeq", format!("{n} NOTIFY")));
            lines.push(line("Contact", format!("<sip:bob@{PEER}>")));
            lines.push(line("Event", "presence".into()));
            lines.push(line("Subscription-State", "active;expires=600".into()));
            return lines;
        }
        lines.push(line("", if kind == 2 { "SIP/2.0 200 OK" } else { "SIP/2.0 423 Interval Too Brief" }.into()));
        lines.push((b"Via".to_vec(), ours(HeaderName::Via)));
        lines.push((b"From".to_vec(), ours(HeaderName::From)));
        lines.push((b"To".to_vec(), [ours(HeaderName::To), b";tag=b".to_vec()].concat()));
        lines.push((b"Call-ID".to_vec(), ours(HeaderName::CallId)));
        lines.push((b"CSeq".to_vec(), ours(HeaderName::CSeq)));
        lines.push(line("Contact", format!("<sip:bob@{PEER}>")));
        lines.push(line(if kind == 2 { "Expires" } else { "Min-Expires" }, "4000".into()));
        lines
    }

    /// Sends one; whether the endpoint answered.
    fn send(&mut self, kind: usize, header: &str, element: &[u8], how: How) {
        let mut lines = self.lines(kind);
        let name = HeaderName::from_bytes(header.as_bytes());
        let at = lines.iter().position(|(n, _)| !n.is_empty() && HeaderName::from_bytes(n) == name);
        let at = at.unwrap_or_else(|| {
            lines.push((header.as_bytes().to_vec(), b"x".to_vec()));
            lines.len() - 1
        });
        lines[at].0 = header.as_bytes().to_vec();
        match how {
            How::Instead => lines[at].1 = element.to_vec(),
            How::Behind => lines[at].1.extend_from_slice(element),
            How::Parameter => {
                lines[at].1.extend_from_slice(b";x=");
                lines[at].1.extend_from_slice(element);
            }
            How::Doubled => lines.push((header.as_bytes().to_vec(), element.to_vec())),
        }
        let mut bytes = Vec::new();
        for (name, value) in &lines {
            bytes.extend_from_slice(name);
            if !name.is_empty() {
                bytes.extend_from_slice(b": ");
            }
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        let flow = Flow::udp(addr(LOCAL), addr(PEER));
        let _ = self.endpoint.handle_message(self.now, flow, &bytes);
        for sent in self.drain() {
            let error = sent.starts_with(b"SIP/2.0 ") && sent[8] > b'2';
            assert!(!error || sent.len() <= bytes.len() + 300, "an answer of {} to {} bytes", sent.len(), bytes.len());
        }
    }

    fn is_alive(&mut self) -> bool {
        self.number += 1;
        let options = format!(
            "OPTIONS sip:me@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKo{}\r\nMax-Forwards: 70\r\n\
             From: <sip:x@example.com>;tag=x\r\nTo: <sip:me@192.0.2.1>\r\nCall-ID: {}\r\nCSeq: 1 OPTIONS\r\n\r\n",
            self.number, self.number
        );
        let flow = Flow::udp(addr(LOCAL), addr("203.0.113.5:5060"));
        let _ = self.endpoint.handle_message(self.now, flow, options.as_bytes());
        self.drain().iter().any(|sent| sent.starts_with(b"SIP/2.0 200"))
    }
}

/// Covers: ADV-E4, ADV-E6, ADV-P7
#[test]
fn every_header_holds_every_exceptional_element() {
    let elements = elements();
    assert!(elements.len() >= 60);
    let mut sent = 0;
    for kind in 0..4 {
        let mut target = Target::new();
        for header in HEADERS {
            for element in &elements {
                for how in HOW {
                    target.send(kind, header, element, how);
                    sent += 1;
                    assert!(target.is_alive(), "{header}: {}", element.escape_ascii());
                }
            }
            // Watchers and transactions of this header end; a new SUBSCRIBE is asked to be answered.
            target.now = target.now + Duration::from_secs(40);
            while target.endpoint.poll_timeout().is_some_and(|at| at <= target.now) {
                target.endpoint.handle_timeout(target.now);
                target.drain();
            }
            target.ask();
        }
    }
    assert!(sent >= 40_000, "{sent} messages");
}
