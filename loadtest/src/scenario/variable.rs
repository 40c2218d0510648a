//! Variables in scenarios: `${name}`, `${name:-what it is otherwise}`, and `$$` for a dollar sign.
//!
//! They are put into the values of the document that was read, never into its text: a value cannot become a key. An
//! element of an array that is one variable and nothing else becomes as many elements as it has words, so that one
//! variable holds a command or several URLs; quotes keep words together.
//!
//! Invariant: a variable without a value and without a default is an error that names it.

use std::collections::BTreeMap;

use toml::Value;

/// The values of variables.
#[derive(Debug, Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Takes `name=value`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("{text:?} is not name=value"))?;
        if !is_name(name) {
            return Err(format!("{name:?} is no name of a variable: a-z, 0-9 and _"));
        }
        self.set(name, value);
        Ok(())
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Takes `TIDEGATE_LOAD_VAR_NAME` as `name`, for those that have no value yet.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (key, value) in variables {
            if let Some(name) = key.strip_prefix(ENVIRONMENT_PREFIX) {
                self.0.entry(name.to_ascii_lowercase()).or_insert(value);
            }
        }
    }

    /// Puts the values in.
    ///
    /// # Errors
    /// What is wrong with the first variable that has no value.
    pub(super) fn put_into(&self, value: &mut Value) -> Result<(), String> {
        match value {
            Value::String(text) => {
                let expanded = self.expand(text)?;
                *value =
                    if is_one_variable(text) { scalar(expanded) } else { Value::String(expanded) };
            }
            Value::Array(items) => {
                let mut all = Vec::with_capacity(items.len());
                for mut item in std::mem::take(items) {
                    match item.as_str() {
                        Some(text) if is_one_variable(text) => {
                            all.extend(words(&self.expand(text)?)?.into_iter().map(Value::String));
                        }
                        _ => {
                            self.put_into(&mut item)?;
                            all.push(item);
                        }
                    }
                }
                *items = all;
            }
            Value::Table(table) => {
                for (_, item) in table.iter_mut() {
                    self.put_into(item)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                expanded.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let (inside, after) = after
                    .split_once('}')
                    .ok_or_else(|| format!("{text:?} has no }} to its ${{"))?;
                expanded.push_str(self.value(inside)?);
                rest = after;
            } else {
                return Err(format!(
                    "{text:?} has a $ that begins no variable; $$ is a dollar sign"
                ));
            }
            if expanded.len() > TEXT_MAX {
                return Err(format!("{text:?} becomes longer than {TEXT_MAX} bytes"));
            }
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn value<'a>(&'a self, inside: &'a str) -> Result<&'a str, String> {
        let (name, otherwise) = match inside.split_once(":-") {
            Some((name, otherwise)) => (name, Some(otherwise)),
            None => (inside, None),
        };
        if !is_name(name) {
            return Err(format!("{name:?} is no name of a variable: a-z, 0-9 and _"));
        }
        self.0.get(name).map(String::as_str).or(otherwise).ok_or_else(|| {
            format!(
                "variable {name} has no value: --var {name}=VALUE or {ENVIRONMENT_PREFIX}{}",
                name.to_ascii_uppercase()
            )
        })
    }
}

/// The names of the variables of a text, and what they are otherwise.
pub(super) fn named_in(text: &str) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for inside in text.split("${").skip(1).filter_map(|rest| rest.split_once('}')) {
        let (name, otherwise) = match inside.0.split_once(":-") {
            Some((name, otherwise)) => (name, Some(otherwise.to_owned())),
            None => (inside.0, None),
        };
        if is_name(name) && found.iter().all(|(known, _)| known != name) {
            found.push((name.to_owned(), otherwise));
        }
    }
    found
}

/// Splits a text into words as a shell does, with quotes but without anything else of a shell.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("{open} is not closed"));
    }
    words.extend(word);
    Ok(words)
}

fn is_one_variable(text: &str) -> bool {
    text.starts_with("${") && text.find('}') == Some(text.len() - 1)
}

/// A number or a truth where it is one.
fn scalar(text: String) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return Value::Integer(whole);
    }
    match (text.parse::<f64>(), text.as_str()) {
        (Ok(number), _) if number.is_finite() => Value::Float(number),
        (_, "true") => Value::Boolean(true),
        (_, "false") => Value::Boolean(false),
        _ => Value::String(text),
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(is_plain)
}

const ENVIRONMENT_PREFIX: &str = "TIDEGATE_LOAD_VAR_";
const NAME_MAX: usize = 64;
/// A value is a command or some URLs.
const TEXT_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let mut all = Variables::default();
        variables.iter().for_each(|(name, value)| all.set(name, value));
        let mut value: Value = Value::Table(text.parse().unwrap());
        all.put_into(&mut value)?;
        Ok(toml::to_string(&value).unwrap().trim().to_owned())
    }

    #[test]
    fn variables_become_values() {
        type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);
        let table: &[Row] = &[
            ("a = 'x${b}y'", &[("b", "1")], "a = \"x1y\""),
            ("a = '${b:-2.5}'", &[], "a = 2.5"),
            ("a = '${b:-}'", &[], "a = \"\""),
            ("a = '$$${b}'", &[("b", "'] c = 1")], "a = \"$'] c = 1\""),
            ("a = ['${b}']", &[("b", "one 'two three' \"\"")], r#"a = ["one", "two three", ""]"#),
            ("a = ['x', '${b:-}']", &[], r#"a = ["x"]"#),
            ("a = ['x ${b}']", &[("b", "1 2")], r#"a = ["x 1 2"]"#),
        ];
        for (text, variables, expected) in table {
            assert_eq!(put(text, variables).as_deref(), Ok(*expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_value_is_named() {
        let table = [
            ("a = '${purge_cmd}'", "--var purge_cmd=VALUE or TIDEGATE_LOAD_VAR_PURGE_CMD"),
            ("a = '${b'", "has no }"),
            ("a = 'costs $5'", "$$ is a dollar sign"),
            ("a = '${B}'", "no name of a variable"),
        ];
        for (text, expected) in table {
            let error = put(text, &[]).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(put("a = ['${b}']", &[("b", "'open")]).is_err());
    }

    #[test]
    fn the_environment_fills_what_the_command_line_left() {
        let mut variables = Variables::default();
        variables.add("a=1").unwrap();
        let environment = |name: &str| (format!("{ENVIRONMENT_PREFIX}{name}"), "2".to_owned());
        variables.add_environment([environment("A"), environment("B")]);
        assert_eq!((variables.value("a"), variables.value("b")), (Ok("1"), Ok("2")));
        assert!(variables.add("A=1").is_err() && variables.add("a").is_err());
    }
}
