//! Responses that wait for the limits of rates: they go on when their time comes, or their turn.

use super::Acceptor;
use crate::config;
use crate::connection::Connection;
use crate::throttle::{Rates, Ticket};
use std::time::Instant;

impl Acceptor {
    /// Has those go on whose time or turn has come. Those beyond a batch follow in the next round,
    /// which then begins at once.
    pub(super) fn pay_out(&mut self) {
        let (total, now) = (Rates::of(&self.context.config).total, Instant::now());
        for _ in 0..config::LIMIT_BATCH {
            let Some(ticket) = self.context.throttle.next_due(now) else { break };
            if let Some(connection) = self.take_waiting(ticket) {
                self.guarded(|acceptor| acceptor.advance(connection));
            }
        }
        for _ in 0..config::LIMIT_BATCH {
            let Some((ticket, granted)) = self.context.throttle.next_turn(total, now) else {
                break;
            };
            match self.take_waiting(ticket) {
                Some(mut connection) => {
                    connection.grant(granted);
                    self.guarded(|acceptor| acceptor.advance(connection));
                }
                None => self.context.throttle.put_back(granted),
            }
        }
        // Those that close while they wait leave their tickets behind.
        if self.context.throttle.waiting() > 2 * self.admission.open() + config::EVENT_BATCH {
            let is_waiting = |ticket: &Ticket| {
                self.parking.look(ticket.key, |of| of.waits_for(*ticket)).unwrap_or(false)
            };
            self.context.throttle.retain(is_waiting);
        }
    }

    #[allow(clippy::unnecessary_box_returns, reason = "connections live in boxes")]
    fn take_waiting(&self, ticket: Ticket) -> Option<Box<Connection>> {
        self.parking.take_if(ticket.key, |connection| connection.waits_for(ticket))
    }

    /// When the next one has to go on, if one waits.
    pub(super) fn next_payment(&self) -> Option<Instant> {
        self.context.throttle.next_look(Rates::of(&self.context.config).total, Instant::now())
    }
}
