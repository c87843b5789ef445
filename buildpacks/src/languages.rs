//! The languages, each a file (or folder) with its table beside it. The list that orders them is in `language.rs`.

pub(crate) mod classic;
pub(crate) mod deno;
pub(crate) mod dockerfile;
pub(crate) mod dotnet;
pub(crate) mod elixir;
pub(crate) mod go;
pub(crate) mod java;
pub(crate) mod node;
pub(crate) mod php;
pub(crate) mod python;
pub(crate) mod ruby;
pub(crate) mod rust;
pub(crate) mod shell;
pub(crate) mod static_site;
