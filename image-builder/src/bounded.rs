//! Files of others, read whole, but never more of one than it can have.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The content of `path`. The size that the file system says is not asked for: a device or a pipe has none, and a file may grow.
///
/// # Errors
/// It cannot be read, or has more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than the {most} bytes that such a file may have"),
        ));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_a_file_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"1234");
        assert!(
            read(&path, 3)
                .unwrap_err()
                .to_string()
                .contains("more than the 3 bytes")
        );
        // It says that it has none, and has no end.
        assert!(read(Path::new("/dev/zero"), 4096).is_err());
    }
}
