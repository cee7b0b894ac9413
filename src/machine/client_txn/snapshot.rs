//! A client transaction as part of a digest; it is not saved.

use super::{State, Transaction};
use crate::codec::{Put, Writer};

impl Put for Transaction {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { timer_e, timer_f_or_k, next_e, state, reliable } = self;
        w.put(timer_e);
        w.put(timer_f_or_k);
        w.put(next_e);
        w.word(match state {
            State::Trying => 0,
            State::Proceeding => 1,
            State::Completed => 2,
            State::Terminated => 3,
        });
        w.put(reliable);
    }
}
