//! `server:upgrade`: the server's half. Root's half ([`crate::upgrade`]) has checked the new program and put it in place;
//! here the running server makes a copy of its database and hands over.
use super::{CommandError, Context, Done, Permission};
use crate::console::Console;
use crate::generation::Heard;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Replace the running server by another version of it; requests, sessions and pushes go on
    #[command(name = "server:upgrade")]
    Upgrade {
        /// The new program: a file on the server's own machine
        #[arg(required_unless_present = "in_place")]
        file: Option<PathBuf>,
        /// The new program is where the running one was started from
        #[arg(long, hide = true)]
        in_place: bool,
    },
}

impl Verb {
    pub(super) fn permission(&self) -> Permission {
        let Self::Upgrade { .. } = self;
        Permission::Host
    }

    pub(super) async fn run(&self, context: &Context, console: &Console) -> Done {
        let Self::Upgrade { in_place, .. } = self;
        if !*in_place {
            return Err(CommandError::new("the file is put in place by root's own `paas server:upgrade FILE`"));
        }
        let mut asked = context.tools.hand_over.ask().map_err(|busy| CommandError::new(busy.to_string()))?;
        let serving = loop {
            match asked.next().await {
                Heard::Saying(text) => {
                    console.say(&text).await;
                }
                Heard::Answer(answer) => break answer.map_err(CommandError::new)?,
            }
        };
        let text = format!("version {} serves, as process {}", serving.version, serving.process);
        console.say(&text).await;
        Ok(())
    }
}
