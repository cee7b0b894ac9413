//! A flood of SUBSCRIBEs from forged sources, and other attempts to use up
//! memory or time, under an allocator that counts.
//!
//! A test binary of its own: what others allocate would be counted too. In a
//! debug build the flood has 100,000 messages, in release a million.
//!
//! Covers: PEER-F07, PEER-I01, ADV-E11, ADV-P5, ADV-P25, ADV-P28

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use sip_events::wire::{Framer, FramerLimits, HeaderName, Message, Transport};
use sip_events::{
    Body, Config, Decision, DropReason, Endpoint, Event, Flow, Handled, Instant, Packages, ResourceKey, Seed, WatcherId,
};

/// Counts what lives, and what lived at most.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        let live = LIVE.fetch_add(size, Relaxed) + size - layout.size();
        LIVE.fetch_sub(layout.size(), Relaxed);
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time: they share the counters.
static ALONE: Mutex<()> = Mutex::new(());

const LOCAL: &str = "192.0.2.1:5060";
const BOB: &str = "sip:bob@192.0.2.1";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct Server {
    endpoint: Endpoint,
    now: Instant,
}

fn config(watchers: u32) -> Config {
    let mut config = Config::new("sip:me@192.0.2.1").unwrap().with_authentication(sip_events::Authentication::None);
    config.limits.watchers = watchers;
    // What a server that faces the open internet would set.
    (config.limits.incoming, config.limits.server_transactions) = (256, 2_048);
    (config.limits.client_transactions, config.limits.flows, config.limits.unproven) = (2_048, watchers * 2, 1_024);
    config
}

impl Server {
    fn new(config: Config) -> Self {
        let now = Instant::from_secs(1000);
        let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([7; 32]), now);
        endpoint.add_local(Transport::Udp, addr(LOCAL), None, None).unwrap();
        let bob = endpoint.add_resource(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
        endpoint.set_state(now, bob, Body::new("application/pidf+xml", "<open/>")).unwrap();
        Self { endpoint, now }
    }

    /// Hands out what is sent; SUBSCRIBEs are accepted.
    fn drain(&mut self, mut seen: impl FnMut(SocketAddr, &[u8])) -> Vec<WatcherId> {
        let mut accepted = Vec::new();
        let mut bytes = Vec::with_capacity(2_000);
        loop {
            let mut any = false;
            while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut bytes) {
                any = true;
                transmit.append_body(&mut bytes);
                seen(transmit.flow.remote, &bytes);
                bytes.clear();
            }
            while let Some(event) = self.endpoint.poll_event() {
                any = true;
                if let Event::Subscribe(id) = event
                    && let Ok(watcher) = self.endpoint.accept(self.now, id, Decision::ACCEPT)
                {
                    accepted.push(watcher);
                }
            }
            if !any {
                return accepted;
            }
        }
    }

    fn subscribe(&mut self, source: SocketAddr, n: u64) {
        let text = subscribe(source, n);
        let _ = self.endpoint.handle_message(self.now, Flow::udp(addr(LOCAL), source), text.as_bytes());
    }

    /// A SUBSCRIBE whose NOTIFY is answered.
    fn watch(&mut self, peer: SocketAddr, n: u64) -> Vec<WatcherId> {
        self.subscribe(peer, n);
        let mut notify = Vec::new();
        let accepted = self.drain(|_, bytes| {
            if bytes.starts_with(b"NOTIFY") {
                notify = bytes.to_vec();
            }
        });
        if !notify.is_empty() {
            let _ = self.endpoint.handle_message(self.now, Flow::udp(addr(LOCAL), peer), &ok(&notify));
        }
        accepted
    }

    fn pass(&mut self, time: Duration, mut seen: impl FnMut(SocketAddr, &[u8])) {
        self.now = self.now + time;
        while self.endpoint.next_timer().is_some_and(|(at, _)| at <= self.now) {
            self.endpoint.handle_timeout(self.now);
            self.drain(&mut seen);
        }
    }
}

