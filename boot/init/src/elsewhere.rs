//! Where the next boot goes after one that failed.
//!
//! A release on trial has a boot counter, and the loader does the rest. A release that was healthy has none: the loader would start
//! it again for ever, whatever became of its slot since. So this tells the loader to start another one, once. That one
//! finds the failed release still on offer and installs it anew, over whatever is damaged.

use twinhull_layout::BootEntry;

use crate::efi;

/// The entry that may be started instead of the one that was, if the loader will not see to it by counting.
pub(crate) fn entry() -> Option<String> {
    // The loader sets this when it has counted.
    if !efi::texts("LoaderBootCountPath").is_empty() {
        return None;
    }
    let selected = efi::texts("LoaderEntrySelected").into_iter().next()?;
    choose(&selected, efi::texts("LoaderEntries"))
}

/// Tells the loader to start another entry next, and only then. Gives its name; `None` if there is no need, no other, or no way to
/// tell: then the loader decides as always.
pub(crate) fn lead() -> Option<String> {
    let entry = entry()?;
    efi::set("LoaderEntryOneShot", &entry).ok().map(|()| entry)
}

/// The first of `entries`, which are in the loader's order, with another release of what `selected` is one of. The loader leaves
/// counters out.
fn choose(selected: &str, entries: Vec<String>) -> Option<String> {
    let selected: BootEntry = selected.parse().ok()?;
    entries.into_iter().find(|name| {
        name.parse::<BootEntry>()
            .is_ok_and(|entry| entry.product == selected.product && entry.version != selected.version)
    })
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn another_release_of_the_same_product_is_chosen() {
        let entries = [
            "server_1.1.0.efi",
            "other_1.0.0.efi",
            "server_1.0.0.efi",
            "auto-reboot-to-firmware-setup",
        ];
        let chosen = |selected| choose(selected, entries.map(str::to_owned).to_vec());
        assert_eq!(chosen("server_1.1.0.efi").as_deref(), Some("server_1.0.0.efi"));
        assert_eq!(chosen("server_1.0.0.efi").as_deref(), Some("server_1.1.0.efi"));
        assert_eq!(chosen("other_1.0.0.efi"), None, "no other release of it");
        assert_eq!(chosen("auto-efi-shell"), None, "not ours");
    }
}
