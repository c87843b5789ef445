//! Bytes that somebody's program wrote, as lines of bounded length: for instance logs and build output alike.

/// R16: longer lines are split.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;

/// One line's bytes as text: line end and trailing CR cut, invalid UTF-8 replaced.
pub(super) fn text_of(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line).into_owned()
}

/// Cuts a stream of chunks into lines. Progress bars that redraw with CR leave only what stands after the last one.
#[derive(Default)]
pub(super) struct LineSplitter {
    /// What has come since the last line end; at most [`LINE_BYTES_MAX`].
    rest: Vec<u8>,
}

impl LineSplitter {
    pub(super) fn push(&mut self, chunk: &[u8], mut emit: impl FnMut(String)) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let Some(body) = piece.strip_suffix(b"\n") else {
                self.append(piece, &mut emit);
                continue;
            };
            self.append(body, &mut emit);
            emit(self.take());
        }
    }

    /// What was written without a line end before the stream ended.
    pub(super) fn finish(&mut self) -> Option<String> {
        if self.rest.is_empty() { None } else { Some(self.take()) }
    }

    fn append(&mut self, bytes: &[u8], emit: &mut impl FnMut(String)) {
        for &byte in bytes {
            // A CR at the very end may belong to a CRLF, so redrawing only counts once something follows it.
            if self.rest.last() == Some(&b'\r') && byte != b'\r' {
                self.rest.clear();
            }
            if self.rest.len() == LINE_BYTES_MAX {
                emit(self.take());
            }
            self.rest.push(byte);
        }
    }

    fn take(&mut self) -> String {
        while self.rest.last() == Some(&b'\r') {
            self.rest.pop();
        }
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn lines_are_joined_across_chunks_and_the_last_needs_no_end() {
        assert_eq!(split(&[b"one\ntw", b"o\n", b"\nthr", b"ee"]), ["one", "two", "", "three"]);
    }

    #[test]
    fn crlf_ends_a_line_even_across_chunks() {
        assert_eq!(split(&[b"one\r\ntwo\r", b"\nthree\r\n"]), ["one", "two", "three"]);
    }

    #[test]
    fn a_redrawn_progress_bar_leaves_its_last_state() {
        assert_eq!(split(&[b" 1%\r 50%", b"\r100%\r\ndone\n"]), ["100%", "done"]);
    }

    #[test]
    fn a_line_without_end_is_split_at_the_limit() {
        let long = vec![b'x'; LINE_BYTES_MAX * 2 + 5];
        let lengths: Vec<usize> = split(&[&long]).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, LINE_BYTES_MAX, 5]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_stays_whole() {
        let mut line = vec![b'x'; LINE_BYTES_MAX];
        line.push(b'\n');
        assert_eq!(split(&[&line]).len(), 1);
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(split(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
        assert_eq!(text_of(b"\xc3\x28\r\n"), "\u{fffd}(");
    }
}
