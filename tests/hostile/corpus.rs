//! The table of hostile messages in `corpus/*.txt`, and how a row becomes
//! bytes. `tests/interop/lib/hostile.py` reads the same files.

use std::path::Path;

/// One message and its one right verdict.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    /// Which message is varied.
    pub base: String,
    /// What has to come of it.
    pub verdict: String,
    /// By which rule.
    pub rule: String,
    pub edits: Vec<String>,
}

/// What the placeholders of a message stand for.
pub struct Names<'a> {
    pub local: &'a str,
    pub peer: &'a str,
    pub transport: &'a str,
    /// Tells this row's dialog and transaction from others.
    pub number: usize,
    /// Our From, our To with a tag, our Call-ID, our Via, our CSeq, of the
    /// SUBSCRIBE that is answered; our tag, for a refresh.
    pub ours: [&'a str; 6],
}

pub fn rows() -> Vec<Row> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut rows: Vec<Row> = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(edit) = line.strip_prefix("    ") {
                rows.last_mut().expect("a row before its edits").edits.push(edit.to_owned());
                continue;
            }
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let [name, base, verdict, rule] = parts[..] else { panic!("{file:?}: {line}") };
            let own = str::to_owned;
            rows.push(Row {
                name: own(name),
                base: own(base),
                verdict: own(verdict),
                rule: own(rule),
                edits: Vec::new(),
            });
        }
    }
    rows
}

/// The lines of the message that a row varies.
fn base(kind: &str) -> &'static str {
    match kind {
        "SUBSCRIBE" => {
            "SUBSCRIBE sip:bob@{local} SIP/2.0\nVia: SIP/2.0/{transport} {peer};branch=z9hG4bK{n}\nMax-Forwards: 70\n\
             From: <sip:ann@example.com>;tag=a{n}\nTo: <sip:bob@{local}>\nCall-ID: {n}@example.com\nCSeq: 1 SUBSCRIBE\n\
             Contact: <sip:ann@{peer}>\nEvent: presence\nExpires: 600\nAccept: application/pidf+xml\n"
        }
        // In the dialog of a watcher.
        "REFRESH" => {
            "SUBSCRIBE sip:me@{local} SIP/2.0\nVia: SIP/2.0/{transport} {peer};branch=z9hG4bKr{n}\nMax-Forwards: 70\n\
             From: <sip:ann@example.com>;tag=a{n}\nTo: <sip:bob@{local}>;tag={tag}\nCall-ID: {n}@example.com\n\
             CSeq: 2 SUBSCRIBE\nContact: <sip:ann@{peer}>\nEvent: presence\nExpires: 600\n"
        }
        // For a subscription of ours.
        "NOTIFY" => {
            "NOTIFY sip:me@{local} SIP/2.0\nVia: SIP/2.0/{transport} {peer};branch=z9hG4bKn{n}\nMax-Forwards: 70\n\
             From: {to}\nTo: {from}\nCall-ID: {call}\nCSeq: 1 NOTIFY\nContact: <sip:bob@{peer}>\nEvent: presence\n\
             Subscription-State: active;expires=500\nContent-Type: application/pidf+xml\n"
        }
        // For no subscription at all.
        "STRAY" => {
            "NOTIFY sip:me@{local} SIP/2.0\nVia: SIP/2.0/{transport} {peer};branch=z9hG4bKn{n}\nMax-Forwards: 70\n\
             From: <sip:bob@example.com>;tag=b{n}\nTo: <sip:me@{local}>;tag=none\nCall-ID: {n}@example.com\n\
             CSeq: 1 NOTIFY\nContact: <sip:bob@{peer}>\nEvent: presence\nSubscription-State: active;expires=500\n"
        }
        "2XX" => {
            "SIP/2.0 200 OK\nVia: {via}\nFrom: {from}\nTo: {to}\nCall-ID: {call}\nCSeq: {cseq}\n\
             Contact: <sip:bob@{peer}>\nExpires: 500\n"
        }
        "4XX" => {
            "SIP/2.0 423 Interval Too Brief\nVia: {via}\nFrom: {from}\nTo: {to}\nCall-ID: {call}\nCSeq: {cseq}\n\
             Min-Expires: 1200\n"
        }
        // Bytes as they stand.
        "RAW" => "",
        other => panic!("no base {other}"),
    }
}

/// `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH`, and `\(text*count)` for a repetition.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        match bytes[at + 1] {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'x' => {
                out.push(u8::from_str_radix(&text[at + 2..at + 4], 16).unwrap());
                at += 2;
            }
            b'(' => {
                let end = at + text[at..].find(')').unwrap();
                let (what, count) = text[at + 2..end].rsplit_once('*').unwrap();
                out.extend(unescape(what).repeat(count.parse().unwrap()));
                at = end - 1;
            }
            other => out.push(other),
        }
        at += 2;
    }
    out
}

impl Row {
    pub fn bytes(&self, names: &Names<'_>) -> Vec<u8> {
        let mut lines: Vec<String> = base(&self.base).lines().map(str::to_owned).collect();
        let (mut body, mut raw, mut length) = (String::new(), String::new(), true);
        for edit in &self.edits {
            let (verb, rest) = edit.split_at(2);
            let field = rest.split(':').next().unwrap().to_ascii_lowercase();
            let is = |line: &String| line.split(':').next().unwrap().eq_ignore_ascii_case(&field);
            match verb.trim() {
                "-" if field == "content-length" => length = false,
                "-" => lines.retain(|line| !is(line)),
                "=" => match lines.iter_mut().skip(1).find(|line| is(line)) {
                    Some(line) => *line = rest.to_owned(),
                    None => lines.push(rest.to_owned()),
                },
                "+" => lines.push(rest.to_owned()),
                "^" => lines.insert(1, rest.to_owned()),
                ">" => lines[0] = rest.to_owned(),
                "!" => body += rest,
                "%" => raw += rest,
                other => panic!("{}: {other}", self.name),
            }
        }
        let fill = |text: &str| {
            let [from, to, call, via, cseq, tag] = names.ours;
            let pairs = [
                ("{local}", names.local),
                ("{peer}", names.peer),
                ("{transport}", names.transport),
                ("{from}", from),
                ("{to}", to),
                ("{call}", call),
                ("{via}", via),
                ("{cseq}", cseq),
                ("{tag}", tag),
            ];
            let text = pairs.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
            unescape(&text.replace("{n}", &names.number.to_string()))
        };
        if self.base == "RAW" {
            return fill(&raw);
        }
        let body = fill(&body);
        let mut out = Vec::new();
        for line in &lines {
            out.extend(fill(line));
            out.extend_from_slice(b"\r\n");
        }
        let own = |line: &String| {
            let name = line.split(':').next().unwrap().trim();
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l")
        };
        if length && !lines.iter().any(own) {
            out.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend(body);
        out
    }
}
