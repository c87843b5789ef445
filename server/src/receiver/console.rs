//! Runs a command on a channel: the channel's data is its input, what it says goes back.
use super::client::{Speaker, Stream};
use super::connection::Call;
use super::limits::INPUT_STALL;
use crate::console::{Console, Output, QUEUE_CHUNKS};
use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf};
use tokio::sync::mpsc;

/// Runs a command to its end and closes the channel with its exit code.
pub(super) async fn run(call: Call, words: Vec<String>) {
    let Call { room, caller, mut client, .. } = call;
    let (input_in, input) = mpsc::channel(QUEUE_CHUNKS);
    let (output, output_out) = mpsc::channel(QUEUE_CHUNKS);
    let console = Console { input, output, is_terminal: false, left: client.left.child_token() };
    let left = console.left.clone();
    let code = {
        let command = room.neighbours.runner.run(words, caller, console);
        let work = async { tokio::join!(command, say(&client.to, output_out)).0 };
        tokio::pin!(work);
        let attend = async {
            tokio::select! {
                () = hear(&mut client.from, input_in) => {}
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

/// Passes the client's input on until the client has left. A command that reads nothing for a long time while there is
/// more counts as left: nobody could tell it that the client is gone, because that news is behind the unread input.
async fn hear(from: &mut ChannelReadHalf, input: mpsc::Sender<Bytes>) {
    let mut input = Some(input);
    loop {
        match from.wait().await {
            Some(ChannelMsg::Data { data }) => {
                let Some(open) = &input else { continue };
                match tokio::time::timeout(INPUT_STALL, open.send(data)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => input = None,
                    Err(_) => return,
                }
            }
            Some(ChannelMsg::Eof) => input = None,
            Some(ChannelMsg::Close) | None => return,
            Some(_) => {}
        }
    }
}

/// Sends what the command says until it has nothing more to say, or nobody listens.
async fn say(to: &Speaker, mut output: mpsc::Receiver<Output>) {
    while let Some(chunk) = output.recv().await {
        let heard = match chunk {
            Output::Standard(bytes) => to.say(Stream::Output, bytes).await,
            Output::Error(bytes) => to.say(Stream::Error, bytes).await,
        };
        if !heard {
            return;
        }
    }
}
