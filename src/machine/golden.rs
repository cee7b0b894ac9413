//! Compares the printed tables with `tests/golden/states` and `docs/states.md`;
//! `UPDATE_GOLDEN=1` writes them.

use alloc::string::String;
use alloc::{format, vec::Vec};
use core::fmt::Write;
use std::path::Path;
use std::{env, fs};

use super::table::Table;
use super::{client_txn, notifier, server_txn, subscriber};

fn tables() -> [(&'static Table, &'static str, &'static str); 4] {
    [
        (
            &subscriber::TABLE,
            "The subscription at the subscriber",
            "[RFC 6665, 4.1.2](https://www.rfc-editor.org/rfc/rfc6665#section-4.1.2), figure 1",
        ),
        (
            &notifier::TABLE,
            "The subscription at the notifier",
            "[RFC 6665, 4.2.1](https://www.rfc-editor.org/rfc/rfc6665#section-4.2.1), figure 2",
        ),
        (
            &client_txn::TABLE,
            "The non-INVITE client transaction",
            "[RFC 3261, 17.1.2](https://www.rfc-editor.org/rfc/rfc3261#section-17.1.2), figure 6",
        ),
        (
            &server_txn::TABLE,
            "The non-INVITE server transaction",
            "[RFC 3261, 17.2.2](https://www.rfc-editor.org/rfc/rfc3261#section-17.2.2), figure 8; \
             [RFC 4320, 4](https://www.rfc-editor.org/rfc/rfc4320#section-4)",
        ),
    ]
}

const HEAD: &str = "\
# State machines

Generated from the tables that the code runs (`src/machine`) by `UPDATE_GOLDEN=1 cargo test --lib golden`; do not edit.

Rows are inputs, columns the state before, cells the state after; `.` is an input that is refused and changes nothing.
The graphs leave out inputs that keep the state. Codes in the last column are the rules of the conformance lists (`docs/conformance`).

";

const DIFFERENCES: &str = "\
## Deliberate differences from the figures

- **INT-4**: a subscriber accepts active -> pending, which figure 1 does not draw: policy may be revoked.
- **INT-5, 6665-SSM-23**: the subscriber ends the subscription itself at the deadline, but not while a SUBSCRIBE is in flight or Timer N runs: then the NOTIFY that is owed, or Timer N, decides. A 2xx with Expires 0 therefore ends nothing by itself (6665-RACE-22).
- **INT-6**: an unknown substate keeps the state; in NotifyWait it makes the subscription as pending would (6665-SSM-29).
- **INT-7**: a 204 to the initial SUBSCRIBE ends as a missing NOTIFY, at Timer N.
- **INT-1, INT-2**: a failure that is not a timeout cancels the Timer N of its refresh; a subscription that a NOTIFY made survives the failure of the initial SUBSCRIBE.
- **6665-SSM-27**: what was Timer N of the attempt runs on, after the first NOTIFY, as the window in which other forks are taken; also after a terminated one (6665-SSM-6).
- **6665-SSM-18 while ending**: a NOTIFY that crosses an unsubscribe does not cancel its Timer N, so the wait for the last NOTIFY stays bounded (6665-RACE-8); when it fires, the end is a normal one.
- **INT-15**: one SUBSCRIBE in flight; of several Timers N that overlap the earliest decides, except that an unsubscribe waits its full 64*T1.
- **INT-16**: unsubscribe in NotifyWait is remembered and sent in each dialog that a NOTIFY makes.
- **5057-5.1-4**: an unsubscribe that is refused with any final response ends the subscription; a later NOTIFY gets 481, which ends it at the notifier.
- **INT-10**: the notifier has one NOTIFY open; further changes coalesce. The NOTIFY owed to a SUBSCRIBE does not wait: the open one is given up.
- **6665-NSM-18**: figure 2 ends in \"terminated\"; here the subscription can be freed only when its last NOTIFY has its final response or has timed out.
- **4320-4.2-1**: the server transaction also ends, without any response, after 64*T1 without a final one: the client's Timer F has fired, and 408 is forbidden.
- **3261-17.1.2.2-6, 3261-17.2.2-3**: Timers K and J of zero length, on reliable transports, fire in the same step.
";

fn compare(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "{} is out of date: run with UPDATE_GOLDEN=1", path.display());
}

/// Covers: 6665-4.1.2-1
#[test]
fn printed_tables_are_up_to_date() {
    let mut manual = String::from(HEAD);
    for (table, title, source) in tables() {
        let mut dot = String::new();
        table.write_dot(&mut dot).unwrap();
        compare(&format!("tests/golden/states/{}.txt", table.name), &format!("{table}"));
        compare(&format!("tests/golden/states/{}.dot", table.name), &dot);
        writeln!(manual, "## {title}\n\n{source}.\n").unwrap();
        table.write_markdown(&mut manual).unwrap();
        writeln!(manual, "\n```mermaid").unwrap();
        table.write_mermaid(&mut manual).unwrap();
        writeln!(manual, "```\n").unwrap();
    }
    manual.push_str(DIFFERENCES);
    compare("docs/states.md", &manual);
}

/// The text and the function are made from the same rows; this holds them together.
#[test]
fn text_and_function_agree_in_every_cell() {
    macro_rules! check {
        ($module:ident) => {
            assert_eq!($module::TABLE.rows.len(), $module::Input::ALL.len());
            for (row, input) in $module::TABLE.rows.iter().zip($module::Input::ALL) {
                assert_eq!(row.input, format!("{input:?}"));
                for state in $module::State::ALL {
                    let after = $module::apply(*state, *input).map(|state| format!("{state:?}"));
                    assert_eq!(row.target(&format!("{state:?}")), after.as_deref());
                }
            }
        };
    }
    check!(subscriber);
    check!(notifier);
    check!(client_txn);
    check!(server_txn);
}

/// Covers: 6665-SSM-26, 6665-NSM-20
#[test]
fn nothing_leaves_the_final_state_and_every_state_is_reached() {
    for (table, _, _) in tables() {
        let moves: Vec<_> = table.rows.iter().flat_map(|row| row.moves).collect();
        assert!(moves.iter().all(|(from, to)| *from != "Terminated" || *to == "Terminated"));
        for state in table.states.iter().skip(1) {
            assert!(moves.iter().any(|(from, to)| to == state && from != state), "{state}");
        }
    }
}
