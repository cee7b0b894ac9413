//! The messages that are measured.

use std::fmt::Write;

pub const HEAD: usize = 603;
pub const BODY: usize = 698;

/// A PIDF document of `len` bytes.
pub fn pidf(len: usize) -> String {
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
        <presence xmlns=\"urn:ietf:params:xml:ns:pidf\"\r\n\
        \x20   xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\"\r\n\
        \x20   xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"sip:bob@example.com\">\r\n\
        \x20 <tuple id=\"t1\">\r\n    <status><basic>open</basic></status>\r\n\
        \x20   <contact priority=\"0.8\">sip:bob@192.0.2.17:5060</contact>\r\n\
        \x20   <timestamp>2026-01-01T12:00:00Z</timestamp>\r\n  </tuple>\r\n\
        \x20 <dm:person id=\"p1\"><rpid:activities><rpid:meeting/></rpid:activities></dm:person>\r\n\
        \x20 <note>";
    let tail = "</note>\r\n</presence>\r\n";
    let fill = len - head.len() - tail.len();
    let words: String = "In a meeting until noon. ".chars().cycle().take(fill).collect();
    format!("{head}{words}{tail}")
}

/// The fields of the NOTIFY that is parsed and built: name and value.
pub const FIELDS: [(&str, &str); 11] = [
    ("Via", "SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK-524287-1---a3c2f49b7d1e8055;rport"),
    ("Max-Forwards", "70"),
    ("Contact", "<sip:bob@192.0.2.17:5060;transport=udp>"),
    ("To", "<sip:alice@example.com>;tag=7c3f11a2"),
    ("From", "<sip:bob@example.com>;tag=9fxced76sl"),
    ("Call-ID", "3848276298220188511@atlanta.example.com"),
    ("CSeq", "8775 NOTIFY"),
    ("Event", "presence;id=a1b2"),
    ("Subscription-State", "active;expires=3599"),
    ("Expires", "3600"),
    ("Content-Type", "application/pidf+xml"),
];
pub const TARGET: &str = "sip:alice@198.51.100.23:5062;transport=udp";

/// The User-Agent that gives the head its size.
pub fn user_agent() -> String {
    let mut head = format!("NOTIFY {TARGET} SIP/2.0\r\n");
    for (name, value) in FIELDS {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let fixed = head.len() + "User-Agent: \r\nContent-Length: 698\r\n\r\n".len();
    "Example-Presence-Server/4.2 (build 1234; x86_64; linux) ".chars().cycle().take(HEAD - fixed).collect()
}

/// A NOTIFY of 1,301 bytes: a head of 603 with 13 fields, a PIDF of 698.
pub fn notify() -> Vec<u8> {
    let mut text = format!("NOTIFY {TARGET} SIP/2.0\r\n");
    for (name, value) in FIELDS {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "User-Agent: {}\r\nContent-Length: {BODY}\r\n\r\n", user_agent());
    assert_eq!(text.len(), HEAD);
    text += &pidf(BODY);
    assert_eq!(text.len(), HEAD + BODY);
    text.into_bytes()
}
