//! The frame of a page, its tables, and the escaping of everything that is put in them.
//!
//! Invariant: text becomes markup only through `escape`.

/// Makes text harmless, in content and in attributes.
pub(in crate::output) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Nothing that a page cannot hold, or that turns the direction of what follows.
            c if c.is_control() && c != '\n' && c != '\t' => safe.push('\u{fffd}'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A whole page around `body`, which is markup. `key` is what the page was made of: only the page's own script may
/// run, and one that got in by a hole in the escaping cannot know its number.
pub(in crate::output) fn frame(title: &str, body: &str, key: &[u8]) -> String {
    let nonce = blake3::hash(key).to_hex();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'nonce-{nonce}'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\n\
         <script nonce=\"{nonce}\">\n{SCRIPT}</script>\n</body>\n</html>\n",
        escape(title)
    )
}

/// A part of the page with a heading and a line on how to read it. `body` is markup.
pub(in crate::output) fn section(id: &str, title: &str, words: &str, body: &str) -> String {
    let words = if words.is_empty() {
        String::new()
    } else {
        format!("<p class=\"words\">{}</p>", escape(words))
    };
    format!("<section id=\"{id}\">\n<h2>{}</h2>\n{words}\n{body}\n</section>\n", escape(title))
}

/// A table that scrolls by itself where the page is narrow.
pub(in crate::output) struct Table {
    head: String,
    rows: String,
    aligns: Vec<Align>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::output) enum Align {
    Text,
    Number,
}

/// What stands in a cell.
#[derive(Debug, Clone)]
pub(in crate::output) enum Cell {
    Text(String),
    /// Already markup.
    Markup(String),
}

impl Table {
    pub(in crate::output) fn new(columns: &[(&str, Align)]) -> Self {
        let head = columns
            .iter()
            .map(|(name, align)| {
                format!("<th scope=\"col\"{}>{}</th>", align.class(), escape(name))
            })
            .collect();
        Self {
            head,
            rows: String::new(),
            aligns: columns.iter().map(|(_, align)| *align).collect(),
        }
    }

    pub(in crate::output) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push_str("<tr>");
        for (cell, align) in cells.into_iter().zip(&self.aligns) {
            let markup = match cell {
                Cell::Text(text) => escape(&text),
                Cell::Markup(markup) => markup,
            };
            self.rows.push_str(&format!("<td{}>{markup}</td>", align.class()));
        }
        self.rows.push_str("</tr>\n");
    }

    pub(in crate::output) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(in crate::output) fn markup(&self) -> String {
        let class = if self.aligns.len() < WIDE { "scroll small" } else { "scroll" };
        format!(
            "<div class=\"{class}\" tabindex=\"0\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>",
            self.head, self.rows
        )
    }
}

impl Align {
    fn class(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Number => " class=\"number\"",
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Tables of fewer columns are not stretched over the page.
const WIDE: usize = 6;
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("<b a='1' b=\"2\">&"), "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;");
        assert_eq!(escape("a\u{1b}[2J\u{202e}b\u{0}"), "a\u{fffd}[2J\u{fffd}b\u{fffd}");
        let mut table = Table::new(&[("<th>", Align::Text), ("n", Align::Number)]);
        table.row([Cell::from("<td>"), Cell::Markup("<b>1</b>".to_owned())]);
        let markup = table.markup();
        assert!(markup.contains("&lt;th&gt;") && markup.contains("&lt;td&gt;"), "{markup}");
        assert!(markup.contains("<td class=\"number\"><b>1</b></td>"), "{markup}");
    }

    #[test]
    fn a_page_loads_nothing_and_only_its_own_script_runs() {
        let page = frame("<title>", "<p>x</p>", b"key");
        assert!(page.contains("default-src 'none'") && page.contains("<title>&lt;title&gt;"));
        assert_eq!(page.matches("<script").count(), 1);
        for outside in ["http:", "https:", "url(", "@import", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
