//! Serves the state of any resource that it is asked for.
// A driver is what reads the clock.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code)]
mod driver;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use driver::Driver;
use driver::cli::{Args, Report, Wiretap, line, read_lines, wrong};
use sip_events::digest::{Algorithm, Secret, Settings, UriCheck, UserStore};
use sip_events::package::Reject;
use sip_events::wire::StatusCode;
use sip_events::{
    Authentication, Body, Close, Config, Decision, DropReason, Event, IncomingId, Limits, Misuse, PackageConfig,
    Packages, Policy, Reason, ResourceKey, UnknownResource, WatcherId,
};

const USAGE: &str = "\
usage: notifier --bind HOST:PORT [options]
  --package NAME            serve this event package; may be repeated (presence, message-summary)
  --policy accept|pending|reject   what becomes of a SUBSCRIBE (accept)
  --min-expires SECONDS     shortest duration; below it 423
  --max-expires SECONDS     longest duration
  --max-watchers N          above it 503
  --users FILE              ask for credentials: lines user:password
  --algorithm NAME          MD5, SHA-256 or SHA-512-256; may be repeated (SHA-256, then MD5)
  --realm REALM             of which realm they are (the host of --bind)
  --rfc3265                 put up with subscribers older than RFC 6665: several subscriptions in one dialog
  --outbound HOST:PORT      send NOTIFYs that go as datagrams to this proxy, whatever their route
  --ladder                  draw the messages (to standard error with --json)
  --pcap FILE               record the messages in a capture file
  --json                    one JSON object a line
Commands on standard input:
  set RESOURCE PACKAGE FILE | set RESOURCE PACKAGE -inline TEXT
  approve WATCHER, reject WATCHER
  terminate WATCHER|RESOURCE REASON [RETRY_AFTER]
  list, explain WATCHER
  quit                      ends every subscription, then the program";

#[derive(Clone, Copy)]
enum Answer {
    Accept,
    Pending,
    Reject,
}

struct Notifier {
    driver: Driver,
    answer: Answer,
    json: bool,
    packages: Vec<String>,
    /// Commands.
    lines: Receiver<String>,
    /// Drops reported so far, by reason.
    drops: [u64; DropReason::ALL.len()],
}

fn main() -> io::Result<()> {
    let mut args = Args::new(USAGE);
    let mut bind: Option<SocketAddr> = None;
    let (mut names, mut answer, mut json) = (Vec::new(), Answer::Accept, false);
    let (mut min_expires, mut max_expires, mut limits) = (None, None, Limits::default());
    let mut policy = Policy::default();
    let (mut users, mut realm, mut algorithms, mut tap) = (None, None, Vec::new(), Wiretap::default());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bind" => bind = Some(args.address(&arg)),
            "--package" => names.push(args.value(&arg)),
            "--policy" => {
                answer = match args.value(&arg).as_str() {
                    "accept" => Answer::Accept,
                    "pending" => Answer::Pending,
                    "reject" => Answer::Reject,
                    other => wrong(&format!("--policy: {other} is none of accept, pending, reject")),
                }
            }
            "--min-expires" => min_expires = Some(args.parsed(&arg)),
            "--max-expires" => max_expires = Some(args.parsed(&arg)),
            "--max-watchers" => limits.watchers = args.parsed(&arg),
            "--users" => users = Some(args.value(&arg)),
            "--algorithm" => algorithms.push(match args.value(&arg).as_str() {
                "MD5" => Algorithm::Md5,
                "SHA-256" => Algorithm::Sha256,
                "SHA-512-256" => Algorithm::Sha512_256,
                other => wrong(&format!("--algorithm: {other} is none of MD5, SHA-256, SHA-512-256")),
            }),
            "--realm" => realm = Some(args.value(&arg)),
            "--rfc3265" => policy = Policy::rfc3265(),
            "--outbound" => tap.outbound = Some(args.address(&arg)),
            "--ladder" => tap.ladder = true,
            "--pcap" => tap.pcap = Some(args.value(&arg)),
            "--json" => json = true,
            other => wrong(&format!("{other} is no option")),
        }
    }
    let bind = bind.unwrap_or_else(|| wrong("--bind is needed"));
    if names.is_empty() {
        names = vec!["presence".into(), "message-summary".into()];
    }
    let mut packages = Packages::new();
    policy.unknown_resource = UnknownResource::Ask;
    let mut config = Config::new(&format!("sip:notifier@{}", host(bind)))
        .and_then(|config| config.with_policy(policy).with_limits(limits).user_agent("sip-events notifier"))
        .unwrap_or_else(|error| wrong(&error.to_string()));
    let realm = realm.unwrap_or_else(|| host(bind));
    config = config.with_authentication(match users {
        Some(file) => authentication(&file, &realm, &algorithms),
        None => Authentication::None,
    });
    for name in &names {
        let added = match name.as_str() {
            "presence" => packages.register(sip_events::package::Presence),
            "message-summary" => packages.register(sip_events::package::MessageSummary),
            other => packages.register_opaque(other),
        };
        added.unwrap_or_else(|error| wrong(&format!("--package {name}: {error}")));
        let mut own = PackageConfig::new(name);
        (own.min_expires, own.max_expires) = (min_expires, max_expires);
        config = config.with_package(own).unwrap_or_else(|error| wrong(&error.to_string()));
    }
    let mut driver = Driver::bind(bind, config, packages)?;
    tap.install(&mut driver, if json { |text| eprintln!("{text}") } else { line });
    let lines = read_lines(&driver);
    Notifier { driver, answer, json, packages: names, lines, drops: Default::default() }.run()
}

