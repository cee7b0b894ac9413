//! Lists of client transactions that wait for one thing, each of which knows
//! its place.

use alloc::vec::Vec;

use super::core::Core;

/// What a transaction waits for, or is open on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Connection(u32),
    Query(u32),
    /// Datagrams to addresses of one hash.
    Remote(u32),
}

/// A place in the list of a [`Home`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) home: Home,
    pub(super) at: u32,
}

impl Core {
    pub(super) fn seats(&mut self, home: Home) -> Option<&mut Vec<u32>> {
        match home {
            Home::Connection(slot) => self.connections.at_mut(slot).map(|connection| &mut connection.clients),
            Home::Query(slot) => self.resolver.waiters(slot),
            Home::Remote(at) => self.clients.remotes.list(at),
        }
    }

    /// Puts the transaction in `slot` on the list of `home`.
    pub(super) fn sit(&mut self, slot: u32, home: Home) {
        let Some(seats) = self.seats(home) else { return };
        let at = u32::try_from(seats.len()).unwrap_or(u32::MAX);
        seats.push(slot);
        if let Home::Connection(connection) = home {
            self.connections.note_waiters(connection);
        }
        if let Some(seat) = self.clients.seat(slot) {
            *seat = Some(Seat { home, at });
        }
    }

    /// Takes it off the list that it is on.
    pub(super) fn leave(&mut self, slot: u32) {
        let Some(seat) = self.clients.seat(slot).and_then(Option::take) else { return };
        let Some(seats) = self.seats(seat.home) else { return };
        let at = seat.at as usize;
        if seats.get(at) != Some(&slot) {
            return;
        }
        seats.swap_remove(at);
        if let Some(moved) = seats.get(at).copied()
            && let Some(Some(seat)) = self.clients.seat(moved)
        {
            seat.at = u32::try_from(at).unwrap_or(u32::MAX);
        }
        if let Home::Connection(connection) = seat.home {
            self.connections.note_waiters(connection);
        }
    }
}
