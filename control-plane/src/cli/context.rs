//! Contexts: which control plane to talk to, and with what.
//!
//! A context names files, it never holds a token itself. What flags and environment say goes over the context.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::{
    failure::{Exit, Failure},
    output::Output,
};

/// Flags that say which control plane.
#[derive(Args)]
pub(super) struct Place {
    /// The context to use instead of the current one
    #[arg(help_heading = GLOBAL, long, global = true, value_name = "NAME", env = "TIDEGATE_CONTEXT")]
    context: Option<String>,
    /// The file of contexts, instead of tidegate/contexts.toml in the user's config folder
    #[arg(help_heading = GLOBAL, long, global = true, value_name = "FILE", env = "TIDEGATE_CONTEXT_FILE")]
    context_file: Option<PathBuf>,
    /// The control plane's URL, over the context's
    #[arg(help_heading = GLOBAL, long, global = true, value_name = "URL", env = "TIDEGATE_SERVER")]
    server: Option<String>,
    /// A file that holds the API token, over the context's
    #[arg(help_heading = GLOBAL, long, global = true, value_name = "FILE", env = "TIDEGATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM of the authority that signed the control plane's certificate, over the context's
    #[arg(help_heading = GLOBAL, long, global = true, value_name = "FILE", env = "TIDEGATE_CA")]
    ca: Option<PathBuf>,
}

/// What is done with contexts.
#[derive(Subcommand)]
pub(super) enum ContextCommand {
    /// Add or replace a context from --server, --token-file and --ca, and use it
    Add {
        /// Its name
        name: String,
    },
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// List contexts
    List,
    /// Remove a context
    Remove {
        /// Its name
        name: String,
    },
}

/// One control plane and how to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    /// Its URL.
    pub(super) server: String,
    /// A file that holds an API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token_file: Option<PathBuf>,
    /// PEM of the authority to trust; absent means the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<PathBuf>,
}

/// The file of contexts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    contexts: BTreeMap<String, Target>,
}

/// One line of `context list`.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    current: bool,
    #[serde(flatten)]
    target: &'a Target,
}

/// Runs a command on contexts.
pub(super) fn run(command: ContextCommand, place: &Place, out: &Output) -> Result<Exit, Failure> {
    let path = place.file()?;
    let mut contexts = Contexts::load(&path)?;
    match command {
        ContextCommand::Add { name } => place.keep(&name, place.named()?)?,
        ContextCommand::Use { name } => {
            contexts.get(&name)?;
            contexts.current = Some(name);
            contexts.save(&path)?;
        }
        ContextCommand::Remove { name } => {
            contexts.get(&name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            contexts.save(&path)?;
        }
        ContextCommand::List => list(&contexts, out)?,
    }
    Ok(Exit::Ok)
}

fn list(contexts: &Contexts, out: &Output) -> Result<(), Failure> {
    let listed: Vec<_> = contexts
        .contexts
        .iter()
        .map(|(name, target)| Listed {
            name,
            current: contexts.current.as_ref() == Some(name),
            target,
        })
        .collect();
    out.print(&listed, ["CURRENT", "NAME", "SERVER"], |listed| {
        let row = |one: &Listed<'_>| {
            let mark = if one.current { "*" } else { "" };
            [mark.to_owned(), one.name.to_owned(), one.target.server.clone()]
        };
        listed.iter().map(row).collect()
    })
}

impl Place {
    /// The control plane to talk to.
    pub(super) fn target(&self) -> Result<Target, Failure> {
        let path = self.file()?;
        let contexts = Contexts::load(&path)?;
        let context = match self.context.as_ref().or(contexts.current.as_ref()) {
            Some(name) if self.context.is_some() || self.server.is_none() => {
                Some(contexts.get(name)?.beside(&path))
            }
            _ => None,
        };
        let server = self.server.clone().or_else(|| context.as_ref().map(|c| c.server.clone()));
        let server = server.ok_or_else(|| {
            usage("no control plane: give --server, or make a context with `tidegate context add`")
        })?;
        let of_context = |pick: fn(Target) -> Option<PathBuf>| context.clone().and_then(pick);
        Ok(Target {
            server,
            token_file: self.token_file.clone().or_else(|| of_context(|c| c.token_file)),
            ca: self.ca.clone().or_else(|| of_context(|c| c.ca)),
        })
    }

