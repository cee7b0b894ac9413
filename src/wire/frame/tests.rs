#![allow(clippy::arithmetic_side_effects)]
use super::*;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

const LIMITS: FramerLimits = FramerLimits { max_head: 200, max_body: 100 };

/// What came out, in words.
fn drain(framer: &mut Framer, log: &mut Vec<String>) {
    loop {
        match framer.next_message() {
            Ok(Some(frame)) => log.push(match frame {
                Frame::Message(bytes) => format!("{}", bytes.escape_ascii()),
                Frame::Ping => "ping".into(),
                Frame::Pong => "pong".into(),
            }),
            Ok(None) => return,
            Err(lost) => {
                let head = framer.lost_head();
                log.push(format!("{:?} {}", lost.reason, head.escape_ascii()));
                assert_eq!(framer.next_message(), Err(lost));
                return;
            }
        }
    }
}

/// Feeds the stream whole, octet by octet, and cut in two at every place;
/// all must give the same frames.
fn frames(stream: &[u8]) -> Vec<String> {
    let run = |chunks: &[&[u8]]| {
        let mut framer = Framer::new(LIMITS);
        let mut log = Vec::new();
        for chunk in chunks {
            framer.push(Instant::ZERO, chunk);
            drain(&mut framer, &mut log);
        }
        dedup_lost(log)
    };
    let whole = run(&[stream]);
    let octets: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(run(&octets), whole, "octet by octet");
    for at in 0..=stream.len() {
        let (a, b) = stream.split_at(at);
        assert_eq!(run(&[a, b]), whole, "cut at {at}");
    }
    whole
}

/// A lost stream reports the loss after every further chunk.
fn dedup_lost(mut log: Vec<String>) -> Vec<String> {
    log.dedup_by(|a, b| a == b && !matches!(a.as_str(), "ping" | "pong"));
    log
}

fn head(fields: &str) -> String {
    format!("NOTIFY sip:a@b SIP/2.0\r\n{fields}\r\n")
}

/// Covers: 3261-18.3-5, 3261-20.14-1
#[test]
fn messages_are_cut_by_content_length() {
    let a = head("Content-Length: 3\r\n") + "abc";
    let b = head("Via: x\r\nl \t:\r\n  0\r\n");
    let c = String::from("SIP/2.0 200 OK\r\nCONTENT-LENGTH:0007\r\n\r\n\r\n\r\nabc");
    let stream = format!("{a}{b}{c}");
    let escaped = |text: &str| format!("{}", text.as_bytes().escape_ascii());
    assert_eq!(frames(stream.as_bytes()), [escaped(&a), escaped(&b), escaped(&c)]);
}

/// Covers: 5626-3.5-1, 3261-7.5-2, advisory P30, ADV-P30
#[test]
fn pings_and_pongs_between_messages() {
    assert_eq!(frames(b"\r\n"), ["pong"]);
    assert_eq!(frames(b"\r\n\r\n"), ["pong", "ping"]);
    assert_eq!(frames(b"\r\n\r\n\r\n"), ["pong", "ping", "pong"]);
    let message = head("l: 2\r\n") + "\r\n";
    let stream = format!("\r\n{message}\r\n\r\n{message}\r\n");
    let text = format!("{}", message.as_bytes().escape_ascii());
    assert_eq!(frames(stream.as_bytes()), ["pong", &text, "pong", "ping", &text, "pong"]);
}

/// Covers: 3261-18.3-5, 3261-20.14-1, 3261-7.3.1-11
/// Advisories P1 to P6, P32: a length that cannot be is refused at the head., ADV-P1, ADV-P2, ADV-P3, ADV-P6
#[test]
fn a_bad_content_length_loses_the_framing() {
    for (fields, reason) in [
        ("", "MissingContentLength"),
        ("X: y\r\n", "MissingContentLength"),
        ("Content-Length\x0b: 3\r\n", "MissingContentLength"),
        ("Content-Length: 3\r\nl: 3\r\n", "DuplicateContentLength"),
        ("l: 3\r\nContent-Length: x\r\nl: 4\r\n", "DuplicateContentLength"),
        ("l:\r\n", "BadContentLength"),
        ("l: -1\r\n", "BadContentLength"),
        ("l: +3\r\n", "BadContentLength"),
        ("l: 3 3\r\n", "BadContentLength"),
        ("l: 3\r\n 3\r\n", "BadContentLength"),
        ("l: 3, 3\r\n", "BadContentLength"),
        ("l: 4294967299\r\n", "BadContentLength"),
        ("l: 18446744073709551619\r\n", "BadContentLength"),
        ("l: 2147483609\r\n", "BodyTooLong"),
        ("l: 4294967295\r\n", "BodyTooLong"),
        ("l: 101\r\n", "BodyTooLong"),
        ("X: a\nl: 3\r\nl: 5\r\n", "LineBreak"),
        ("l: 5\r\nX: a\rb\r\n", "LineBreak"),
    ] {
        let head = head(fields);
        let stream = format!("{head}abcdefgh");
        let expect = format!("{reason} {}", head.as_bytes().escape_ascii());
        assert_eq!(frames(stream.as_bytes()), [expect]);
    }
    let most = head("l: 100\r\n") + &"x".repeat(100);
    assert_eq!(frames(most.as_bytes()).len(), 1);
}

