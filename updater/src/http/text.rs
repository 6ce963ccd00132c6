//! Text from outside, made fit for one line of a log.

use std::error::Error;

use reqwest::Url;

/// The longest text that is taken from a server, in characters.
const MAX_TEXT: usize = 400;

/// An error and its causes, from the outside in: the outermost alone says no more than "error sending request".
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    // The address is named by our own error already, and may hold a password.
    texts.retain(|text| !text.starts_with("error sending request"));
    if texts.is_empty() {
        "the request failed".to_owned()
    } else {
        one_line(&texts.join(": "))
    }
}

/// `text` without line breaks and other control characters, cut to a length that fits a log.
pub(crate) fn one_line(text: &str) -> String {
    let clean = |character: char| if character.is_control() { ' ' } else { character };
    let mut line: String = text.chars().take(MAX_TEXT).map(clean).collect();
    line.truncate(line.trim_end().len());
    line
}

/// The address without its password, for logs and for a status that everybody may read.
pub(super) fn shown(url: &Url) -> Url {
    let mut url = url.clone();
    // Fails only for an address without a host, which has no password.
    let _ = url.set_password(None);
    url
}
