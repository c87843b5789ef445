//! One pattern, matched without backtracking: a set of places in the pattern walks along the path, so
//! that no pattern, however meant, takes more than its length times the path's.

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// What any match begins with: most paths are told apart here.
    literal: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    AnyChar,
    /// `*`
    AnyInFolder,
    /// `**/`: nothing, or whole folders. [`Token::InFolders`] always follows.
    AnyFolders,
    /// Inside of the folders of a `**/`, until a slash.
    InFolders,
    /// `**` elsewhere.
    Anything,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// A class that never closes: nothing matches it.
    Nothing,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let tokens = tokens(text);
        let literal = tokens
            .iter()
            .map_while(|token| match token {
                Token::Char(c) => Some(*c),
                Token::AnyChar
                | Token::AnyInFolder
                | Token::AnyFolders
                | Token::InFolders
                | Token::Anything
                | Token::Class { .. }
                | Token::Nothing => None,
            })
            .collect();
        Self { literal, tokens }
    }

    /// Whether the pattern matches the path or a folder it lies in.
    pub(super) fn covers(&self, path: &str) -> bool {
        if !path.starts_with(&self.literal) {
            return false;
        }
        // One walk answers for the path and for every folder above it.
        let mut walk = Walk::new(self.tokens.len());
        walk.enter(0, &self.tokens);
        for c in path.chars() {
            walk.turn();
            if c == '/' && walk.arrived() {
                return true;
            }
            for index in 0..walk.before.len() {
                let at = walk.before[index];
                self.step(&mut walk, at, c);
            }
            if walk.places.is_empty() {
                return false;
            }
        }
        walk.turn();
        walk.arrived()
    }

    fn step(&self, walk: &mut Walk, at: usize, c: char) {
        let Some(token) = self.tokens.get(at) else {
            return;
        };
        let advances = match token {
            Token::Char(wanted) => *wanted == c,
            Token::AnyChar => c != '/',
            Token::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                inside != *negated && c != '/'
            }
            Token::InFolders => {
                walk.enter(at, &self.tokens);
                c == '/'
            }
            Token::AnyFolders => {
                walk.enter(at + 1, &self.tokens);
                if c == '/' {
                    walk.enter(at + 2, &self.tokens);
                }
                false
            }
            Token::AnyInFolder => {
                if c != '/' {
                    walk.enter(at, &self.tokens);
                }
                false
            }
            Token::Anything => {
                walk.enter(at, &self.tokens);
                false
            }
            Token::Nothing => false,
        };
        if advances {
            walk.enter(at + 1, &self.tokens);
        }
    }
}

/// The places in the pattern that the path so far can have led to.
struct Walk {
    places: Vec<usize>,
    before: Vec<usize>,
    /// In which turn a place was last entered, so that none is entered twice.
    entered: Vec<usize>,
    turn: usize,
    end: usize,
}

impl Walk {
    fn new(end: usize) -> Self {
        Self { places: Vec::new(), before: Vec::new(), entered: vec![0; end + 1], turn: 1, end }
    }

    fn turn(&mut self) {
        std::mem::swap(&mut self.before, &mut self.places);
        self.places.clear();
        self.turn += 1;
    }

    /// Whether the whole pattern had matched before this turn.
    fn arrived(&self) -> bool {
        self.before.contains(&self.end)
    }

    /// Enters a place, and those behind it which are reached without a character.
    fn enter(&mut self, mut at: usize, tokens: &[Token]) {
        while self.entered[at] != self.turn {
            self.entered[at] = self.turn;
            self.places.push(at);
            at += match tokens.get(at) {
                Some(Token::AnyInFolder | Token::Anything) => 1,
                Some(Token::AnyFolders) => 2,
                Some(Token::Char(_) | Token::AnyChar | Token::InFolders | Token::Class { .. } | Token::Nothing)
                | None => return,
            };
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let (token, length) = match chars[at] {
            '*' if chars.get(at + 1) == Some(&'*') => {
                if chars.get(at + 2) == Some(&'/') {
                    (Token::AnyFolders, 3)
                } else {
                    (Token::Anything, 2)
                }
            }
            '*' => (Token::AnyInFolder, 1),
            '?' => (Token::AnyChar, 1),
            '[' => class(&chars[at..]),
            '\\' => match chars.get(at + 1) {
                Some(c) => (Token::Char(*c), 2),
                None => (Token::Nothing, 1),
            },
            c => (Token::Char(c), 1),
        };
        let opens_folders = token == Token::AnyFolders;
        tokens.push(token);
        if opens_folders {
            tokens.push(Token::InFolders);
        }
        at += length;
    }
    tokens
}

/// `[a-z]` or `[^a-z]` at the start of `chars`, and how long it is.
fn class(chars: &[char]) -> (Token, usize) {
    let negated = chars.get(1) == Some(&'^');
    let mut at = if negated { 2 } else { 1 };
    let mut ranges = Vec::new();
    while let Some(c) = chars.get(at) {
        if *c == ']' && !ranges.is_empty() {
            return (Token::Class { negated, ranges }, at + 1);
        }
        let (from, after) = class_char(chars, at);
        let (to, after) = if chars.get(after) == Some(&'-') && chars.get(after + 1) != Some(&']') {
            class_char(chars, after + 1)
        } else {
            (from, after)
        };
        let (Some(from), Some(to)) = (from, to) else {
            break;
        };
        ranges.push((from, to));
        at = after;
    }
    (Token::Nothing, chars.len())
}

fn class_char(chars: &[char], at: usize) -> (Option<char>, usize) {
    match chars.get(at) {
        Some('\\') => (chars.get(at + 1).copied(), at + 2),
        Some(c) => (Some(*c), at + 1),
        None => (None, at + 1),
    }
}
