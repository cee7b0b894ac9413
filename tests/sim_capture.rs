//! The capture of a simulated run, read by Wireshark's dissector.

#![cfg(feature = "testing")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sip_events::testing::{Faults, Frame, Log, Scenario};
use sip_events::wire::Transport;

/// A run with enough of both transports in which nothing is damaged: a refusal
/// of a damaged request copies the damage.
fn log() -> Log {
    let scenarios = (1..40).map(|seed| Scenario::new(seed, Duration::from_secs(3600)));
    let wanted = |scenario: &Scenario| scenario.options.tcp && scenario.options.proxy && scenario.options.peers > 0;
    let logs = scenarios.filter(wanted).map(|mut scenario| {
        scenario.options.faults = Faults::default();
        scenario.steps.retain(|step| !format!("{:?}", step.op).starts_with("Weather"));
        let outcome = scenario.run(true);
        assert_eq!(outcome.violation, None);
        outcome.log.unwrap()
    });
    logs.into_iter().find(|log| over(log, Transport::Udp) > 100 && over(log, Transport::Tcp) > 10).unwrap()
}

fn over(log: &Log, transport: Transport) -> usize {
    log.frames.iter().filter(|frame: &&Frame| frame.transport == transport).count()
}

fn tshark(arguments: &[&str]) -> Option<String> {
    let output = Command::new("tshark").args(arguments).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_frame_of_a_capture_decodes_as_sip() {
    if tshark(&["--version"]).is_none() {
        println!("SKIPPED: tshark is not installed (tests/interop/run --install does that)");
        return;
    }
    let log = log();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sim.pcap");
    std::fs::write(&path, log.pcap()).unwrap();
    let path = path.to_str().unwrap();
    let fields =
        ["-T", "fields", "-E", "separator=|", "-e", "frame.protocols", "-e", "_ws.malformed", "-e", "sip.Call-ID"];
    let read = [&["-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"], &fields[..]];
    let text = tshark(&read.concat()).unwrap();
    let sip = log.frames.iter().filter(|frame| frame.bytes.len() > 4);
    for (line, frame) in text.lines().zip(&log.frames).filter(|(_, frame)| frame.bytes.len() > 4) {
        let parts: Vec<&str> = line.split('|').collect();
        let [protocols, malformed, call_id] = parts[..] else { panic!("{line}") };
        assert!(protocols.contains(":sip"), "{line}: {}", String::from_utf8_lossy(&frame.bytes));
        assert_eq!(malformed, "", "{}", String::from_utf8_lossy(&frame.bytes));
        assert!(String::from_utf8_lossy(&frame.bytes).contains(call_id), "{line}");
    }
    assert_eq!(text.lines().count(), log.frames.len());
    assert!(sip.count() > 100);
    let bad = "ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0";
    let checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"];
    let wrong = tshark(&[&["-n", "-r", path, "-Y", bad], &checks[..]].concat()).unwrap();
    assert_eq!(wrong, "");
}
