//! What a head says of what follows it, and a look at that ahead of a worker's turn.

use super::{Connection, Context, Dropped, Phase, Step};
use crate::http::body::BodySkipper;
use crate::http::fault::Fault;
use crate::http::request::{FieldSlots, Request};
use std::time::Instant;

/// What the bytes behind a head are to its request.
pub(super) enum Behind {
    /// So many are its body, and that is all of it.
    Whole(usize),
    /// Its body may come once it is asked for.
    OnDemand,
    /// So many are its body, and more is to come.
    Part(BodySkipper, usize),
}

impl Behind {
    /// Finds a request's body, which nobody wants, in the bytes behind its head.
    pub(super) fn find(
        request: &Request<'_>,
        behind: &[u8],
        context: &Context,
    ) -> Result<Self, Fault> {
        let mut skipper = BodySkipper::new(request.framing.body, context.config.body_bytes)?;
        let skipped = skipper.skip(behind)?;
        Ok(match skipped {
            skipped if skipper.is_done() => Self::Whole(skipped),
            0 if request.framing.expects_continue => Self::OnDemand,
            skipped => Self::Part(skipper, skipped),
        })
    }
}

impl Connection {
    /// Looks at a whole request ahead of its turn: what is none is refused, and a body that is
    /// still on its way is dropped first. So behind slow services neither has to wait for its
    /// answer, or takes a place in the queue.
    pub fn vet(mut self: Box<Self>, context: &mut Context) -> Step {
        let Phase::Ready { head, dropped: Dropped::NotYet, .. } = self.phase else {
            return Step::Dispatch(self);
        };
        let (bytes, behind) = self.input.as_slice().split_at(head);
        let mut slots = FieldSlots::new();
        let found = Request::parse(bytes, &mut slots)
            .and_then(|request| Behind::find(&request, behind, context));
        match found {
            Ok(Behind::Whole(_) | Behind::OnDemand) => Step::Dispatch(self),
            Ok(Behind::Part(skipper, used)) => {
                self.drop_rest(skipper, used, Dropped::AheadOfQueue, context);
                self.advance(context)
            }
            Err(fault) => self.refuse(fault, context),
        }
    }

    /// From here on the rest of a body is dropped as it comes; `used` bytes of it are buffered.
    pub(super) fn drop_rest(
        &mut self,
        skipper: BodySkipper,
        used: usize,
        then: Dropped,
        context: &Context,
    ) {
        let Phase::Ready { head, version, .. } = self.phase else { return };
        self.input.consume_behind(head, used);
        self.phase = Phase::Body { head, version, skipper, then, came: used as u64 };
        self.deadline = Instant::now() + context.config.body_timeout;
    }
}
