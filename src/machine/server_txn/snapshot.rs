//! A server transaction as part of a digest; it is not saved.

use super::{State, Transaction};
use crate::codec::{Put, Writer};

impl Put for Transaction {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { gate, end, state, reliable } = self;
        w.put(gate);
        w.put(end);
        w.word(match state {
            State::Trying => 0,
            State::Proceeding => 1,
            State::Completed => 2,
            State::Terminated => 3,
        });
        w.put(reliable);
    }
}
