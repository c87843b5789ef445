//! Runs a command on a channel: the channel's data is its input, what it says goes back.
use super::backlog::Backlog;
use super::client::{Speaker, Stream};
use super::connection::Call;
use crate::console::{Console, Output, QUEUE_CHUNKS, with_returns};
use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::mpsc;

/// What is typed on a terminal to end a program, and to end its input.
const INTERRUPT: u8 = 0x03;
const QUIT: u8 = 0x1c;
const END_OF_INPUT: u8 = 0x04;

/// Runs a command to its end and closes the channel with its exit code.
pub(super) async fn run(call: Call, words: Vec<String>) {
    let Call { room, caller, terminal, backlog, mut client, .. } = call;
    let (input_in, input) = mpsc::channel(QUEUE_CHUNKS);
    let (output, output_out) = mpsc::channel(QUEUE_CHUNKS);
    let screen = Screen::new(terminal.is_some());
    let left = client.left.child_token();
    let is_terminal = terminal.is_some();
    let console = Console { input, output, is_terminal, left: left.clone(), terminal, exit_code: 0 };
    let code = {
        let command = room.neighbours.runner.run(words, caller, console);
        let work = async { tokio::join!(command, say(&client.to, output_out, &screen)).0 };
        tokio::pin!(work);
        let attend = async {
            tokio::select! {
                () = hear(&mut client.from, input_in, &screen, &backlog) => {}
                () = room.stop.cancelled() => {}
                () = left.cancelled() => {}
            }
        };
        tokio::select! {
            code = &mut work => code,
            () = attend => {
                left.cancel();
                work.await
            }
        }
    };
    client.finish(code).await;
}

/// How the client shows what it is sent.
enum Screen {
    /// As it comes: a file, a pipe, or a terminal that the client's system looks after.
    Plain,
    /// A client that was given a terminal shows everything as it is and sends every key, until a program takes the
    /// terminal and does what a terminal does. Until then we do.
    Raw { is_taken: AtomicBool },
}

impl Screen {
    fn new(has_terminal: bool) -> Self {
        if has_terminal { Self::Raw { is_taken: AtomicBool::new(false) } } else { Self::Plain }
    }

    /// Whether what is typed means what it means on a terminal, and lines need their returns.
    fn is_ours(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Raw { is_taken } => !is_taken.load(Relaxed),
        }
    }
}

/// Passes the client's input on until the client has left. What the command has not read yet waits in `backlog`: the
/// connection reads on, because news of the client's leaving, and its word that it can take more output, come behind.
async fn hear(from: &mut ChannelReadHalf, input: mpsc::Sender<Bytes>, screen: &Screen, backlog: &Backlog) {
    let (mut waiting, mut input) = (Waiting { chunks: VecDeque::new(), backlog }, Some(input));
    let mut has_ended = false;
    loop {
        if has_ended && waiting.chunks.is_empty() {
            input = None;
        }
        let is_read = tokio::select! {
            heard = from.wait() => match heard {
                Some(ChannelMsg::Data { data }) => {
                    if screen.is_ours() && data.iter().any(|key| matches!(*key, INTERRUPT | QUIT)) {
                        return;
                    }
                    has_ended |= screen.is_ours() && data.contains(&END_OF_INPUT);
                    if !has_ended && input.is_some() {
                        waiting.push(data);
                    }
                    true
                }
                Some(ChannelMsg::Eof) => {
                    has_ended = true;
                    true
                }
                Some(ChannelMsg::Close) | None => return,
                Some(_) => true,
            },
            is_read = pass(input.as_ref(), &mut waiting) => is_read,
        };
        if !is_read {
            input = None;
            waiting.clear();
        }
    }
}

/// Hands the next chunk to the command; `false`: it reads no more.
async fn pass(input: Option<&mpsc::Sender<Bytes>>, waiting: &mut Waiting<'_>) -> bool {
    let Some(open) = input.filter(|_| !waiting.chunks.is_empty()) else { return std::future::pending().await };
    let Ok(place) = open.reserve().await else { return false };
    if let Some(chunk) = waiting.pop() {
        place.send(chunk);
    }
    true
}

/// Input of one channel that its command has not read yet, counted in the connection's backlog.
struct Waiting<'a> {
    chunks: VecDeque<Bytes>,
    backlog: &'a Backlog,
}

impl Waiting<'_> {
    fn push(&mut self, chunk: Bytes) {
        self.backlog.add(chunk.len());
        self.chunks.push_back(chunk);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.backlog.take(chunk.len());
        Some(chunk)
    }

    fn clear(&mut self) {
        while self.pop().is_some() {}
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Sends what the command says until it has nothing more to say, or nobody listens.
async fn say(to: &Speaker, mut output: mpsc::Receiver<Output>, screen: &Screen) {
    while let Some(chunk) = output.recv().await {
        let heard = match (chunk, screen) {
            (Output::TerminalTaken, Screen::Plain) => true,
            (Output::TerminalTaken, Screen::Raw { is_taken }) => {
                is_taken.store(true, Relaxed);
                true
            }
            (Output::Standard(bytes), _) if screen.is_ours() => to.say(Stream::Output, with_returns(&bytes)).await,
            (Output::Standard(bytes), _) => to.say(Stream::Output, bytes).await,
            // Only we say anything there, as a program with a terminal has one output.
            (Output::Error(bytes), Screen::Raw { .. }) => to.say(Stream::Error, with_returns(&bytes)).await,
            (Output::Error(bytes), Screen::Plain) => to.say(Stream::Error, bytes).await,
        };
        if !heard {
            return;
        }
    }
}
