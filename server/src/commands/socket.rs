//! The local socket: `paas` on the host (`client`) talks to the server; the file's permission is the authority.
//!
//! Newline-delimited JSON both ways: the client sends one [`Request`], then [`Input`] chunks; the server answers with
//! [`Answer`]s, the last of which is the exit code.
use super::Commands;
use crate::console::{Console, Output, QUEUE_CHUNKS, Terminal};
use crate::domain::Pusher;
use crate::domain::terminal::WindowSize;
use crate::files::listen_alone;
use crate::generation::Duty;
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Name of the socket in the run folder.
pub const SOCKET: &str = "paas.sock";
/// A frame holds one chunk, encoded; a command line is far shorter.
const FRAME_BYTES_MAX: usize = 256 << 10;

const LATECOMERS: Duration = Duration::from_millis(500);
/// How often a client that sends more than its command reads is looked at: has it gone?
const HANG_UP_LOOK: Duration = Duration::from_millis(200);

#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) words: Vec<String>,
    pub(super) terminal: bool,
    /// A terminal that a program may take.
    #[serde(default)]
    pub(super) window: Option<Window>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) name: String,
    pub(super) columns: u16,
    pub(super) rows: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Input {
    /// Base64.
    Chunk(String),
    End,
    /// The terminal has another size.
    Size {
        columns: u16,
        rows: u16,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Base64.
    Standard(String),
    /// Base64.
    Error(String),
    /// A program has taken the terminal.
    TerminalTaken,
    Exit(u8),
}

pub(super) type Reader = FramedRead<OwnedReadHalf, LinesCodec>;
pub(super) type Writer = FramedWrite<OwnedWriteHalf, LinesCodec>;

/// Listens until `stop`, or for a little while after another server took over. The socket of an earlier server is replaced
/// without a gap; the data folder's lock keeps a second one away. Gives the conversations, to be waited for.
pub fn serve(
    run_dir: &Path,
    commands: Commands,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> anyhow::Result<TaskTracker> {
    let listener = open(run_dir)?;
    let (conversations, all) = (TaskTracker::new(), tracker.clone());
    let begun = conversations.clone();
    let duty = commands.0.duty.clone();
    tracker.spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                () = closing(&duty) => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (commands, stop) = (commands.clone(), stop.clone());
            all.spawn(begun.track_future(async move {
                if let Err(error) = converse(stream, &commands, &stop).await {
                    tracing::debug!("a local command broke off: {error:#}");
                }
            }));
        }
    });
    Ok(conversations)
}

fn open(run_dir: &Path) -> anyhow::Result<UnixListener> {
    let (path, new) = (run_dir.join(SOCKET), run_dir.join("paas.sock.new"));
    let listener = listen_alone(&new)?;
    std::fs::rename(&new, &path).with_context(|| format!("replace {}", path.display()))?;
    Ok(listener)
}

/// Who connected before the successor had its socket in place is still taken in.
async fn closing(duty: &Duty) {
    duty.until_relieved().await;
    tokio::time::sleep(LATECOMERS).await;
}

async fn converse(stream: UnixStream, commands: &Commands, stop: &CancellationToken) -> anyhow::Result<()> {
    let caller = Pusher::Host { uid: stream.peer_cred()?.uid() };
    let (mut reader, mut writer) = framed(stream);
    let request: Request = read(&mut reader).await?.context("read a command line")?;
    let (to_input, input) = mpsc::channel(QUEUE_CHUNKS);
    let (output, mut from_output) = mpsc::channel(QUEUE_CHUNKS);
    let left = stop.child_token();
    let (terminal, size) = request.window.as_ref().and_then(terminal_of).unzip();
    let console = Console { input, output, is_terminal: request.terminal, left: left.clone(), terminal, exit_code: 0 };
    let running = commands.run(request.words, caller, console);
    let listening = async {
        let mut to_input = Some(to_input);
        while let Ok(Some(frame)) = read::<Input>(&mut reader).await {
            match (frame, &to_input) {
                (Input::Chunk(text), Some(to)) => {
                    let Ok(bytes) = BASE64.decode(text) else { break };
                    tokio::select! {
                        // A command that reads no input drops its end.
                        _ = to.send(Bytes::from(bytes)) => {}
                        // News of this stand behind input that nobody reads.
                        () = hung_up(reader.get_ref()) => break,
                    }
                }
                (Input::Chunk(_), None) => {}
                (Input::End, _) => to_input = None,
                (Input::Size { columns, rows }, _) => {
                    size.as_ref().map(|size| size.send_replace(WindowSize { columns, rows }));
                }
            }
        }
        left.cancel();
        std::future::pending::<()>().await;
    };
    // Owns the receiver: when the client is gone, what the command still says fails at once instead of waiting.
    let speaking = async move {
        while let Some(chunk) = from_output.recv().await {
            let answer = match chunk {
                Output::Standard(bytes) => Answer::Standard(BASE64.encode(bytes)),
                Output::Error(bytes) => Answer::Error(BASE64.encode(bytes)),
                Output::TerminalTaken => Answer::TerminalTaken,
            };
            write(&mut writer, &answer).await?;
        }
        anyhow::Ok(writer)
    };
    let both = async { tokio::join!(running, speaking) };
    let (code, mut writer) = tokio::select! {
        (code, spoken) = both => (code, spoken?),
        () = listening => return Ok(()),
    };
    write(&mut writer, &Answer::Exit(code)).await
}

/// Returns once the client has closed its end, whatever of it is still to be read.
async fn hung_up(socket: &OwnedReadHalf) {
    while socket.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed()) {
        // Input that waits makes it ready again at once.
        tokio::time::sleep(HANG_UP_LOOK).await;
    }
}

fn terminal_of(window: &Window) -> Option<(Terminal, watch::Sender<WindowSize>)> {
    let (to, size) = watch::channel(WindowSize { columns: window.columns, rows: window.rows });
    Some((Terminal { name: window.name.parse().ok()?, size }, to))
}

pub(super) fn framed(stream: UnixStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    let codec = || LinesCodec::new_with_max_length(FRAME_BYTES_MAX);
    (FramedRead::new(reader, codec()), FramedWrite::new(writer, codec()))
}

pub(super) async fn read<T: for<'a> Deserialize<'a>>(reader: &mut Reader) -> anyhow::Result<Option<T>> {
    match reader.next().await {
        Some(line) => Ok(Some(serde_json::from_str(&line?)?)),
        None => Ok(None),
    }
}

pub(super) async fn write(writer: &mut Writer, frame: &impl Serialize) -> anyhow::Result<()> {
    Ok(writer.send(serde_json::to_string(frame)?).await?)
}