/// Users by name, with their passwords.
#[derive(Debug)]
struct Users(HashMap<String, String>);

impl UserStore for Users {
    fn secret(&self, user: &[u8], _hashed: bool, _realm: &str, _algorithm: Algorithm) -> Option<Secret> {
        let user = std::str::from_utf8(user).ok()?;
        self.0.get(user).map(Secret::password)
    }
}

fn authentication(file: &str, realm: &str, algorithms: &[Algorithm]) -> Authentication {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| wrong(&format!("{file}: {error}")));
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let users = lines.map(|(user, password)| (user.to_string(), password.to_string())).collect();
    let settings = Settings::new(realm).unwrap_or_else(|error| wrong(&format!("--realm {realm}: {error}")));
    // Most phones know MD5 only, and some of them read the first challenge alone.
    let default = [Algorithm::Sha256, Algorithm::Md5];
    let settings = settings.algorithms(if algorithms.is_empty() { &default } else { algorithms });
    // Proxies rewrite the Request-URI.
    settings.uri_check(UriCheck::RequestOrTo).users(Arc::new(Users(users))).into()
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

impl Notifier {
    fn run(mut self) -> io::Result<()> {
        loop {
            for event in self.driver.turn(None)? {
                if !self.handle(event) {
                    return Ok(());
                }
            }
            while let Ok(line) = self.lines.try_recv() {
                self.obey(line.trim());
            }
            for event in self.driver.drain() {
                if !self.handle(event) {
                    return Ok(());
                }
            }
            self.report_drops();
        }
    }

    fn report(&self, event: &str) -> Report {
        Report::new(self.json, event)
    }

    /// False when everything has ended.
    fn handle(&mut self, event: Event) -> bool {
        match event {
            Event::Subscribe(incoming) => self.decide(incoming),
            Event::Refreshed { watcher, expires } => {
                self.of(self.report("refreshed"), watcher).number("expires", expires).print();
            }
            Event::Notified { watcher, cseq, result } => {
                let line = self.of(self.report("notified"), watcher).number("cseq", cseq);
                line.text("result", &format!("{result:?}")).print();
            }
            Event::WatcherGone { watcher, why } => {
                self.report("gone").text("watcher", &watcher.to_string()).text("why", &format!("{why:?}")).print();
            }
            Event::Drained => return false,
            _ => {}
        }
        true
    }

    /// Adds who watches what.
    fn of(&self, report: Report, id: WatcherId) -> Report {
        let report = report.text("watcher", &id.to_string());
        let Ok(watcher) = self.driver.endpoint.watcher(id) else { return report };
        let from = String::from_utf8_lossy(watcher.from);
        let resource = self.driver.endpoint.resource_uri(watcher.resource).unwrap_or_default();
        let package = self.driver.endpoint.resource_package(watcher.resource).unwrap_or_default();
        let report = report.text("resource", resource).text("package", package).text("from", &from);
        match watcher.identity {
            Some(user) => report.text("user", &String::from_utf8_lossy(user)),
            None => report,
        }
    }

    fn decide(&mut self, id: IncomingId) {
        let now = self.driver.now();
        let Ok(incoming) = self.driver.endpoint.incoming(id) else { return };
        let expires = incoming.expires;
        let refused = self.report("refused").text("resource", incoming.uri).text("package", incoming.package);
        let decision = match self.answer {
            Answer::Accept => Decision::ACCEPT,
            Answer::Pending => Decision::PENDING,
            Answer::Reject => {
                let _ = self.driver.endpoint.reject(now, id, Reject::new(StatusCode::FORBIDDEN));
                refused.print();
                return;
            }
        };
        match self.driver.endpoint.accept(now, id, decision) {
            Ok(watcher) => {
                let _ = self.driver.endpoint.report_delivery(watcher, true);
                self.of(self.report("subscribe"), watcher).number("expires", expires).print();
            }
            Err(_) => {
                let busy = Reject::new(StatusCode::SERVICE_UNAVAILABLE).retry_after(10);
                let _ = self.driver.endpoint.reject(now, id, busy);
                refused.print();
            }
        }
    }

