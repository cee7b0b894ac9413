//! The rows of the corpus that a notifier can be sent, against the example
//! `notifier`, over UDP and TCP on the loopback address.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::corpus::{Names, Row, rows};

const PATIENCE: Duration = Duration::from_secs(20);

/// Rows whose verdict is another here: the program takes any resource, and a
/// response to an IPv6 sent-by goes to its port at the source, where nobody is.
const OTHER_HERE: &[&str] =
    &["sub-unknown-user", "sub-user-case", "sub-uri-semicolon-user", "sub-uri-nul-escaped", "sub-v6-uri", "sub-v6-via"];

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example, built as these tests are.
fn notifier() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--offline", "--example", "notifier"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success());
    let mut path = std::env::current_exe().expect("a path");
    path.pop();
    path.pop();
    path.join("examples/notifier")
}

struct Live {
    _running: Running,
    socket: UdpSocket,
    local: SocketAddr,
    peer: SocketAddr,
    probes: u32,
}

impl Live {
    fn start() -> Self {
        let program = notifier();
        let local = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let mut command = Command::new(program);
        command.args(["--bind", &local.to_string(), "--json"]).stdin(Stdio::piped());
        let running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Running).expect("it starts");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let peer = socket.local_addr().expect("an address");
        let mut live = Self { _running: running, socket, local, peer, probes: 0 };
        let up = (0..200).any(|_| {
            live.probe();
            live.until_alive(Duration::from_millis(100)).is_some()
        });
        assert!(up, "the notifier does not answer");
        while live.receive().is_some() {}
        live
    }

    /// Sends a request that is always answered.
    fn probe(&mut self) {
        self.probes += 1;
        let text = format!(
            "OPTIONS sip:me@{} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bKp{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:x@example.com>;tag=x\r\nTo: <sip:me@{0}>\r\nCall-ID: probe{n}@x\r\nCSeq: 1 OPTIONS\r\n\r\n",
            self.local,
            self.peer,
            n = self.probes
        );
        let _ = self.socket.send_to(text.as_bytes(), self.local);
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let length = self.socket.recv(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// What came before the answer to the last probe; `None` if that never came.
    fn until_alive(&self, patience: Duration) -> Option<Vec<Vec<u8>>> {
        let mark = format!("Call-ID: probe{}@x\r\n", self.probes);
        let (mut came, mut waited) = (Vec::new(), Duration::ZERO);
        while waited < patience {
            match self.receive() {
                Some(message) if find(&message, mark.as_bytes()) => return Some(came),
                Some(message) => came.push(message),
                None => waited += Duration::from_millis(100),
            }
        }
        None
    }

    /// Sends one datagram; the responses to it.
    fn ask(&mut self, bytes: &[u8], name: &str) -> Vec<Vec<u8>> {
        self.socket.send_to(bytes, self.local).expect("sent");
        self.probe();
        let came = self.until_alive(PATIENCE).unwrap_or_else(|| panic!("{name}: dead after it"));
        came.into_iter().filter(|message| message.starts_with(b"SIP/2.0 ")).collect()
    }
}

fn find(message: &[u8], what: &[u8]) -> bool {
    message.windows(what.len()).any(|window| window == what)
}

fn field(message: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(message);
    let line = text.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_default().to_owned()
}

/// The status codes that a verdict says.
fn statuses(verdict: &str) -> Vec<&str> {
    verdict.split(' ').filter(|word| word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit())).collect()
}

fn row_bytes(row: &Row, live: &Live, number: usize, transport: &str, peer: &str, tag: &str) -> Vec<u8> {
    let local = live.local.to_string();
    row.bytes(&Names { local: &local, peer, transport, number, ours: ["", "", "", "", "", tag] })
}

fn is_for_a_notifier(row: &Row) -> bool {
    matches!(row.base.as_str(), "SUBSCRIBE" | "REFRESH" | "STRAY" | "RAW") && !OTHER_HERE.contains(&row.name.as_str())
}

