//! Reads the tables beside it: one case a line, its bytes written so that one can see them (requests.txt says how).

/// A line of a table: its cells, the last of them as bytes.
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) name: &'static str,
    pub(super) cells: Vec<&'static str>,
    pub(super) bytes: Vec<u8>,
}

/// The rows of a table whose lines have `count` cells before the bytes.
pub(super) fn rows(table: &'static str, count: usize, host: &str) -> Vec<Row> {
    let lines = table.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| {
            let mut cells: Vec<&str> = line.splitn(count + 1, " | ").collect();
            let (bytes, line) = (cells.pop().unwrap_or_default(), at + 1);
            assert_eq!(cells.len(), count, "line {line} has too few cells");
            Row { line, name: cells.remove(0), cells, bytes: unescape(&repeat(bytes, host)) }
        })
        .collect()
}

/// `{TEXT*N}` is TEXT, N times; TEXT holds no `*`, and `{H}` is the app's host.
fn repeat(text: &str, host: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(open) = rest.find('{') {
        let repeated = rest[open + 1..].split_once('}').and_then(|(inner, behind)| {
            if inner == "H" {
                return Some((host.to_owned(), behind));
            }
            let (text, count) = inner.rsplit_once('*')?;
            Some((text.repeat(count.parse().ok()?), behind))
        });
        out.push_str(&rest[..open]);
        match repeated {
            Some((text, behind)) => {
                out.push_str(&text);
                rest = behind;
            }
            None => {
                out.push('{');
                rest = &rest[open + 1..];
            }
        }
    }
    out + rest
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.chars());
    while let Some(character) = rest.next() {
        match character {
            '↵' => out.extend(b"\r\n"),
            '\\' => match rest.next().expect("something stands behind a backslash") {
                'r' => out.push(b'\r'),
                'n' => out.push(b'\n'),
                't' => out.push(b'\t'),
                '0' => out.push(0),
                'x' => {
                    let digits: String = rest.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&digits, 16).expect("two digits stand behind \\x"));
                }
                itself => out.extend(itself.to_string().as_bytes()),
            },
            itself => out.extend(itself.to_string().as_bytes()),
        }
    }
    out
}

#[test]
fn bytes_are_written_so_that_one_can_see_them() {
    let bytes = unescape(&repeat("a{bc*3}d↵\\x41\\0{H}{no}", "h.example"));
    assert_eq!(bytes, b"abcbcbcd\r\nA\0h.example{no}");
}