fn subscribe(source: SocketAddr, n: u64) -> String {
    format!(
        "SUBSCRIBE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:u{n}@example.com>;tag=t{n}\r\nTo: <{BOB}>\r\nCall-ID: {n}@flood\r\nCSeq: 1 SUBSCRIBE\r\n\
         Contact: <sip:u{n}@{source}>\r\nEvent: presence\r\nExpires: 86400\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A 200 to a request.
fn ok(request: &[u8]) -> Vec<u8> {
    let message = Message::parse(request).unwrap();
    let mut out = b"SIP/2.0 200 OK\r\n".to_vec();
    let names = [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];
    for (name, label) in names.into_iter().zip(["Via", "From", "To", "Call-ID", "CSeq"]) {
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(message.field(name, 0).unwrap());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    out
}

/// Forged sources: 100,000 of them.
fn source(n: u64) -> SocketAddr {
    let n = u32::try_from(n % 100_000).unwrap();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)), 5060)
}

/// Goal: the heap stays below 2 KiB for each watcher that is allowed and 1 MiB,
/// does not grow once the cap is reached, and those who were there are served.
///
/// Covers: ADV-P25, ADV-E11
#[test]
fn a_flood_of_subscribes() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    const CAP: u32 = 10_000;
    let flood: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let before = LIVE.load(Relaxed);
    let mut server = Server::new(config(CAP));

    // A hundred honest watchers come first.
    let honest: Vec<SocketAddr> =
        (0..100).map(|n| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, n)), 5060)).collect();
    let mut living = Vec::new();
    for (peer, n) in honest.iter().zip(10_000_000..) {
        living.extend(server.watch(*peer, n));
    }
    assert_eq!(living.len(), 100);
    // Then come those who own their addresses, and answer, until all is taken.
    for n in 0..u64::from(CAP) {
        server.watch(source(n), 20_000_000 + n);
        server.pass(Duration::from_millis(20), |_, _| {});
    }
    assert_eq!(server.endpoint.agent().counts().1, CAP);
    println!("{CAP} watchers: heap {}", LIVE.load(Relaxed).saturating_sub(before));

    let (mut half, mut peak_at_cap) = (0, 0);
    for n in 0..flood {
        server.subscribe(source(n), n);
        server.drain(|_, _| {});
        if n % 50 == 0 {
            server.pass(Duration::from_millis(1), |_, _| {});
        }
        let watchers = server.endpoint.agent().counts().1;
        assert!(watchers <= CAP);
        if n == flood / 2 {
            half = LIVE.load(Relaxed).saturating_sub(before);
            PEAK.store(LIVE.load(Relaxed), Relaxed);
        }
    }
    let end = LIVE.load(Relaxed).saturating_sub(before);
    peak_at_cap += PEAK.load(Relaxed).saturating_sub(before);
    let most = CAP as usize * 2_048 + 1_048_576;
    println!(
        "{flood} SUBSCRIBEs, {} watchers: heap {half} at half, {end} at the end, peak {peak_at_cap}, allowed {most}",
        server.endpoint.agent().counts().1
    );
    assert!(peak_at_cap <= most, "{peak_at_cap} > {most}");
    assert!(end <= half + half / 50, "it grows: {half}, then {end}");

    // Those who were there are there; a change reaches each of them.
    for watcher in &living {
        assert!(server.endpoint.watcher(*watcher).is_ok());
    }
    let bob = server.endpoint.find(&ResourceKey::new(BOB, "presence").unwrap()).unwrap();
    server.pass(Duration::from_secs(6), |_, _| {});
    server.endpoint.set_state(server.now, bob, Body::new("application/pidf+xml", "<news/>")).unwrap();
    let mut told = std::collections::BTreeSet::new();
    let mut seen = |to: SocketAddr, bytes: &[u8]| {
        if bytes.starts_with(b"NOTIFY") && bytes.ends_with(b"<news/>") && honest.contains(&to) {
            told.insert(to);
        }
    };
    server.drain(&mut seen);
    for _ in 0..120 {
        server.pass(Duration::from_millis(500), &mut seen);
    }
    assert_eq!(told.len(), honest.len(), "an honest watcher is not told");
}

