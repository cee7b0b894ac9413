//! Subscribes to anything at any server, and prints what comes.
// A driver is what reads the clock.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code)]
mod driver;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use driver::Driver;
use driver::cli::{Args, Report, Wiretap, failed, line, local_towards, wrong};
use sip_events::digest::{Credentials, Secret};
use sip_events::wire::{Host, UriBuf};
use sip_events::{
    Config, Ending, Event, Misuse, PackageConfig, Packages, Policy, Retry, Scope, Subscribe, SubscriptionId,
    SubscriptionState,
};

const USAGE: &str = "\
usage: watch URI [options]
  --event PACKAGE[;id=x]    event package (presence)
  --expires SECONDS         duration to ask for (the package's default)
  --accept TYPE             media type to accept; may be repeated
  --from URI                who we are (sip:watch@our-address)
  --bind HOST:PORT          our address (the one towards the server, any port)
  --transport udp|tcp       transport (udp)
  --outbound HOST:PORT      send by way of this proxy; a URI, if more is to be said (no ;lr: a strict router)
  --fetch                   ask for the state once
  --notifies N              unsubscribe after N NOTIFYs
  --seconds S               unsubscribe after S seconds
  --user NAME               user, for whoever asks for credentials
  --password PASSWORD       password
  --rfc3265                 put up with proxies and notifiers older than RFC 6665
  --ladder                  draw the messages (to standard error with --json)
  --pcap FILE               record the messages in a capture file
  --credentials REALM:USER:PASSWORD   for one realm; may be repeated
  --json                    one JSON object a line
Exit code: 0 ended as asked, 1 failed or ended by the notifier for good, 2 wrong usage.";

struct Options {
    uri: String,
    event: String,
    expires: Option<u32>,
    accept: Vec<String>,
    from: Option<String>,
    bind: Option<SocketAddr>,
    tcp: bool,
    notifies: Option<u32>,
    seconds: Option<u64>,
    user: Option<String>,
    password: String,
    credentials: Vec<String>,
    outbound: Option<String>,
    policy: Policy,
    tap: Wiretap,
    json: bool,
}

fn options() -> Options {
    let mut args = Args::new(USAGE);
    let mut o = Options {
        uri: String::new(),
        event: "presence".into(),
        expires: None,
        accept: Vec::new(),
        from: None,
        bind: None,
        tcp: false,
        notifies: None,
        seconds: None,
        user: None,
        password: String::new(),
        credentials: Vec::new(),
        outbound: None,
        policy: Policy::default(),
        tap: Wiretap::default(),
        json: false,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--event" => o.event = args.value(&arg),
            "--expires" => o.expires = Some(args.parsed(&arg)),
            "--accept" => o.accept.push(args.value(&arg)),
            "--from" => o.from = Some(args.value(&arg)),
            "--bind" => o.bind = Some(args.address(&arg)),
            "--transport" => match args.value(&arg).as_str() {
                "udp" => o.tcp = false,
                "tcp" => o.tcp = true,
                other => wrong(&format!("--transport: {other} is neither udp nor tcp")),
            },
            "--fetch" => o.expires = Some(0),
            "--notifies" => o.notifies = Some(args.parsed(&arg)),
            "--seconds" => o.seconds = Some(args.parsed(&arg)),
            "--user" => o.user = Some(args.value(&arg)),
            "--password" => o.password = args.value(&arg),
            "--credentials" => o.credentials.push(args.value(&arg)),
            "--outbound" => {
                let proxy = args.value(&arg);
                o.outbound = Some(if proxy.starts_with("sip") { proxy } else { format!("sip:{proxy};lr") });
            }
            "--rfc3265" => o.policy = Policy::rfc3265(),
            "--ladder" => o.tap.ladder = true,
            "--pcap" => o.tap.pcap = Some(args.value(&arg)),
            "--json" => o.json = true,
            uri if !uri.starts_with("--") && o.uri.is_empty() => o.uri = uri.into(),
            other => wrong(&format!("{other} is no option")),
        }
    }
    if o.uri.is_empty() {
        wrong("a URI is needed");
    }
    o
}

