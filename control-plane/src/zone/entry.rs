//! The entries of a master file: lines that parentheses or quotes hold together, and their words.
//!
//! Invariant: a string that is quoted is one word with its quotes, and nothing in it is a comment or a parenthesis.

/// One entry of the file: a line, or several that parentheses or quotes hold together.
pub(super) struct Entry<'a> {
    pub(super) number: usize,
    pub(super) text: &'a str,
    is_open: bool,
}

impl Entry<'_> {
    /// Its words, without comments and parentheses; a string keeps its quotes.
    pub(super) fn words(&self) -> Result<Vec<String>, String> {
        if self.is_open {
            return Err("a parenthesis or a quote is not closed".to_owned());
        }
        let (mut words, mut word) = (Vec::new(), String::new());
        let (mut is_quoted, mut is_comment) = (false, false);
        let mut letters = self.text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\n' if is_comment => is_comment = false,
                _ if is_comment => {}
                '\\' => {
                    word.push(letter);
                    word.extend(letters.next());
                }
                '"' => {
                    word.push(letter);
                    is_quoted = !is_quoted;
                    if !is_quoted {
                        words.push(std::mem::take(&mut word));
                    }
                }
                _ if is_quoted => word.push(letter),
                ';' => is_comment = true,
                '(' | ')' | ' ' | '\t' | '\r' | '\n' => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                    continue;
                }
                _ => word.push(letter),
            }
            if is_comment && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        Ok(words)
    }
}

/// The entries of a file: parentheses and quotes go over lines.
pub(super) fn entries(text: &str) -> Vec<Entry<'_>> {
    let (mut all, mut first, mut depth, mut is_quoted) = (Vec::new(), 1, 0_usize, false);
    let (mut begin, mut end) = (0, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut is_escaped = false;
        for byte in line.bytes() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b';' if !is_quoted => break,
                b'(' if !is_quoted => depth += 1,
                b')' if !is_quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        end += line.len();
        if depth == 0 && !is_quoted {
            all.push(Entry { number: first, text: &text[begin..end], is_open: false });
            (first, begin) = (index + 2, end);
        }
    }
    if begin < end {
        all.push(Entry { number: first, text: &text[begin..end], is_open: true });
    }
    all
}