/// Before anybody is authorised or authenticated: messages that are refused
/// leave nothing behind.
///
/// Covers: ADV-E16
#[test]
fn refused_requests_leave_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut server = Server::new(config(10));
    let refuse = |server: &mut Server, from: u64| {
        for n in from..from + 5_000 {
            let text = subscribe(source(n), n).replace("Event: presence", "Event: unheard-of");
            let _ = server.endpoint.handle_message(server.now, Flow::udp(addr(LOCAL), source(n)), text.as_bytes());
            server.drain(|_, _| {});
            if n % 100 == 0 {
                server.pass(Duration::from_secs(2), |_, _| {});
            }
        }
        server.pass(Duration::from_secs(40), |_, _| {});
    };
    refuse(&mut server, 2_000_000);
    let before = LIVE.load(Relaxed);
    refuse(&mut server, 1_000_000);
    assert!(LIVE.load(Relaxed) <= before + 65_536, "{} then {}", before, LIVE.load(Relaxed));
}

/// What an endpoint keeps of one message beside its text: a record in each table.
const RECORDS: usize = 2_048;

/// The most memory taken at a time, in bytes.
struct Taken {
    /// While it is only read.
    parsing: usize,
    /// While it is handled, and answered unless the application decides.
    handling: usize,
    /// With what the application's consent makes of a SUBSCRIBE: the watcher,
    /// the 2xx, the first NOTIFY.
    accepting: usize,
}

fn memory_of(input: &[u8]) -> Taken {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let _ = Message::scan(input).map(|message| message.fields().count());
    let parsing = PEAK.load(Relaxed).saturating_sub(before);

    let source = source(1);
    let mut server = Server::new(config(10));
    // Tables take their first chunk of records with the first that they hold.
    server.watch(source, 77);
    for (n, contact) in [(78, "<sip:x@b>"), (79, "<sip:x@10.0.0.1;transport=tcp>")] {
        let text = subscribe(source, n).replace(&format!("<sip:u{n}@{source}>"), contact);
        let _ = server.endpoint.handle_message(server.now, Flow::udp(addr(LOCAL), source), text.as_bytes());
        server.drain(|_, _| {});
    }
    let mut out = Vec::with_capacity(100_000);
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let _ = server.endpoint.handle_message(server.now, Flow::udp(addr(LOCAL), source), input);
    let mut transmit = |server: &mut Server| {
        while server.endpoint.poll_transmit(server.now, &mut out).is_some() {
            out.clear();
        }
    };
    transmit(&mut server);
    let handling = PEAK.load(Relaxed).saturating_sub(before);
    while let Some(event) = server.endpoint.poll_event() {
        if let Event::Subscribe(id) = event {
            let _ = server.endpoint.accept(server.now, id, Decision::ACCEPT);
        }
    }
    transmit(&mut server);
    Taken { parsing, handling, accepting: PEAK.load(Relaxed).saturating_sub(before) }
}

/// Some of everything that may be long, of random length and number.
fn random_message(rng: &mut u64) -> Vec<u8> {
    let mut below = |bound: u64| {
        *rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*rng >> 33) % bound
    };
    let repeat = |text: &str, below: &mut dyn FnMut(u64) -> u64| {
        let most = [1, 4, 30, 200, 1_500, 9_000][usize::try_from(below(6)).unwrap()];
        text.repeat(usize::try_from(below(most)).unwrap())
    };
    let (method, tag) = match below(5) {
        0 => ("NOTIFY", ";tag=x"),
        1 => ("OPTIONS", ""),
        2 => ("SUBSCRIBE", ";tag=x"),
        _ => ("SUBSCRIBE", ""),
    };
    let cookie = ["z9hG4bK", "", "z9hG4bKa"][usize::try_from(below(3)).unwrap()];
    // One or two of the fields that everything needs are long.
    let mut long = [const { String::new() }; 6];
    for _ in 0..below(3) {
        long[usize::try_from(below(6)).unwrap()] = repeat("abcdefg", &mut below);
    }
    let [branch, from, to, call_id, contact, event] = &long;
    let mut text = format!(
        "{method} {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch={cookie}{branch}q\r\nMax-Forwards: 70\r\n\
         From: <sip:u{from}@example.com>;tag=t{from}\r\nTo: <{BOB}>{tag}{to}\r\nCall-ID: {call_id}1\r\n\
         CSeq: 1 {method}\r\nContact: <sip:u{contact}@10.0.0.1>\r\nEvent: presence;id={event}1\r\n"
    );
    let lines = [
        ("X: y", "z"),
        ("X:", ""),
        ("Via: SIP/2.0/UDP a;branch=z9hG4bKx", ",SIP/2.0/UDP b"),
        ("v:SIP/2.0/UDP a", ";a"),
        ("Record-Route: <sip:a;lr>", ",<sip:b;lr>"),
        ("Route: <sip:192.0.2.1;lr>", ",<sip:b;lr>"),
        ("Accept: a/b", ",a/b"),
        ("k: a", ",a"),
        ("Require: a", ",a"),
        ("Proxy-Require: a", ",a"),
        ("Supported: a", ",a"),
        ("Contact: <sip:a>", ";a=\"\\\"\""),
        ("Subscription-State: active", ";a"),
        ("Timestamp: 1", "0"),
        ("Subject: a", "\r\n b"),
        ("Authorization: Digest realm=\"a\"", ",b=c"),
        ("Content-Type: application/pidf+xml", ";a=b"),
        ("Expires: 9", "9"),
    ];
    for _ in 0..below(4) {
        let (name, more) = lines[usize::try_from(below(lines.len() as u64)).unwrap()];
        let line = format!("{name}{}\r\n", repeat(more, &mut below));
        let times = [1, 1, 3, 40, 260][usize::try_from(below(5)).unwrap()];
        for _ in 0..=below(times) {
            text += &line;
        }
    }
    let body = if below(4) == 0 { repeat("<x/>", &mut below) } else { String::new() };
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let mut bytes = text.into_bytes();
    // Some are cut, or have a byte changed.
    if below(4) == 0 {
        let at = usize::try_from(below(bytes.len() as u64)).unwrap();
        bytes[at] = b"\r\n \0;,\"<"[usize::try_from(below(8)).unwrap()];
    }
    bytes.truncate(65_535);
    bytes
}

