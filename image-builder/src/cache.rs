//! Where packages and indices are kept when the command line does not say it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// The folder for all users of the host, which root can write.
pub const SHARED: &str = "/var/cache/twinhull";

/// The folder of a user, below that for caches (XDG Base Directory Specification).
const OWN: &str = "twinhull";

/// The folder `named`, or else [`SHARED`] where this user may write it, or else one of the user's own: whoever only asks what would be
/// built needs no rights.
pub fn folder(named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(|| default(&|name| std::env::var_os(name), &may_write))
}

fn default(variable: &dyn Fn(&str) -> Option<OsString>, may_write: &dyn Fn(&Path) -> bool) -> PathBuf {
    let shared = PathBuf::from(SHARED);
    if may_write(&shared) {
        return shared;
    }
    // The specification has relative paths ignored.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    // With no home there is nothing better, and the error will name it.
    own.map_or(shared, |caches| caches.join(OWN))
}

/// Whether this user may make files in `folder`, or make the folder where it is not there.
fn may_write(folder: &Path) -> bool {
    let there = folder.ancestors().find(|above| above.exists());
    there.is_some_and(|there| access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_write_the_shared_folder_gets_one_of_their_own() {
        let chosen = |variables: &[(&str, &str)], may: bool| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            default(&variable, &|_| may)
        };
        let home = ("HOME", "/home/u");
        assert_eq!(chosen(&[home], true), Path::new(SHARED));
        assert_eq!(chosen(&[home], false), Path::new("/home/u/.cache/twinhull"));
        assert_eq!(
            chosen(&[home, ("XDG_CACHE_HOME", "/c")], false),
            Path::new("/c/twinhull")
        );
        assert_eq!(
            chosen(&[home, ("XDG_CACHE_HOME", "c")], false),
            Path::new("/home/u/.cache/twinhull")
        );
        assert_eq!(chosen(&[], false), Path::new(SHARED));
        assert_eq!(folder(Some("/mine".into())), Path::new("/mine"));
    }

    #[test]
    fn rights_are_those_of_the_nearest_folder_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(may_write(&folder.path().join("a/b")));
    }
}
