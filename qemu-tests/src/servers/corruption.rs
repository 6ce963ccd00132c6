//! One byte of a file changed on its way to the client.

use axum::body::Body;
use axum::http::{Response, header};
use http_body_util::BodyExt as _;

/// Flips all bits of the byte at `offset` of the file that `response` carries, wholly or as a range.
pub(super) fn flip(response: Response<Body>, offset: u64) -> Response<Body> {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let Some(mut skip) = offset.checked_sub(range.and_then(first_byte).unwrap_or(0)) else {
        return response;
    };
    let mut done = false;
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            frame.map_data(|data| {
                let length = data.len() as u64;
                if done || skip >= length {
                    skip = skip.saturating_sub(length);
                    return data;
                }
                done = true;
                let mut changed = data.to_vec();
                // The position is below the length of a buffer, so it fits.
                if let Some(byte) = usize::try_from(skip).ok().and_then(|at| changed.get_mut(at)) {
                    *byte = !*byte;
                }
                changed.into()
            })
        }))
    })
}

/// The first position in a `Content-Range: bytes FIRST-LAST/SIZE`.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn through(range: Option<&str>, content: &'static [u8], offset: u64) -> Vec<u8> {
        let mut response = Response::builder();
        if let Some(range) = range {
            response = response.header(header::CONTENT_RANGE, range);
        }
        let response = flip(response.body(Body::from(content)).unwrap(), offset);
        response.into_body().collect().await.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn exactly_one_byte_differs() {
        assert_eq!(through(None, b"\x00\x00\x00", 1).await, b"\x00\xff\x00");
    }

    #[tokio::test]
    async fn a_range_is_changed_at_the_same_place_of_the_file() {
        assert_eq!(
            through(Some("bytes 10-12/100"), b"\x00\x00\x00", 12).await,
            b"\x00\x00\xff"
        );
        assert_eq!(
            through(Some("bytes 10-12/100"), b"\x00\x00\x00", 9).await,
            b"\x00\x00\x00"
        );
        assert_eq!(
            through(Some("bytes 10-12/100"), b"\x00\x00\x00", 13).await,
            b"\x00\x00\x00"
        );
    }
}