/// Message memory: at most four times the input, whatever the input is, and one
/// record in each table.
///
/// Covers: ADV-P28, PEER-I01
#[test]
fn a_message_costs_at_most_four_times_its_size() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sound = subscribe(source(1), 1);
    let with = |line: String| sound.replace("Content-Length: 0\r\n", &format!("{line}\r\nContent-Length: 0\r\n"));
    let shapes = [
        sound.clone(),
        with("X:y\r\n".repeat(100) + "Z: z"),
        with("X:\r\n".repeat(200) + "Z: z"),
        with(format!("Accept: {}", "a/b,".repeat(10_000))),
        with(format!("Require: {}", "a,".repeat(10_000))),
        with(format!("Via: {}", "SIP/2.0/UDP a;branch=z9hG4bKx,".repeat(1_000))),
        with(format!("Record-Route: {}<sip:a>", "<sip:a;lr>,".repeat(500))),
        with("Record-Route: <sip:a;lr>\r\n".repeat(200) + "Record-Route: <sip:a>,<sip:b>,<sip:c>"),
        with(format!("Subject: {}", "\r\n x".repeat(10_000))),
        "SUBSCRIBE".repeat(5_000),
    ];
    let mut rng = 1;
    let random: usize = if cfg!(debug_assertions) { 1_000 } else { 20_000 };
    let inputs = shapes.into_iter().map(String::into_bytes).chain((0..random).map(|_| random_message(&mut rng)));
    let mut worst = [0.0f64; 3];
    for input in inputs {
        let Taken { parsing, handling, accepting } = memory_of(&input);
        for (worst, taken) in worst.iter_mut().zip([parsing, handling, accepting]) {
            *worst = worst.max(taken.saturating_sub(RECORDS) as f64 / input.len() as f64);
        }
        let what = format!("{} bytes: {:.300}", input.len(), input.escape_ascii().to_string());
        assert!(parsing <= input.len() * 4 + RECORDS, "{parsing} to parse {what}");
        assert!(handling <= input.len() * 4 + RECORDS, "{handling} to handle {what}");
        assert!(accepting <= input.len() * 8 + RECORDS, "{accepting} to accept {what}");
    }
    let [parsing, handling, accepting] = worst;
    println!("times its size, beyond {RECORDS} bytes: read in {parsing:.2}, handled in {handling:.2}");
    println!("with what an acceptance makes: {accepting:.2}");
    // Parsing a usual message takes no memory at all.
    let calls = CALLS.load(Relaxed);
    let message = Message::scan(sound.as_bytes()).unwrap();
    assert!(message.defect().is_none() && message.fields().count() == 10);
    assert_eq!(CALLS.load(Relaxed), calls);
}

