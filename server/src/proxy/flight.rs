//! One request under way, as its thread's ticks look at it. Everything here stays on one thread.
use super::fault::Fault;
use super::rules::Pace;
use super::target::Target;
use super::wire::{Order, Wire};
use super::worker::Worker;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(super) struct Flight {
    wire: Arc<Wire>,
    /// The spans of its app.
    pub(super) pace: Pace,
    stage: Cell<Stage>,
    class: Cell<Class>,
    /// The tick at which something last moved.
    beat: Cell<u32>,
    ticks: Rc<Cell<u32>>,
    verdict: Cell<Option<Fault>>,
    /// A WebSocket's: it is to say farewell.
    is_closing: Cell<bool>,
    /// The instance took no more of the request.
    is_cut: Cell<bool>,
    /// Some of its body was not taken, and its client may still be sending it.
    has_leftover: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// The task that says the rest of the request's body, where that is another.
    rest_waker: RefCell<Option<Waker>>,
    /// The instance this request counts on: entered, and left once.
    target: RefCell<Option<Arc<Target>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Looking for an instance, or connecting to it: both have limits of their own.
    Boarding,
    /// Held until the app has an instance.
    Held,
    /// Queued until an instance has room for it.
    Queued,
    /// Held until its owner lets the app's visitors in again.
    Paused,
    /// The request's body is being sent.
    Sending(Side),
    /// The answer's first byte is waited for.
    Waiting,
    /// The answer's body is being sent.
    Streaming,
    Tunnel,
}

/// Who has to move next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    App,
}

/// How long a drain waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Request,
    EventStream,
    /// `lot` of 256: when, within the time over which they are closed.
    WebSocket {
        lot: u8,
    },
    Tunnel,
}

impl Flight {
    pub(super) fn new(worker: &Worker, wire: Arc<Wire>, pace: Pace) -> Self {
        Self {
            wire,
            pace,
            stage: Cell::new(Stage::Boarding),
            class: Cell::new(Class::Request),
            beat: Cell::new(worker.ticks.get()),
            ticks: worker.ticks.clone(),
            verdict: Cell::new(None),
            is_closing: Cell::new(false),
            is_cut: Cell::new(false),
            has_leftover: Cell::new(false),
            waker: RefCell::new(None),
            rest_waker: RefCell::new(None),
            target: RefCell::new(None),
        }
    }

    /// Lets the connection of a held request look whether its client is still there.
    pub(super) fn look_for_client(&self) {
        if matches!(self.stage(), Stage::Held | Stage::Queued | Stage::Paused) {
            self.wire.look();
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Enters a stage; its time starts now.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        self.beat();
    }

    /// The request's body is over, for whoever sends it: from here on the answer is waited for, if it has not begun.
    pub(super) fn stop_sending(&self) {
        if matches!(self.stage(), Stage::Sending(_)) {
            self.enter(Stage::Waiting);
        }
    }

    /// The instance takes no more of the request; it may have answered all the same.
    pub(super) fn cut_off(&self, has_leftover: bool) {
        self.is_cut.set(true);
        self.has_leftover.set(has_leftover);
        self.stop_sending();
    }

    pub(super) fn has_leftover(&self) -> bool {
        self.has_leftover.get()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// The answer is over, but not the request's body: from here on its time counts alone.
    pub(super) fn outlive_answer(self: &Rc<Self>) {
        if !self.is_sent() {
            self.enter(Stage::Sending(Side::App));
        }
    }

    /// Something moved.
    pub(super) fn beat(&self) {
        self.beat.set(self.ticks.get());
    }

    /// Ticks since something last moved.
    pub(super) fn quiet_ticks(&self) -> u32 {
        self.ticks.get().saturating_sub(self.beat.get())
    }

    pub(super) fn class(&self) -> Class {
        self.class.get()
    }

    pub(super) fn set_class(&self, class: Class) {
        self.class.set(class);
    }

    /// Takes over an entered claim.
    pub(super) fn board(&self, target: Arc<Target>) {
        self.alight();
        *self.target.borrow_mut() = Some(target);
    }

    pub(super) fn alight(&self) {
        let target = self.target.borrow_mut().take();
        if let Some(target) = target {
            target.leave();
        }
    }

    /// The answer is over. The claim stays while the rest of the request's body may still go to the instance.
    pub(super) fn alight_if_sent(self: &Rc<Self>) {
        if self.is_sent() {
            self.alight();
        }
    }

    /// Whether no part of the request's body is left to be written: the list and the exchange hold one each, a third is who
    /// writes it.
    fn is_sent(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) <= 2
    }

    pub(super) fn target(&self) -> Option<Arc<Target>> {
        self.target.borrow().clone()
    }

    /// Ends the request for a reason, whoever waits for it. Where the answer has begun, the connection breaks.
    pub(super) fn end(&self, fault: Fault) {
        if self.verdict.get().is_some() {
            return;
        }
        self.verdict.set(Some(fault));
        if matches!(self.stage.get(), Stage::Streaming | Stage::Tunnel) {
            self.wire.give(Order::Abort);
        }
        self.wake();
    }

    /// Asks a WebSocket to close at the end of a frame.
    pub(super) fn ask_to_close(&self) {
        if !self.is_closing.replace(true) {
            self.wake();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    fn wake(&self) {
        for slot in [&self.waker, &self.rest_waker] {
            let waker = slot.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub(super) fn verdict(&self) -> Option<Fault> {
        self.verdict.get()
    }

    /// The task to wake when the request is ended.
    pub(super) fn register(&self, cx: &Context<'_>) {
        note(&self.waker, cx);
    }

    /// The task that says the rest of the request's body, to be woken then too.
    pub(super) fn register_rest(&self, cx: &Context<'_>) {
        note(&self.rest_waker, cx);
    }

    /// Runs some work of this request until it is done or the request is ended. Pinned by the caller: taken by value it would
    /// have its place twice.
    pub(super) async fn unless_ended<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, Fault> {
        std::future::poll_fn(|cx| {
            if let Some(fault) = self.verdict() {
                return Poll::Ready(Err(fault));
            }
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                self.register(cx);
            }
            done.map(Ok)
        })
        .await
    }
}

fn note(slot: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut waker = slot.borrow_mut();
    if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.alight();
    }
}

/// A flight in its thread's list. Leaves the list when dropped, or, where the rest of a request's body still goes to the
/// instance, at the first tick after that ended: until then its limits hold.
pub(super) struct Listed {
    flight: Rc<Flight>,
    worker: Rc<Worker>,
    place: usize,
}

impl Listed {
    pub(super) fn new(worker: Rc<Worker>, wire: Arc<Wire>, pace: Pace) -> Self {
        let flight = Rc::new(Flight::new(&worker, wire, pace));
        let place = worker.flights.borrow_mut().insert(flight.clone());
        Self { flight, worker, place }
    }

    pub(super) fn share(&self) -> Rc<Flight> {
        self.flight.clone()
    }
}

impl std::ops::Deref for Listed {
    type Target = Rc<Flight>;
    fn deref(&self) -> &Rc<Flight> {
        &self.flight
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if !self.flight.is_sent() {
            return;
        }
        let removed = self.worker.flights.borrow_mut().try_remove(self.place);
        // Outside the borrow: the last holder leaves its instance, which may wake the control plane.
        drop(removed);
    }
}