    /// What the flags say, for a context that is added; files by their full paths.
    pub(super) fn named(&self) -> Result<Target, Failure> {
        let server = self.server.clone().ok_or_else(|| usage("a context needs --server"))?;
        let full = |path: &Option<PathBuf>| {
            let full = path.as_ref().map(std::path::absolute).transpose();
            full.map_err(|error| usage(&format!("a path: {error}")))
        };
        Ok(Target { server, token_file: full(&self.token_file)?, ca: full(&self.ca)? })
    }

    /// Adds or replaces a context, and uses it.
    pub(super) fn keep(&self, name: &str, target: Target) -> Result<(), Failure> {
        let path = self.file()?;
        let mut contexts = Contexts::load(&path)?;
        contexts.contexts.insert(name.to_owned(), target);
        contexts.current = Some(name.to_owned());
        contexts.save(&path)
    }

    /// Where the token of a context is kept that `login` made.
    pub(super) fn token_file_of(&self, name: &str) -> Result<PathBuf, Failure> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_plain) {
            return Err(usage("a context is named with letters, digits, '-', '_' and '.'"));
        }
        let path = std::path::absolute(self.file()?);
        let path = path.map_err(|error| usage(&format!("a path: {error}")))?;
        Ok(path.with_file_name("tokens").join(name))
    }

    /// Takes the token out of a context that `login` made, or of the current one; gives back its name, and the file.
    pub(super) fn forget_token(&self, name: Option<&str>) -> Result<(String, PathBuf), Failure> {
        let path = self.file()?;
        let mut contexts = Contexts::load(&path)?;
        let name = name.map(str::to_owned).or_else(|| contexts.current.clone());
        let name = name.ok_or_else(|| usage("there is no current context"))?;
        let (own, target) = (self.token_file_of(&name)?, contexts.get(&name)?.clone());
        if target.token_file.as_ref() != Some(&own) {
            let text =
                format!("the token of {name} was not given by login: it is left where it is");
            return Err(Failure::new(Exit::Failed, text));
        }
        contexts.contexts.insert(name.clone(), Target { token_file: None, ..target });
        contexts.save(&path)?;
        Ok((name, own))
    }

    fn file(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.context_file {
            return Ok(path.clone());
        }
        let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        folder("XDG_CONFIG_HOME")
            .or_else(|| Some(folder("HOME")?.join(".config")))
            .map(|folder| folder.join("tidegate/contexts.toml"))
            .ok_or_else(|| usage("neither XDG_CONFIG_HOME nor HOME is set: give --context-file"))
    }
}

impl Target {
    /// The target with files that are named relative to the file of contexts.
    fn beside(&self, context_file: &Path) -> Self {
        let folder = context_file.parent().unwrap_or(Path::new(""));
        let join = |path: &PathBuf| folder.join(path);
        Self {
            server: self.server.clone(),
            token_file: self.token_file.as_ref().map(join),
            ca: self.ca.as_ref().map(join),
        }
    }
}

impl Contexts {
    fn load(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(usage(&format!("{}: {error}", path.display()))),
        };
        toml::from_str(&text)
            .map_err(|error| usage(&format!("{}: {}", path.display(), error.message())))
    }

    fn save(&self, path: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| {
            Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
        };
        let text =
            toml::to_string(self).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        write(path, &text).map_err(failed)
    }

    fn get(&self, name: &str) -> Result<&Target, Failure> {
        let missing = || Failure::new(Exit::NotFound, format!("there is no context {name:?}"));
        self.contexts.get(name).ok_or_else(missing)
    }
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn usage(message: &str) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// What stands above the options that every command has.
pub(super) const GLOBAL: &str = "Global options";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_beside_the_file_of_contexts_unless_they_are_absolute() {
        let target = Target {
            server: "https://a".into(),
            token_file: Some("token".into()),
            ca: Some("/etc/ca.pem".into()),
        };
        let found = target.beside(Path::new("/home/x/contexts.toml"));
        assert_eq!(found.token_file.as_deref(), Some(Path::new("/home/x/token")));
        assert_eq!(found.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn contexts_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/contexts.toml");
        assert_eq!(Contexts::load(&path).expect("none yet"), Contexts::default());
        let target = Target { server: "https://a".into(), token_file: None, ca: None };
        let contexts = Contexts {
            current: Some("a".into()),
            contexts: BTreeMap::from([("a".into(), target)]),
        };
        contexts.save(&path).expect("writable");
        assert_eq!(Contexts::load(&path).expect("its own"), contexts);
        assert_eq!(contexts.get("b").err().map(|failure| failure.exit), Some(Exit::NotFound));
    }
}
