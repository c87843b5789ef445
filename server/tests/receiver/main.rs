//! The receiver with the real git and ssh clients, a real store and a builder that does as it is told.
mod access;
mod commands;
mod lives;
mod pushes;
mod refusals;
mod town;