/// A stream that claims a large body, or never ends a line, gets no memory for
/// what it has not sent.
///
/// Covers: ADV-P5
#[test]
fn claims_cost_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The thread of the test before may give memory back meanwhile.
    let before = LIVE.load(Relaxed);
    let mut framer = Framer::new(FramerLimits { max_head: 65_536, max_body: 4_000_000 });
    framer.push(Instant::ZERO, b"SUBSCRIBE sip:a@b SIP/2.0\r\nContent-Length: 3999999\r\n\r\n");
    assert_eq!(framer.next_message(), Ok(None));
    assert!(LIVE.load(Relaxed).saturating_sub(before) < 4_096);
    for _ in 0..1_000 {
        framer.push(Instant::ZERO, b"0123456789");
        assert_eq!(framer.next_message(), Ok(None));
    }
    assert!(LIVE.load(Relaxed).saturating_sub(before) < 4 * 10_054);
}

/// Names of several kilobytes, which are not kept as they are, still tell one
/// request from another.
///
/// Covers: 3261-17.2.3-1
#[test]
fn overlong_names_are_told_apart() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut server = Server::new(config(10));
    let peer = source(1);
    let mut send = |branch: &str, call: &str| {
        let text = subscribe(peer, 7).replace("z9hG4bK7", &format!("z9hG4bK{}{branch}", "b".repeat(3_000)));
        let text = text.replace("7@flood", &format!("{}{call}@flood", "c".repeat(3_000)));
        let handled = server.endpoint.handle_message(server.now, Flow::udp(addr(LOCAL), peer), text.as_bytes());
        let mut answers = Vec::new();
        server.drain(|_, bytes| answers.extend(bytes.starts_with(b"SIP/2.0").then(|| bytes[8..11].to_vec())));
        (handled, answers.concat())
    };
    assert_eq!(send("1", "1"), (Handled::Consumed, b"200".to_vec()));
    assert_eq!(send("1", "1"), (Handled::Dropped(DropReason::Retransmission), b"200".to_vec()));
    // Another branch of the same request, then another request.
    assert_eq!(send("2", "1"), (Handled::Dropped(DropReason::Refused), b"482".to_vec()));
    assert_eq!(send("2", "2"), (Handled::Consumed, b"200".to_vec()));
}

/// A nonce that somebody authenticated with: at most 64 bytes, and no more
/// nonces than are allowed.
#[cfg(feature = "digest")]
#[test]
fn a_nonce_in_use_takes_at_most_64_bytes() {
    use sip_events::digest::{Challenge, Credentials, Request, Secret, Server, Session, Settings};
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    const LIMIT: usize = 1_000;
    let (mut now, uri) = (Instant::from_secs(1_000), b"sip:bob@192.0.2.1".as_slice());
    let secret = Secret::password("secret");
    let mut server = Server::new(Settings::new("r").unwrap(), &Seed([7; 32]), LIMIT as u32, now);
    let before = LIVE.load(Relaxed);
    let mut most = 0;
    let mut sign_in = |now: Instant, n: usize| {
        let mut challenges = Vec::new();
        server.write_challenges(now, false, &mut challenges);
        let value = challenges.strip_prefix(b"WWW-Authenticate: ").unwrap().trim_ascii_end();
        let challenge = Challenge::parse(value).unwrap();
        let credentials = Credentials::new("alice", secret.clone()).unwrap();
        let mut session = Session::new(false, &challenge, &credentials, n as u64).unwrap();
        let mut line = Vec::new();
        session.write(&Request { method: b"SUBSCRIBE", uri, body: &[] }, &mut line);
        let value = line.strip_prefix(b"Authorization: ").unwrap().trim_ascii_end();
        let claim = server.check(now, std::iter::once(value), uri, uri).unwrap();
        server.verify(now, &claim, Some(&secret), b"SUBSCRIBE", &[]).unwrap();
    };
    for n in 0..LIMIT * 3 {
        now = now + Duration::from_millis(1);
        sign_in(now, n);
        most = most.max(LIVE.load(Relaxed).saturating_sub(before));
    }
    println!("{LIMIT} nonces in use: {most} bytes, {:.1} each", most as f64 / LIMIT as f64);
    assert!(most <= LIMIT * 64, "{most}");
}
