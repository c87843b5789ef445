//! paas
fn main() {}
