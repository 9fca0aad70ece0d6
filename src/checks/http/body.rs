//! The body of an answer: decompressed, counted, and never read beyond its bound.
//!
//! What is in memory of it is one piece: as much as the connection may hold, and [`PIECE`] decompressed.

use std::io;

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

use super::exchange::Exchange;
use crate::checks::failure;
use crate::checks::trace::Trace;
use crate::domain::outcome::Failure;

/// Decompressed at a time.
const PIECE: usize = 16 * 1024;

/// How a body was made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Brotli,
    Deflate,
}

impl Coding {
    /// `None` also for what we did not ask for, which is taken as it is.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_ENCODING)?.to_str().ok()?.trim();
        [("gzip", Self::Gzip), ("x-gzip", Self::Gzip), ("br", Self::Brotli), ("deflate", Self::Deflate)]
            .into_iter()
            .find_map(|(name, coding)| value.eq_ignore_ascii_case(name).then_some(coding))
    }
}

/// Reads the decompressed body up to `max` bytes, of which `read` counts those that have come. Whether it was read to its
/// end, so that the connection may be used again.
///
/// # Errors
/// Where the body is cut or damaged before `max` bytes have come.
pub(super) async fn read(
    exchange: &mut Exchange,
    headers: &HeaderMap,
    mut body: Incoming,
    max: u64,
    trace: &Trace,
    read: &mut u64,
) -> Result<bool, Failure> {
    let expected = body.size_hint().exact();
    let Some(coding) = Coding::of(headers) else {
        while *read < max {
            let frame = exchange.drive(body.frame()).await;
            let Some(frame) = frame else { return Ok(true) };
            let frame = frame.map_err(|error| failure::of_body(&error, trace, *read, expected))?;
            if let Some(data) = frame.data_ref() {
                count(read, data.len(), max);
            }
            // A body that is long at hand must not hold the thread.
            tokio::task::consume_budget().await;
        }
        return Ok(body.is_end_stream());
    };
    let Some(first) = exchange.drive(next(&mut body)).await else { return Ok(true) };
    let first = first.map_err(|error| failure::of_body(&error, trace, *read, expected))?;
    let is_zlib = is_zlib(&first);
    let rest =
        stream::unfold(body, |mut body| async move { Some((next(&mut body).await?.map_err(io::Error::other), body)) });
    let mut source = Box::pin(StreamReader::new(stream::once(std::future::ready(Ok(first))).chain(rest)));
    let mut decoder: Box<dyn AsyncRead + Send + Unpin + '_> = match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(source.as_mut());
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Coding::Brotli => Box::new(BrotliDecoder::new(source.as_mut())),
        Coding::Deflate if is_zlib => Box::new(ZlibDecoder::new(source.as_mut())),
        Coding::Deflate => Box::new(DeflateDecoder::new(source.as_mut())),
    };
    let mut piece = vec![0; PIECE];
    let fails = |error: io::Error, read: u64| failure::of_compressed_body(&error, trace, read);
    while *read < max {
        let n = exchange.drive(decoder.read(&mut piece)).await.map_err(|error| fails(error, *read))?;
        if n == 0 {
            drop(decoder);
            // What was compressed has ended, the body that it came in has to end as well.
            let rest = exchange.drive(source.fill_buf()).await.map_err(|error| fails(error, *read))?;
            return Ok(rest.is_empty());
        }
        count(read, n, max);
        tokio::task::consume_budget().await;
    }
    Ok(false)
}

fn count(read: &mut u64, n: usize, max: u64) {
    *read = max.min(read.saturating_add(u64::try_from(n).unwrap_or(u64::MAX)));
}

/// The next piece that is not empty.
async fn next(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        match body.frame().await? {
            Ok(frame) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Some(Ok(data)),
                _ => {}
            },
            Err(error) => return Some(Err(error)),
        }
    }
}

/// What is called `deflate` should be zlib's format, and often lacks its frame.
fn is_zlib(first: &[u8]) -> bool {
    match first {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0,
        _ => true,
    }
}