#[test]
fn other_protocols_are_told_at_a_boundary() {
    for stream in
        [&b"\x16\x03\x01\x02\x00"[..], b"\0\0\0\0", b" SIP/2.0", b"\n", b"\rx", b"GET / HTTP/1.1\r\nl: 0\r\n\r\n"]
    {
        assert_eq!(frames(stream), ["NotSip "]);
    }
    assert_eq!(frames(b"\r\n\0"), ["pong", "NotSip "]);
}

/// Covers: 3261-18.3-5
#[test]
fn a_head_is_bounded_exactly() {
    let start = "NOTIFY sip:a@b SIP/2.0\r\nl: 0\r\nX: ";
    let fits = format!("{start}{}\r\n\r\n", "x".repeat(200 - start.len() - 4));
    assert_eq!(fits.len(), LIMITS.max_head);
    assert_eq!(frames(fits.as_bytes()).len(), 1);
    let over = format!("{start}{}\r\n\r\n", "x".repeat(200 - start.len() - 3));
    let expect = format!("HeadTooLong {}", over.as_bytes()[..200].escape_ascii());
    assert_eq!(frames(over.as_bytes()), [expect]);
}

#[test]
fn lost_framing_hints_at_an_answer() {
    let hint = |reason| FramingLost { reason }.status_hint().map(StatusCode::as_u16);
    assert_eq!(hint(FramingLostReason::NotSip), None);
    assert_eq!(hint(FramingLostReason::NotDrained), None);
    assert_eq!(hint(FramingLostReason::HeadTooLong), Some(513));
    assert_eq!(hint(FramingLostReason::BodyTooLong), Some(413));
    assert_eq!(hint(FramingLostReason::MissingContentLength), Some(400));
    let lost = FramingLost { reason: FramingLostReason::LineBreak };
    assert_eq!(format!("{lost}"), "bare CR or LF in the head");
}

/// Advisory P5: memory follows the octets received.
#[test]
fn memory_stays_within_limits_and_one_chunk() {
    let limits = FramerLimits { max_head: 1000, max_body: 50_000 };
    let mut framer = Framer::new(limits);
    framer.push(Instant::ZERO, head("l: 50000\r\n").as_bytes());
    assert_eq!(framer.next_message(), Ok(None));
    assert!(framer.buffer.capacity() < 1000);
    let mut messages = 0;
    for _ in 0..200 {
        framer.push(Instant::ZERO, &[b'x'; 500]);
        while let Ok(Some(frame)) = framer.next_message() {
            messages += usize::from(matches!(frame, Frame::Message(_)));
        }
        assert!(framer.buffer.capacity() <= 51_000 + 500);
    }
    // The filler after the body begins no message.
    assert_eq!(messages, 1);
    assert!(framer.next_message().is_err());

    let mut framer = Framer::new(limits);
    framer.push(Instant::ZERO, (head("l: 50000\r\n") + &"x".repeat(50_000)).as_bytes());
    assert!(matches!(framer.next_message(), Ok(Some(Frame::Message(_)))));
    framer.push(Instant::ZERO, b"\r\n");
    assert!(framer.buffer.capacity() <= IDLE_CAPACITY, "a big message leaves no big buffer");
}

#[test]
fn a_caller_that_never_drains_is_bounded_too() {
    let mut framer = Framer::new(LIMITS);
    for _ in 0..1000 {
        framer.push(Instant::ZERO, &[b'\r', b'\n'].repeat(50));
    }
    assert!(framer.buffer.capacity() <= 300 + 200);
    assert_eq!(framer.next_message(), Err(FramingLost { reason: FramingLostReason::NotDrained }));
}

/// Advisory P26: a slow sender can be told from an idle one.
#[test]
fn idle_and_waiting_times_are_exposed() {
    let at = |secs| Instant::ZERO + Duration::from_secs(secs);
    let mut framer = Framer::new(LIMITS);
    assert_eq!((framer.last_activity(), framer.waiting_since()), (None, None));
    for (secs, octet) in head("l: 1\r\n").bytes().enumerate() {
        let secs = u64::try_from(secs).unwrap();
        framer.push(at(secs), &[octet]);
        assert_eq!(framer.next_message(), Ok(None));
        assert_eq!(framer.last_activity(), Some(at(secs)));
        assert_eq!(framer.waiting_since(), Some(at(0)));
    }
    framer.push(at(100), b"xN");
    assert!(matches!(framer.next_message(), Ok(Some(Frame::Message(_)))));
    assert_eq!(framer.next_message(), Ok(None));
    assert_eq!(framer.waiting_since(), Some(at(100)));
    framer.push(at(101), b"O");
    assert_eq!(framer.waiting_since(), Some(at(100)));
}

/// A head that comes octet by octet is not searched from its start each time.
#[test]
fn the_search_for_the_end_of_a_head_resumes() {
    let mut framer = Framer::new(FramerLimits { max_head: 100_000, max_body: 0 });
    framer.push(Instant::ZERO, head(&"X: y\r\n".repeat(100)).trim_end().as_bytes());
    assert_eq!(framer.next_message(), Ok(None));
    let len = framer.buffered();
    assert_eq!(framer.state, State::Head { scanned: len });
    framer.push(Instant::ZERO, b"\r\n\r");
    assert_eq!(framer.next_message(), Ok(None));
    assert_eq!(framer.state, State::Head { scanned: len });
}
