//! What a thread does at every tick: keep all time limits of its connections and requests, without a timer for each.
use super::fault::Fault;
use super::flight::{Class, Flight, Side, Stage};
use super::limits::Spans;
use super::target::Target;
use super::wire::{Mood, Order, Wire};
use std::sync::Arc;

/// The spans in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    head: u32,
    handshake: u32,
    keep_alive_idle: u32,
    hold: u32,
    tunnel_idle: u32,
    drain: u32,
    ws_stagger: u32,
    ws_close: u32,
    drain_hold: u32,
    drain_transfer: u32,
    transfer_stall: u32,
}

impl Limits {
    pub(super) fn new(spans: &Spans) -> Self {
        Self {
            head: spans.ticks(spans.head),
            handshake: spans.ticks(spans.handshake),
            keep_alive_idle: spans.ticks(spans.keep_alive_idle),
            hold: spans.ticks(spans.hold),
            tunnel_idle: spans.ticks(spans.tunnel_idle),
            drain: spans.ticks(spans.drain),
            ws_stagger: spans.ticks(spans.ws_stagger),
            ws_close: spans.ticks(spans.ws_close),
            drain_hold: spans.ticks(spans.drain_hold),
            drain_transfer: spans.ticks(spans.drain_transfer),
            transfer_stall: spans.ticks(spans.transfer_stall),
        }
    }

    /// Ends a request whose time is over.
    pub(super) fn check(&self, flight: &Flight, now: u32) {
        if let Some(fault) = self.stalled(flight) {
            flight.end(fault);
            return;
        }
        flight.look_for_client();
        let Some(target) = flight.target() else { return };
        let drained_ticks = target.closed_tick().map(|closed| now - closed.min(now));
        let is_overdue = drained_ticks.is_some_and(|ticks| match flight.class() {
            Class::WebSocket { lot } => self.is_close_overdue(flight, &target, ticks, lot),
            Class::Request | Class::EventStream | Class::Tunnel => self.is_overdue(flight, &target, ticks),
        });
        // Its task may take more than a tick to end: it counts once.
        if (target.is_condemned() || is_overdue) && flight.verdict().is_none() {
            target.count_forced();
            flight.end(Fault::ForcedClose);
        }
    }

    fn stalled(&self, flight: &Flight) -> Option<Fault> {
        let (limit, fault) = match flight.stage() {
            Stage::Boarding => return None,
            Stage::Held => (self.hold, Fault::BootTimeout),
            Stage::Queued => (flight.pace.queue, Fault::BacklogTooDeep),
            Stage::Paused => (self.hold, Fault::Maintenance),
            Stage::Sending(Side::Client) => (flight.pace.body_idle, Fault::ClientIdle),
            Stage::Sending(Side::App) => (flight.pace.body_idle, Fault::RequestTimeout),
            Stage::Waiting => (flight.pace.first_byte, Fault::RequestTimeout),
            Stage::Streaming => (flight.pace.body_idle, Fault::IdleConnection),
            Stage::Tunnel => (self.tunnel_idle, Fault::IdleConnection),
        };
        (flight.quiet_ticks() > limit).then_some(fault)
    }

    /// Whether a draining instance has waited long enough for this request.
    fn is_overdue(&self, flight: &Flight, target: &Target, drained_ticks: u32) -> bool {
        if target.is_hurried() {
            return drained_ticks > self.drain_hold;
        }
        let has_body = matches!(flight.stage(), Stage::Sending(_) | Stage::Streaming);
        let is_moving = has_body && flight.quiet_ticks() < self.transfer_stall;
        let limit = match flight.class() {
            Class::Request if is_moving => self.drain_transfer,
            Class::Request | Class::EventStream => self.drain,
            Class::WebSocket { .. } | Class::Tunnel => flight.pace.ws_drain,
        };
        drained_ticks > limit
    }

    /// Asks a WebSocket to close when its time has come, one a little after the other. Whether it took too long then.
    fn is_close_overdue(&self, flight: &Flight, target: &Target, drained_ticks: u32, lot: u8) -> bool {
        let (begin, end) = if target.is_hurried() {
            (self.drain_hold / 2, self.drain_hold)
        } else {
            let begin = flight.pace.ws_drain.saturating_add(self.turn(lot));
            (begin, begin.saturating_add(self.ws_close))
        };
        if drained_ticks > begin {
            flight.ask_to_close();
        }
        drained_ticks > end
    }

    /// The same on our own way out, which began so many ticks ago.
    pub(super) fn part(&self, flight: &Flight, parting_ticks: u32) {
        if let Class::WebSocket { lot } = flight.class()
            && parting_ticks >= self.turn(lot)
        {
            flight.ask_to_close();
        }
    }

    /// When it is a WebSocket's turn, in ticks: all at once would all come again at once.
    fn turn(&self, lot: u8) -> u32 {
        let ticks = u64::from(self.ws_stagger) * u64::from(lot) / 256;
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}

/// A client connection in its thread's list.
pub(super) struct Watched {
    pub(super) wire: Arc<Wire>,
    changes: u32,
    since: u32,
}

impl Watched {
    pub(super) fn new(wire: Arc<Wire>, now: u32) -> Self {
        let (_, changes) = wire.mood();
        Self { wire, changes, since: now }
    }

    pub(super) fn check(&mut self, limits: &Limits, now: u32) {
        let (mood, changes) = self.wire.mood();
        if changes != self.changes {
            (self.changes, self.since) = (changes, now);
            return;
        }
        let waited = now.saturating_sub(self.since);
        match (mood, self.wire.order()) {
            // It neither ended nor brought anything: its last answer is stuck on the way out.
            (Mood::Idle | Mood::Head, Order::Close | Order::Timeout) if waited > limits.keep_alive_idle * 2 => {
                self.wire.give(Order::Abort);
            }
            (Mood::Idle, Order::None) if waited > limits.keep_alive_idle => self.wire.give(Order::Close),
            (Mood::Head, Order::None) if waited > limits.head => self.wire.give(Order::Timeout),
            (Mood::Handshake, Order::None) if waited > limits.handshake => self.wire.give(Order::Abort),
            (Mood::Busy | Mood::Handshake, _)
            | (Mood::Idle | Mood::Head, Order::None | Order::Close | Order::Timeout | Order::Abort) => {}
        }
    }

    /// On our own way out: connections that wait for nothing are closed.
    pub(super) fn close_if_idle(&self) {
        let may_close = matches!(self.wire.mood().0, Mood::Idle | Mood::Handshake) || self.wire.carries_many();
        if may_close && self.wire.order() == Order::None {
            self.wire.give(Order::Close);
        }
    }

    /// The same earlier, where the protocol has a word for it that loses nothing under way: GOAWAY.
    pub(super) fn take_leave(&self) {
        if self.wire.carries_many() && self.wire.order() == Order::None {
            self.wire.give(Order::Close);
        }
    }
}
