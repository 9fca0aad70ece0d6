//! Compressed bodies: counted decompressed, bounded, and whole.

use std::io::Write;

use flate2::Compression;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip_answer(body: &[u8]) -> Vec<u8> {
    compressed_answer("gzip", body)
}

fn compressed_answer(coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_compressed_body_is_counted_decompressed_and_a_bomb_is_bounded() {
    let server = Server::answering(gzip_answer(&gzip(&[b'x'; 5000]))).await;
    let seen = observe(&spec(&server.url("/"))).await;
    assert_eq!((seen.failure, seen.body_bytes), (None, 5000));

    let bomb = Server::answering(gzip_answer(&gzip(&vec![0; 64 * 1024 * 1024]))).await;
    let seen = observe(&CheckSpec { max_body_bytes: 100_000, ..spec(&bomb.url("/")) }).await;
    assert_eq!((seen.failure, seen.body_bytes), (None, 100_000));
}

#[tokio::test]
async fn a_damaged_compressed_body_is_a_failure() {
    let whole = gzip(&(0..=255).cycle().take(50_000).collect::<Vec<u8>>());
    let server = Server::answering(gzip_answer(&whole[..whole.len() / 2])).await;
    assert_eq!(observe(&spec(&server.url("/"))).await.failure.unwrap().kind, FailureKind::BodyTruncated);

    let server = Server::answering(gzip_answer(b"this is no gzip")).await;
    assert_eq!(observe(&spec(&server.url("/"))).await.failure.unwrap().kind, FailureKind::HttpProtocol);
}

#[tokio::test]
async fn each_coding_that_is_asked_for_is_understood() {
    let text = b"All is well. ".repeat(500);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(&text).unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    raw.write_all(&text).unwrap();
    // An empty body, and one of two bytes that are not compressed, in Brotli's format (RFC 7932 section 9).
    let brotli: &[u8] = &[0x0b, 0x00, 0x80, b'o', 0x03];
    let twice = [gzip(&text), gzip(&text)].concat();
    for (coding, body, bytes) in [
        ("gzip", gzip(&text), text.len()),
        ("x-gzip", twice, 2 * text.len()),
        ("deflate", zlib.finish().unwrap(), text.len()),
        ("deflate", raw.finish().unwrap(), text.len()),
        ("br", brotli.to_vec(), 1),
        ("zstd", b"as it is".to_vec(), 8),
        ("gzip", Vec::new(), 0),
    ] {
        let server = Server::answering(compressed_answer(coding, &body)).await;
        let seen = observe(&spec(&server.url("/"))).await;
        assert_eq!((seen.failure, seen.body_bytes), (None, u64::try_from(bytes).unwrap()), "{coding}");
        assert_eq!(header(&server.requests()[0], "accept-encoding"), Some("gzip, br, deflate"));
    }
}

#[tokio::test]
async fn a_compressed_body_that_ends_too_early_says_so() {
    let whole = gzip(&(0..=255).cycle().take(50_000).collect::<Vec<u8>>());
    let server = Server::answering(gzip_answer(&whole[..whole.len() - 6])).await;
    let seen = observe(&spec(&server.url("/"))).await;
    let failure = seen.failure.unwrap();
    let message = format!("The compressed body of {} ends too early, after {} bytes", server.address, seen.body_bytes);
    assert_eq!((failure.kind, failure.message), (FailureKind::BodyTruncated, message));

    // The compressed text is whole, what it came in is not.
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [head.as_bytes(), format!("{:x}\r\n", whole.len()).as_bytes(), &whole, b"\r\n"].concat();
    let server = Server::answering(chunk).await;
    let seen = observe(&spec(&server.url("/"))).await;
    assert_eq!(seen.failure.unwrap().kind, FailureKind::BodyTruncated);
}
