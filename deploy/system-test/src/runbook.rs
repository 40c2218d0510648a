//! Pages for operators, read as what is done and what is seen.
//!
//! Pure. A block of `sh` is done as it stands; the `text` behind it is what its output holds, line for line in that order, and `…`
//! is anything. What is in no such block is for people.

/// One block of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The headline that it stands under.
    pub section: String,
    /// The commands.
    pub commands: String,
    /// What is seen, a line each.
    pub seen: Vec<String>,
}

/// The steps of a page, in order.
///
/// # Panics
/// A block of output stands behind no commands, or a block does not end.
#[must_use]
pub fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut section): (Vec<Step>, _) = (Vec::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        let Some(kind) = line.strip_prefix("```") else { continue };
        let mut block = Vec::new();
        loop {
            match lines.next().expect("a block ends") {
                "```" => break,
                line => block.push(line.to_owned()),
            }
        }
        match kind {
            "sh" => {
                let commands = block.join("\n");
                steps.push(Step { section: section.clone(), commands, seen: Vec::new() });
            }
            "text" => {
                let last = steps.last_mut().filter(|step| step.seen.is_empty());
                last.expect("what is seen stands behind what is done").seen = block;
            }
            _ => {}
        }
    }
    steps
}

impl Step {
    /// The first line that should be seen in an output and is not.
    #[must_use]
    pub fn missing(&self, output: &str) -> Option<&str> {
        let mut lines = output.lines();
        self.seen.iter().find(|seen| !lines.any(|line| holds(line, seen))).map(String::as_str)
    }
}

/// Whether a line holds a text; runs of blanks are alike, and `…` is anything.
fn holds(line: &str, text: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = plain(line);
    let mut rest = line.as_str();
    for part in text.split('…') {
        match rest.split_once(&plain(part)) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\n## One\n\nWords.\n\n```sh\na\nb\n```\n\n```text\nx  … z\nlast\n```\n\n\
                        ```toml\nkey = 1\n```\n\n## Two\n\n```sh\nc\n```\n";

    #[test]
    fn a_page_is_what_is_done_and_what_is_seen() {
        let steps = steps(PAGE);
        let of = |n: usize| (steps[n].section.as_str(), steps[n].commands.as_str());
        assert_eq!((of(0), of(1)), (("One", "a\nb"), ("Two", "c")));
        assert_eq!(steps[0].seen, ["x  … z", "last"]);
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn what_is_not_seen_or_in_another_order_is_missing() {
        let step = &steps(PAGE)[0];
        for (output, missing) in [
            ("noise\na x y  z b\nlast one", None),
            ("x z\nlast", None),
            ("x y\nlast", Some("x  … z")),
            ("last\nx y z", Some("last")),
            ("x y z last", Some("last")),
            ("", Some("x  … z")),
        ] {
            assert_eq!(step.missing(output), missing, "{output:?}");
        }
        assert_eq!(steps(PAGE)[1].missing(""), None);
    }

    #[test]
    #[should_panic(expected = "behind what is done")]
    fn an_output_of_nothing_is_an_error_of_the_page() {
        let _ = steps("```text\nx\n```\n");
    }
}
