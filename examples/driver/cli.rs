//! What the example programs share on their command lines and in their output.

use std::collections::VecDeque;
use std::fmt::Write;
use std::net::{SocketAddr, ToSocketAddrs};

use sip_events::Flow;

pub mod ladder;
pub mod pcap;

/// Arguments not read yet.
pub struct Args(VecDeque<String>);

impl Args {
    /// The program's arguments. `--help` prints `usage` and ends the program.
    pub fn new(usage: &str) -> Self {
        let args: VecDeque<String> = std::env::args().skip(1).collect();
        if args.iter().any(|arg| arg == "--help" || arg == "-h") {
            println!("{usage}");
            std::process::exit(0);
        }
        Self(args)
    }

    pub fn next(&mut self) -> Option<String> {
        self.0.pop_front()
    }

    /// The value of the option `name`.
    pub fn value(&mut self, name: &str) -> String {
        self.0.pop_front().unwrap_or_else(|| wrong(&format!("{name} needs a value")))
    }

    /// The address that a value `HOST:PORT` names; `HOST` may be a name, and without a port it is 5060.
    pub fn address(&mut self, name: &str) -> SocketAddr {
        let value = self.value(name);
        let found = value.to_socket_addrs().or_else(|_| (value.trim_matches(['[', ']']), 5060).to_socket_addrs());
        let first = found.ok().and_then(|mut found| found.next());
        first.unwrap_or_else(|| wrong(&format!("{name}: no address is known for {value}")))
    }

    pub fn parsed<T: std::str::FromStr>(&mut self, name: &str) -> T {
        let value = self.value(name);
        value.parse().unwrap_or_else(|_| wrong(&format!("{name}: {value} is not a value for it")))
    }
}

/// What shows or records the messages, and how requests leave.
#[derive(Default)]
pub struct Wiretap {
    pub ladder: bool,
    pub pcap: Option<String>,
    /// Where all requests go that leave as datagrams.
    pub outbound: Option<SocketAddr>,
}

impl Wiretap {
    /// Installs it; `out` gets the lines of the ladder.
    pub fn install(self, driver: &mut super::Driver, out: fn(&str)) {
        let mut ladder = self.ladder.then(|| ladder::Ladder::new(out));
        let mut pcap = self.pcap.map(|file| match pcap::Pcap::create(&file) {
            Ok(pcap) => pcap,
            Err(error) => failed(&format!("{file}: {error}")),
        });
        driver.trace = Box::new(move |sent, flow: &mut Flow, bytes| {
            if let Some(outbound) = self.outbound.filter(|_| sent && flow.stream.is_none()) {
                // Responses go where their requests came from.
                if !bytes.starts_with(b"SIP/2.0 ") {
                    flow.remote = outbound;
                }
            }
            if let Some(ladder) = &mut ladder {
                ladder.message(sent, flow, bytes);
            }
            if let Some(Err(error)) = pcap.as_mut().map(|pcap| pcap.message(sent, flow, bytes)) {
                failed(&format!("--pcap: {error}"));
            }
        });
    }
}

/// The lines of standard input, read by a thread that wakes the loop for each.
pub fn read_lines(driver: &super::Driver) -> std::sync::mpsc::Receiver<String> {
    let (sender, lines) = std::sync::mpsc::channel();
    driver.spawn(move |put| {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line);
            put(Box::new(|_| ()));
        }
    });
    lines
}

/// Ends the program: wrong usage.
pub fn wrong(message: &str) -> ! {
    eprintln!("{message}\ntry --help");
    std::process::exit(2)
}

/// Ends the program: what was asked for failed.
pub fn failed(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1)
}

/// The address of ours from which `remote` is reached.
pub fn local_towards(remote: SocketAddr) -> Option<SocketAddr> {
    let any = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = std::net::UdpSocket::bind(any).ok()?;
    // Connecting a UDP socket sends nothing; the system picks the route.
    probe.connect(remote).ok()?;
    Some(SocketAddr::new(probe.local_addr().ok()?.ip(), 0))
}

/// One thing to report: a JSON object, or a line to read.
pub struct Report {
    json: bool,
    text: String,
}

impl Report {
    pub fn new(json: bool, event: &str) -> Self {
        let text = if json { format!("{{\"event\":{}", quoted(event)) } else { event.to_string() };
        Self { json, text }
    }

    fn put(mut self, key: &str, json: &str, plain: &str) -> Self {
        let _ = match self.json {
            true => write!(self.text, ",{}:{json}", quoted(key)),
            false => write!(self.text, " {key}={plain}"),
        };
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.put(key, &quoted(value), value)
    }

    pub fn maybe(self, key: &str, value: Option<&str>) -> Self {
        match (value, self.json) {
            (Some(value), _) => self.text(key, value),
            (None, true) => self.put(key, "null", ""),
            (None, false) => self,
        }
    }

    pub fn number(self, key: &str, value: impl Into<u64>) -> Self {
        let value = value.into().to_string();
        self.put(key, &value, &value)
    }

    pub fn maybe_number(self, key: &str, value: Option<u32>) -> Self {
        match (value, self.json) {
            (Some(value), _) => self.number(key, value),
            (None, true) => self.put(key, "null", ""),
            (None, false) => self,
        }
    }

    pub fn flag(self, key: &str, value: bool) -> Self {
        self.put(key, if value { "true" } else { "false" }, if value { "yes" } else { "no" })
    }

    /// A body: part of the object, or on lines of its own.
    pub fn body(mut self, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        if self.json {
            return self.text("body", &text);
        }
        if !text.is_empty() {
            self.text.push('\n');
            self.text.push_str(text.trim_end());
        }
        self
    }

    pub fn print(self) {
        line(&format!("{}{}", self.text, if self.json { "}" } else { "" }));
    }
}

/// Prints a line; a reader that went away is no reason to fail.
pub fn line(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            c if (c as u32) < 0x20 => write!(out, "\\u{:04x}", c as u32),
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
    out
}
