//! `tidegate login` and `logout`: a token that was handed over becomes a file that its owner alone may read, and a context
//! that uses it.
//!
//! The token is read from standard input, unseen where that is a terminal, never from the command line, which others can
//! list. Invariant: a token that the control plane does not know is not kept.

use std::{
    fs,
    io::{self, IsTerminal, Read},
};

use ratatui::crossterm::{
    event::{self, Event, KeyCode, KeyModifiers},
    terminal,
};

use super::{
    client::Client,
    context::{Place, Target, write},
    failure::{Exit, Failure},
    output::Output,
    trace::Calls,
};
use crate::api::access_model::WhoamiView;

/// Keeps a token under the name of a context, and uses it from then on.
pub(super) async fn login(
    name: &str,
    place: &Place,
    calls: Calls,
    out: &Output,
) -> Result<Exit, Failure> {
    let file = place.token_file_of(name)?;
    let target = Target { token_file: Some(file.clone()), ..place.named()? };
    if io::stdin().is_terminal() {
        out.note("paste the token and press Enter; it is not shown:");
    }
    let token = tokio::task::spawn_blocking(read_token).await;
    let token = token.map_err(|error| Failure::new(Exit::Failed, error.to_string()))??;
    let before = fs::read_to_string(&file).ok();
    let failed = |error: io::Error| {
        Failure::new(Exit::Failed, format!("cannot write {}: {error}", file.display()))
    };
    write(&file, &format!("{token}\n")).map_err(failed)?;
    let me = async { Client::new(&target, calls)?.get::<WhoamiView>("/v1/whoami").await };
    let me = match me.await {
        Ok(me) => me,
        Err(failure) => {
            // As it was.
            match before {
                Some(before) => write(&file, &before).map_err(failed)?,
                None => fs::remove_file(&file).map_err(failed)?,
            }
            return Err(failure);
        }
    };
    place.keep(name, target)?;
    out.note(&format!("you are {} at {}", me.label, name));
    Ok(Exit::Ok)
}

/// Removes the token of a context, or of the current one.
pub(super) fn logout(name: Option<&str>, place: &Place, out: &Output) -> Result<Exit, Failure> {
    let (name, file) = place.forget_token(name)?;
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::new(Exit::Failed, format!("{}: {error}", file.display())));
        }
        _ => out.note(&format!("the token of {name} is gone from here; revoke makes it worthless")),
    }
    Ok(Exit::Ok)
}

/// One line, of no more than a token has.
fn read_token() -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failed, format!("the token: {error}"));
    let text = if io::stdin().is_terminal() {
        terminal::enable_raw_mode().map_err(failed)?;
        let typed = type_unseen();
        terminal::disable_raw_mode().map_err(failed)?;
        typed?
    } else {
        let mut text = String::new();
        io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        text
    };
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        let failure = Failure::new(Exit::Usage, "no token was given");
        return Err(failure.with_hint("tidegate-control token create makes the first one"));
    }
    Ok(token.to_owned())
}

fn type_unseen() -> Result<String, Failure> {
    let mut text = String::new();
    loop {
        let read = event::read();
        let read =
            read.map_err(|error| Failure::new(Exit::Failed, format!("terminal: {error}")))?;
        let Event::Key(key) = read else { continue };
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Ok(text),
            KeyCode::Char('c' | 'd') if is_control => {
                return Err(Failure::new(Exit::Interrupted, "interrupted"));
            }
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(letter) if (text.len() as u64) < TOKEN_BYTES_MAX => text.push(letter),
            _ => {}
        }
    }
}

const TOKEN_BYTES_MAX: u64 = 1024;
