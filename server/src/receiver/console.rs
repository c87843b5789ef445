//! Runs a command on a channel: the channel's data is its input, what it says goes back.
use super::connection::Call;
use super::limits::INPUT_STALL;
use crate::console::{Console, Output, QUEUE_CHUNKS};
use bytes::Bytes;
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// SSH's number for standard error (RFC 4254, section 5.2).
pub(super) const STANDARD_ERROR: u32 = 1;

/// Runs a command to its end and closes the channel with its exit code.
pub(super) async fn run(call: Call, words: Vec<String>) {
    let (mut read, write) = call.channel.split();
    let (input_in, input) = mpsc::channel(QUEUE_CHUNKS);
    let (output, output_out) = mpsc::channel(QUEUE_CHUNKS);
    let left = call.left.child_token();
    let console = Console { input, output, is_terminal: false, left: left.clone() };
    let command = call.room.neighbours.runner.run(words, call.caller, console);
    let stopped = call.room.stop.clone();
    let code = {
        let work = async { tokio::join!(command, say(&write, output_out, &left)).0 };
        tokio::pin!(work);
        let attend = async {
            tokio::select! {
                () = hear(&mut read, input_in) => {}
                () = stopped.cancelled() => {}
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
    finish(&write, code, &call.left).await;
}

/// Says one text on standard error and closes the channel.
pub(super) async fn refuse(call: Call, text: String, code: u8) {
    let (_read, write) = call.channel.split();
    call.left.run_until_cancelled(write.extended_data_bytes(STANDARD_ERROR, text)).await;
    finish(&write, code, &call.left).await;
}

/// Gives the exit code and closes the channel.
pub(super) async fn finish(write: &ChannelWriteHalf<Msg>, code: u8, left: &CancellationToken) {
    let parting = async {
        let _ = write.exit_status(u32::from(code)).await;
        let _ = write.eof().await;
        let _ = write.close().await;
    };
    left.run_until_cancelled(parting).await;
    left.cancel();
}

/// Passes the client's input on until the client has left. A command that reads nothing for a long time while there is
/// more counts as left: nobody could tell it that the client is gone, because that news is behind the unread input.
async fn hear(read: &mut ChannelReadHalf, input: mpsc::Sender<Bytes>) {
    let mut input = Some(input);
    loop {
        match read.wait().await {
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

/// Sends what the command says, as fast as the client takes it.
async fn say(write: &ChannelWriteHalf<Msg>, mut output: mpsc::Receiver<Output>, left: &CancellationToken) {
    while let Some(chunk) = output.recv().await {
        let sending = async {
            match chunk {
                Output::Standard(bytes) => write.data_bytes(bytes).await,
                Output::Error(bytes) => write.extended_data_bytes(STANDARD_ERROR, bytes).await,
            }
        };
        match left.run_until_cancelled(sending).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}