/// An address of ours that the server can reach.
fn bind_address(o: &Options) -> SocketAddr {
    let first = o.outbound.as_ref().unwrap_or(&o.uri);
    let uri = UriBuf::try_from(first.as_str()).unwrap_or_else(|_| wrong(&format!("{first} is not a URI")));
    let port = uri.as_uri().port().unwrap_or(5060);
    let remote = match uri.as_uri().host() {
        Some(Host::V4(ip)) => Some(SocketAddr::new(ip.into(), port)),
        Some(Host::V6(ip)) => Some(SocketAddr::new(ip.into(), port)),
        Some(name) => {
            std::net::ToSocketAddrs::to_socket_addrs(&(name.to_string(), port)).ok().and_then(|mut a| a.next())
        }
        None => None,
    };
    let towards = remote.and_then(local_towards);
    o.bind.or(towards).unwrap_or_else(|| failed(&format!("{first} cannot be reached; give --bind")))
}

fn main() -> io::Result<()> {
    let mut o = options();
    let bind = bind_address(&o);
    let package = o.event.split(';').next().unwrap_or_default().trim().to_string();
    let mut packages = Packages::standard();
    if !packages.contains(&package) && packages.register_opaque(&package).is_err() {
        wrong(&format!("{package} is not the name of an event package"));
    }
    let from = o.from.clone().unwrap_or_else(|| match bind.ip() {
        std::net::IpAddr::V6(ip) => format!("sip:watch@[{ip}]"),
        std::net::IpAddr::V4(ip) => format!("sip:watch@{ip}"),
    });
    let config = Config::new(&from).and_then(|c| {
        c.user_agent("sip-events watch")?.with_policy(o.policy).with_package(PackageConfig::new(&package))
    });
    let config = config.unwrap_or_else(|error| wrong(&format!("{from}: {error}")));
    let request = request(&o).unwrap_or_else(|error| wrong(&format!("{} {}: {error}", o.uri, o.event)));
    let mut driver = Driver::bind(bind, config, packages)?;
    std::mem::take(&mut o.tap).install(&mut driver, if o.json { |text| eprintln!("{text}") } else { line });
    let id = driver.endpoint.subscribe(driver.now(), request).unwrap_or_else(|error| failed(&error.to_string()));
    let mut watch = Watch { id, forks: vec![id], code: 0, json: o.json, limit: o.notifies, seen: 0, leaving: false };
    let mut stop = o.seconds.map(|s| driver.now() + Duration::from_secs(s));
    let mut events = driver.drain();
    loop {
        for event in events {
            if let Some(code) = watch.report(&driver, event) {
                Report::new(o.json, "done").print();
                std::process::exit(code);
            }
        }
        if watch.limit.is_some_and(|limit| watch.seen >= limit) || stop.is_some_and(|at| at <= driver.now()) {
            stop = None;
            watch.leave(&mut driver);
        }
        events = driver.turn(stop)?;
    }
}

fn request(o: &Options) -> Result<Subscribe, Misuse> {
    let transport = if o.tcp && !o.uri.contains(";transport=") { ";transport=tcp" } else { "" };
    let mut request = Subscribe::new(&format!("{}{transport}", o.uri), &o.event)?;
    if let Some(seconds) = o.expires {
        request = request.expires(seconds);
    }
    for media_type in &o.accept {
        request = request.accept(media_type)?;
    }
    if let Some(proxy) = &o.outbound {
        request = request.route(&format!("{proxy}{}", if o.tcp { transport } else { "" }))?;
    }
    for one in &o.credentials {
        let mut parts = one.splitn(3, ':');
        let (Some(realm), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
            wrong("--credentials needs REALM:USER:PASSWORD");
        };
        request = request.credentials(Credentials::new(user, Secret::password(password))?.realm(realm))?;
    }
    if let Some(user) = &o.user {
        request = request.credentials(Credentials::new(user, Secret::password(&o.password))?)?;
    }
    Ok(request)
}

