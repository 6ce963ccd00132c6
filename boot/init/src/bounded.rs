//! Reading small files of the kernel and of the initramfs with a bound on their size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The content of `path`; an error when it is more than `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Like [`read`], as text. Bytes that are not UTF-8 become U+FFFD: no name that matters here has any.
pub(crate) fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read(path, limit)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn limit_is_the_last_size_allowed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1; 10]).unwrap();
        assert_eq!(read(file.path(), 10).unwrap(), [1; 10]);
        assert!(read(file.path(), 9).is_err());
    }
}
