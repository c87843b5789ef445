//! Plain text tables, and JSON, for commands that list.
use super::{CommandError, Done};
use crate::console::Console;
use serde::Serialize;

pub(super) use crate::domain::moment::ago;

/// Prints rows in aligned columns under `heads`; nothing but `empty` when there are none.
pub(super) async fn print(console: &Console, heads: &[&str], rows: &[Vec<String>], empty: &str) {
    if rows.is_empty() {
        console.say(empty).await;
        return;
    }
    let mut all: Vec<Vec<String>> = vec![heads.iter().map(ToString::to_string).collect()];
    all.extend(rows.iter().cloned());
    let width =
        |column: usize| all.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    for row in &all {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        console.say(cells.join("  ").trim_end()).await;
    }
}

pub(super) async fn print_json(console: &Console, value: &impl Serialize) -> Done {
    let text = serde_json::to_string_pretty(value).map_err(|error| CommandError::new(error.to_string()))?;
    console.say(&text).await;
    Ok(())
}
