//! What the proxy and an instance speak with each other.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 in the clear from the first byte ("prior knowledge"), which gRPC wants.
    H2c,
}

impl Protocol {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http1" => Ok(Self::Http1),
            "h2c" => Ok(Self::H2c),
            _ => {
                let shown: String = text.chars().take(100).collect();
                Err(format!("`{shown}` is no protocol of instances; write http1, or h2c for gRPC"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_reads_as_it_is_written() {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert_eq!(serde_json::to_string(&Protocol::H2c).unwrap(), "\"h2c\"");
        for bad in ["", "http2", "H2C", "grpc"] {
            assert!(bad.parse::<Protocol>().is_err(), "{bad:?}");
        }
    }
}
