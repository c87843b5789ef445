//! A person and a program in an instance: input, output, the terminal's size and the exit code between the two.
use super::{CommandError, FAILED};
use crate::console::{Console, Output, Terminal};
use crate::domain::failure::Exit;
use crate::domain::terminal::WindowSize;
use crate::engine::{Attachment, EngineError, Written};
use crate::scheduler::{Exec, OneOff};
use futures_util::StreamExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// What a shell answers for a program that SIGKILL ended, as the kernel does when memory is short.
const KILLED: u8 = 137;

type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// A program that runs; dropped, it is ended.
pub(super) enum Program {
    OneOff(OneOff),
    Exec(Exec),
}

impl Program {
    async fn resize(&self, size: WindowSize) -> Result<(), EngineError> {
        match self {
            Self::OneOff(one_off) => one_off.resize(size).await,
            Self::Exec(exec) => exec.resize(size).await,
        }
    }

    async fn wait(&self) -> Result<Exit, EngineError> {
        match self {
            Self::OneOff(one_off) => one_off.wait().await,
            Self::Exec(exec) => exec.wait().await,
        }
    }
}

/// Carries between the two until the program has ended; `None`: the person has left before.
pub(super) async fn carry(
    console: &mut Console,
    program: &Program,
    attachment: Attachment,
    terminal: Option<Terminal>,
) -> Result<Option<Exit>, CommandError> {
    let Attachment { input, mut output } = attachment;
    let to = console.output.clone();
    let shown = async {
        while let Some(written) = output.next().await {
            let chunk = match written? {
                Written::Output(bytes) => Output::Standard(bytes),
                Written::Error(bytes) => Output::Error(bytes),
            };
            if to.send(chunk).await.is_err() {
                // Nobody reads any more: so nobody is there.
                return Ok(None);
            }
        }
        program.wait().await.map(Some).map_err(anyhow::Error::from)
    };
    let fed = async {
        // The end of a terminal's input is what is typed for it. Closed from here, the engine would close the output too.
        let has_terminal = terminal.is_some();
        let feeding = async {
            let input = feed(&mut console.input, input).await;
            has_terminal.then_some(input)
        };
        let (_kept, ()) = tokio::join!(feeding, follow_size(program, terminal));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = shown => Ok(ended?),
        () = fed => Ok(None),
        () = console.left.cancelled() => Ok(None),
    }
}

/// The exit code that the person's shell is to see.
pub(super) fn exit_code(exit: Exit) -> u8 {
    match exit {
        Exit::Status(status) => u8::try_from(status & 0xff).unwrap_or(FAILED),
        Exit::OutOfMemory | Exit::OverDisk { .. } | Exit::FilledDisk => KILLED,
    }
}

/// Passes input on until it ends, and gives the program's end back: dropped, it is the end of its input.
async fn feed(from: &mut mpsc::Receiver<bytes::Bytes>, mut to: Input) -> Input {
    while let Some(chunk) = from.recv().await {
        let written = async {
            to.write_all(&chunk).await?;
            to.flush().await
        };
        if written.await.is_err() {
            // What still comes has no reader; it must not hold up the person's side.
            while from.recv().await.is_some() {}
        }
    }
    to
}

async fn follow_size(program: &Program, terminal: Option<Terminal>) {
    let Some(mut terminal) = terminal else { return };
    loop {
        let size = *terminal.size.borrow_and_update();
        // A program that has ended meanwhile has no terminal, and needs none.
        if size != WindowSize::default() && program.resize(size).await.is_err() {
            tracing::debug!("cannot resize a terminal to {}×{}", size.columns, size.rows);
        }
        if terminal.size.changed().await.is_err() {
            return;
        }
    }
}
