//! Who types.

/// The login name of whoever types, behind `sudo` too. Only a help for readers of the history: the server notes the
/// credential beside it.
pub(super) fn operator() -> Option<String> {
    let names = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    names
        .into_iter()
        .find(|name| !name.is_empty() && name.len() <= 64 && !name.chars().any(char::is_control))
}