    fn report_drops(&mut self) {
        for (reason, told) in DropReason::ALL.iter().zip(&mut self.drops) {
            let count = self.driver.endpoint.stats().dropped(*reason);
            if count > *told {
                let line = Report::new(self.json, "dropped").text("reason", &reason.to_string());
                line.number("count", count - *told).print();
                *told = count;
            }
        }
    }

    fn obey(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let done = match (words.next(), words.next(), words.next()) {
            (None, ..) => Ok(()),
            (Some("set"), Some(resource), Some(package)) => {
                let rest = line.splitn(4, char::is_whitespace).nth(3).unwrap_or_default();
                self.set(resource, package, rest.trim_start())
            }
            (Some("approve"), Some(name), None) => self.each(name, |d, watcher| d.endpoint.approve(d.now(), watcher)),
            (Some("reject"), Some(name), None) => {
                self.each(name, |d, watcher| d.endpoint.terminate(d.now(), watcher, &Reason::Rejected, None))
            }
            (Some("terminate"), Some(name), Some(reason)) => {
                let reason = reason_of(reason);
                let after = words.next().and_then(|after| after.parse().ok());
                self.each(name, move |d, watcher| d.endpoint.terminate(d.now(), watcher, &reason, after))
            }
            (Some("list"), None, None) => {
                for watcher in self.driver.endpoint.watchers() {
                    let Ok(info) = self.driver.endpoint.watcher(watcher) else { continue };
                    let state = format!("{:?}", info.state).to_lowercase();
                    let left = (info.expires_at - self.driver.now()).as_secs();
                    self.of(self.report("watcher"), watcher).text("state", &state).number("expires", left).print();
                }
                Ok(())
            }
            (Some("explain"), Some(name), None) => {
                let found: Vec<WatcherId> = self.find(name);
                for explanation in found.iter().filter_map(|w| self.driver.endpoint.explain(*w)) {
                    self.report("explanation").text("text", &explanation.to_string()).print();
                }
                if found.is_empty() { Err(format!("{name}: nobody of that name")) } else { Ok(()) }
            }
            (Some("quit"), None, None) => {
                self.driver.endpoint.close(self.driver.now(), Close::Terminate);
                Ok(())
            }
            _ => Err(format!("{line}: not a command; see --help")),
        };
        if let Err(error) = done {
            eprintln!("{error}");
        }
    }

    /// The watchers that a name means: one, or all of a resource.
    fn find(&self, name: &str) -> Vec<WatcherId> {
        let endpoint = &self.driver.endpoint;
        if let Some(one) = endpoint.watchers().find(|w| w.to_string() == name) {
            return vec![one];
        }
        let keys = self.packages.iter().filter_map(|package| ResourceKey::new(name, package).ok());
        keys.filter_map(|key| endpoint.find(&key)).flat_map(|resource| endpoint.watchers_of(resource)).collect()
    }

    fn each(
        &mut self,
        name: &str,
        mut command: impl FnMut(&mut Driver, WatcherId) -> Result<(), Misuse>,
    ) -> Result<(), String> {
        let found = self.find(name);
        if found.is_empty() {
            return Err(format!("{name}: nobody of that name"));
        }
        for watcher in found {
            command(&mut self.driver, watcher).map_err(|error| format!("{watcher}: {error}"))?;
        }
        Ok(())
    }

    fn set(&mut self, resource: &str, package: &str, what: &str) -> Result<(), String> {
        let text = match what.strip_prefix("-inline") {
            Some(text) => text.trim_start().as_bytes().to_vec(),
            None => std::fs::read(what).map_err(|error| format!("{what}: {error}"))?,
        };
        let content_type = match package {
            "presence" => "application/pidf+xml",
            "message-summary" => "application/simple-message-summary",
            _ => "text/plain",
        };
        let key = ResourceKey::new(resource, package).map_err(|error| format!("{resource}: {error}"))?;
        let endpoint = &mut self.driver.endpoint;
        let id = match endpoint.find(&key) {
            Some(id) => id,
            None => endpoint.add_resource(&key).map_err(|error| format!("{resource} {package}: {error}"))?,
        };
        let now = self.driver.now();
        let set = self.driver.endpoint.set_state(now, id, Body::new(content_type, text));
        set.map(|_| ()).map_err(|error| format!("{resource}: {error}"))
    }
}

fn reason_of(word: &str) -> Reason {
    match word {
        "deactivated" => Reason::Deactivated,
        "probation" => Reason::Probation,
        "rejected" => Reason::Rejected,
        "timeout" => Reason::Timeout,
        "giveup" => Reason::Giveup,
        "noresource" => Reason::NoResource,
        "invariant" => Reason::Invariant,
        other => Reason::Other(Bytes::copy_from_slice(other.as_bytes())),
    }
}