/// Covers: ADV-E4, ADV-N9
#[test]
fn a_notifier_says_the_same_over_udp() {
    let mut live = Live::start();
    let (mut wrong, mut sent) = (String::new(), 0);
    for (number, row) in rows().iter().enumerate().filter(|(_, row)| is_for_a_notifier(row)) {
        let (datagram, _) = row.verdict.split_once(" / ").unwrap_or((&row.verdict, &row.verdict));
        if datagram == "-" {
            continue;
        }
        let peer = live.peer.to_string();
        let mut tag = String::new();
        if row.base == "REFRESH" {
            let first = Row { base: "SUBSCRIBE".to_owned(), edits: Vec::new(), ..row.clone() };
            let answers = live.ask(&row_bytes(&first, &live, number, "UDP", &peer, ""), &row.name);
            let to = answers.first().map(|answer| field(answer, "To")).unwrap_or_default();
            tag = to.split(";tag=").nth(1).unwrap_or_default().to_owned();
        }
        let bytes = row_bytes(row, &live, number, "UDP", &peer, &tag);
        if bytes.len() > 65_000 {
            continue;
        }
        let answers = live.ask(&bytes, &row.name);
        let found: Vec<_> = answers.iter().map(|answer| String::from_utf8_lossy(&answer[8..11]).into_owned()).collect();
        sent += 1;
        if found != statuses(datagram) {
            let _ = writeln!(wrong, "{}: {found:?}, not {datagram} ({})", row.name, row.rule);
        }
    }
    println!("{sent} rows");
    assert!(sent >= 300, "{sent} rows");
    assert!(wrong.is_empty(), "{} rows:\n{wrong}", wrong.lines().count());
}

/// Covers: ADV-E4, ADV-N9, ADV-P32
#[test]
fn a_notifier_says_the_same_over_tcp() {
    let mut live = Live::start();
    let (mut wrong, mut sent) = (String::new(), 0);
    for (number, row) in rows().iter().enumerate().filter(|(_, row)| is_for_a_notifier(row)) {
        let (_, expected) = row.verdict.split_once(" / ").unwrap_or((&row.verdict, &row.verdict));
        if expected == "-" {
            continue;
        }
        let mut stream = TcpStream::connect(live.local).expect("a connection");
        let peer = stream.local_addr().expect("an address").to_string();
        let (codes, closes) = (statuses(expected), expected.ends_with("close"));
        let mut tag = String::new();
        if row.base == "REFRESH" {
            let first = Row { base: "SUBSCRIBE".to_owned(), edits: Vec::new(), ..row.clone() };
            stream.write_all(&row_bytes(&first, &live, number, "TCP", &peer, "")).expect("sent");
            let answer = read_statuses(&mut stream, 1, false);
            let to = answer.first().map(|answer| field(answer, "To")).unwrap_or_default();
            tag = to.split(";tag=").nth(1).unwrap_or_default().to_owned();
        }
        let bytes = row_bytes(row, &live, number, "TCP", &peer, &tag);
        // It may be closed before all is written.
        let _ = stream.write_all(&bytes);
        let answers = read_statuses(&mut stream, codes.len(), closes);
        let found: Vec<_> = answers.iter().map(|answer| String::from_utf8_lossy(&answer[8..11]).into_owned()).collect();
        sent += 1;
        if found != codes {
            let _ = writeln!(wrong, "{}: {found:?}, not {expected} ({})", row.name, row.rule);
        }
        live.probe();
        assert!(live.until_alive(PATIENCE).is_some(), "{}: dead after it", row.name);
    }
    println!("{sent} rows");
    assert!(sent >= 300, "{sent} rows");
    assert!(wrong.is_empty(), "{} rows:\n{wrong}", wrong.lines().count());
}

/// The responses on a stream: until there are so many, or it is closed.
fn read_statuses(stream: &mut TcpStream, count: usize, closes: bool) -> Vec<Vec<u8>> {
    let (mut bytes, mut waited) = (Vec::new(), Duration::ZERO);
    let pause = Duration::from_millis(20);
    stream.set_read_timeout(Some(pause)).expect("a timeout");
    let mut buffer = [0; 65_536];
    loop {
        let found = responses(&bytes);
        if found.len() >= count && !closes && (count > 0 || waited >= pause) {
            return found;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return found,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => waited += pause,
            Err(_) => return found,
        }
        if waited >= PATIENCE {
            return found;
        }
    }
}

/// Whole heads of responses among what came.
fn responses(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
        let (head, more) = rest.split_at(end + 4);
        let start = head.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(head.len());
        if head[start..].starts_with(b"SIP/2.0 ") {
            out.push(head[start..].to_vec());
        }
        let body = field(head, "Content-Length").parse().unwrap_or(0);
        rest = more.get(body..).unwrap_or_default();
    }
    out
}
