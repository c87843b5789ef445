//! A line of a build or an app as HTML: colours become classes of ours, everything else that could do more than show
//! itself becomes visible (security rule R10).
use crate::logs::is_unsafe;
use std::fmt::Write;

/// How the text that follows is set. Anything else that a sequence asks for is left out.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a terminal sets each of them by itself")]
struct Style {
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    /// 0 to 7, as terminals number them.
    colour: Option<u8>,
}

/// Escaped for HTML, in one line.
pub(super) fn html(line: &str) -> String {
    let mut writer = Writer { out: String::with_capacity(line.len() + 16), style: Style::default(), open: false };
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some((parameters, after)) = colour_sequence(rest) {
            writer.style = writer.style.changed(parameters);
            writer.close();
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        writer.push(c);
    }
    writer.close();
    writer.out
}

/// The parameters of `ESC [ … m` at the start of `text`, and what follows it.
fn colour_sequence(text: &str) -> Option<(&str, &str)> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'))?;
    Some((&parameters[..end], parameters[end..].strip_prefix('m')?))
}

impl Style {
    fn changed(mut self, parameters: &str) -> Self {
        let mut codes = parameters.split([';', ':']).map(|code| code.parse::<u16>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                30..=37 => self.colour = u8::try_from(code - 30).ok(),
                90..=97 => self.colour = u8::try_from(code - 90).ok(),
                39 => self.colour = None,
                // A colour out of 256 or of three numbers: its parameters are no codes. We have eight.
                38 | 48 => match codes.next() {
                    Some(5) => drop(codes.next()),
                    Some(2) => drop(codes.nth(2)),
                    Some(_) | None => {}
                },
                _unknown => {}
            }
        }
        self
    }

    fn classes(self) -> String {
        let named = [(self.bold, "b"), (self.dim, "d"), (self.italic, "i"), (self.underline, "u")];
        let mut classes: Vec<String> =
            named.into_iter().filter(|(is_set, _)| *is_set).map(|(_, c)| c.to_owned()).collect();
        classes.extend(self.colour.map(|colour| format!("f{colour}")));
        classes.join(" ")
    }
}

struct Writer {
    out: String,
    style: Style,
    /// Whether a span is open.
    open: bool,
}

impl Writer {
    fn push(&mut self, c: char) {
        if !self.open && self.style != Style::default() {
            // Writing to a String cannot fail, here and below.
            let _ = write!(self.out, "<span class=\"{}\">", self.style.classes());
            self.open = true;
        }
        match c {
            '<' => self.out.push_str("&lt;"),
            '>' => self.out.push_str("&gt;"),
            '&' => self.out.push_str("&amp;"),
            '"' => self.out.push_str("&quot;"),
            '\'' => self.out.push_str("&#39;"),
            c if is_unsafe(c) => {
                let _ = write!(self.out, "<span class=\"wild\">{}</span>", c.escape_unicode());
            }
            c => self.out.push(c),
        }
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.out.push_str("</span>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::html;

    #[test]
    fn colours_become_classes_and_nothing_else_gets_through() {
        assert_eq!(html("\u{1b}[1;31mred\u{1b}[0m plain"), "<span class=\"b f1\">red</span> plain");
        assert_eq!(html("\u{1b}[38;5;196mx\u{1b}[38;2;1;2;31my\u{1b}[32mz"), "xy<span class=\"f2\">z</span>");
        assert_eq!(html("\u{1b}[31m"), "");
        assert_eq!(html("<b onclick='x'>&\""), "&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!(html("a\u{1b}]0;t\u{7}"), r#"a<span class="wild">\u{1b}</span>]0;t<span class="wild">\u{7}</span>"#);
        assert_eq!(html("x\u{202e}y\r"), r#"x<span class="wild">\u{202e}</span>y<span class="wild">\u{d}</span>"#);
        assert_eq!(html("\u{1b}[1\"><script>m"), r#"<span class="wild">\u{1b}</span>[1&quot;&gt;&lt;script&gt;m"#);
    }

    #[test]
    fn spans_are_closed_whatever_comes() {
        for line in ["\u{1b}[1ma\u{1b}[4mb", "\u{1b}[31m\u{1b}[32mx", "\u{1b}[;;;m\u{1b}[99999999999mx"] {
            let html = html(line);
            assert_eq!(html.matches("<span").count(), html.matches("</span>").count(), "{html}");
        }
    }
}