struct Watch {
    id: SubscriptionId,
    /// The subscription and its forks, as far as they have not ended.
    forks: Vec<SubscriptionId>,
    code: i32,
    json: bool,
    limit: Option<u32>,
    seen: u32,
    leaving: bool,
}

impl Watch {
    fn leave(&mut self, driver: &mut Driver) {
        if !std::mem::replace(&mut self.leaving, true) {
            // It may have ended in this very moment; then the event says so.
            let _ = driver.endpoint.unsubscribe(driver.now(), self.id, Scope::AllForks);
        }
    }

    /// Prints an event; the exit code once everything is over.
    fn report(&mut self, driver: &Driver, event: Event) -> Option<i32> {
        let report = |name| Report::new(self.json, name);
        match event {
            Event::Accepted { status, expires, .. } => {
                report("accepted").number("status", status.as_u16()).number("expires", expires).print();
            }
            Event::Notify { state, expires, cseq, body, .. } => {
                let state = match state {
                    SubscriptionState::Active => "active",
                    SubscriptionState::Pending => "pending",
                    SubscriptionState::Terminated => "terminated",
                    _ => "unknown",
                };
                if state == "active" || state == "pending" {
                    report(state).maybe_number("expires", expires).print();
                }
                let content_type = body.as_ref().map(|b| b.content_type());
                let data = body.as_ref().map_or(&[][..], |b| &b.data);
                let line = report("notify").text("state", state).maybe("content_type", content_type);
                line.number("cseq", cseq).body(data).print();
                self.seen += 1;
            }
            Event::Forked { child, .. } => {
                self.forks.push(child);
                report("forked").text("child", &child.to_string()).print();
            }
            Event::Redirected { status, contacts, followed, .. } => {
                let line = report("redirected").number("status", status.as_u16()).flag("followed", followed);
                let contacts: Vec<_> = contacts.iter().map(|uri| String::from_utf8_lossy(uri)).collect();
                line.text("contacts", &contacts.join(" ")).print();
            }
            Event::Challenge { realm, .. } => {
                report("challenged").text("realm", &String::from_utf8_lossy(&realm)).print();
            }
            Event::Retrying { why, at, .. } => {
                let seconds = (at - driver.now()).as_secs();
                self.ended(&why).flag("will_retry", true).print();
                report("retrying").number("in", seconds).text("why", &format!("{why:?}")).print();
            }
            Event::RefreshFailed { status, .. } => {
                report("refresh_failed").maybe_number("status", status.map(|s| s.as_u16().into())).print();
            }
            Event::Terminated { subscription, why, retry } => {
                let again = retry != Retry::Never;
                self.ended(&why).flag("will_retry", false).flag("may_retry", again).print();
                let as_asked = matches!(why, Ending::Unsubscribed | Ending::Fetched) || self.leaving;
                self.forks.retain(|fork| *fork != subscription);
                if subscription == self.id {
                    self.code = i32::from(!as_asked);
                }
                if self.forks.is_empty() {
                    return Some(self.code);
                }
            }
            _ => {}
        }
        None
    }

    fn ended(&self, why: &Ending) -> Report {
        let (mut name, mut status, mut after) = (None, None, None);
        match why {
            Ending::ByNotifier { reason, retry_after } => {
                name = reason.as_ref().map(|r| String::from_utf8_lossy(r.as_bytes()).into_owned());
                after = *retry_after;
            }
            Ending::Refused { status: code, retry_after } => {
                (status, after) = (Some(code.as_u16().into()), *retry_after)
            }
            Ending::NoNotify => name = Some("no NOTIFY came".into()),
            Ending::Expired => name = Some("expired".into()),
            Ending::NoAnswer(failure) => name = Some(format!("no answer: {failure:?}")),
            _ => {}
        }
        let report = Report::new(self.json, "terminated").maybe("reason", name.as_deref());
        report.maybe_number("status", status).maybe_number("retry_after", after)
    }
}
