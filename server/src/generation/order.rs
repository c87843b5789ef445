//! How the command `server:upgrade` asks the lifecycle to hand over.
use super::Serving;
use tokio::sync::{mpsc, oneshot};

/// One hand-over that somebody waits for.
pub struct Order {
    /// What is told on the way.
    pub said: mpsc::Sender<String>,
    /// How it ended: who serves now, or why nothing has changed.
    pub answer: oneshot::Sender<Result<Serving, String>>,
}

const SAYINGS: usize = 16;

/// An order under way.
pub struct Asked {
    sayings: mpsc::Receiver<String>,
    answered: oneshot::Receiver<Result<Serving, String>>,
}

pub enum Heard {
    Saying(String),
    Answer(Result<Serving, String>),
}

#[derive(Debug, thiserror::Error)]
#[error("another upgrade is under way, or this server was replaced already")]
pub struct Busy;

/// The asker's side.
#[derive(Clone)]
pub struct HandOver(mpsc::Sender<Order>);

impl HandOver {
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (to, orders) = mpsc::channel(1);
        (Self(to), orders)
    }

    /// Asks; what is said on the way and the answer come over two channels.
    pub fn ask(&self) -> Result<Asked, Busy> {
        let (said, sayings) = mpsc::channel(SAYINGS);
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Order { said, answer }).map_err(|_| Busy)?;
        Ok(Asked { sayings, answered })
    }
}

impl Asked {
    /// What is said next, or how it ended.
    pub async fn next(&mut self) -> Heard {
        tokio::select! {
            biased;
            Some(text) = self.sayings.recv() => Heard::Saying(text),
            answer = &mut self.answered => Heard::Answer(answer.unwrap_or_else(|_| Err("the server stops".to_owned()))),
        }
    }
}
