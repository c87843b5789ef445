//! Generations of the server: a running one hands over to the next one, a process of its own, and nobody notices.
//!
//! `duty` says whether this process is in charge, and what has to end before it may leave. `successor` is the old one's
//! end of the hand-over, `predecessor` the new one's; they talk over one socket pair, over which the listeners and the
//! data folder's lock pass too. What the old one still uses while it finishes it tells by `parting`; `elders` listens.

mod duty;
mod elders;
mod letters;
mod order;
mod parting;
mod predecessor;
mod successor;

pub use duty::{Duty, Phase, Relieved, Task};
pub use elders::{Elder, Elders};
pub use letters::{Serving, Uses};
pub use order::{HandOver, Heard, Order};
pub use parting::Parting;
pub use predecessor::{Inheritance, Predecessor};
pub use successor::{Bequest, OURSELVES, Successor, detach};
