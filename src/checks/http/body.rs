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
use crate::domain::check::{CheckSpec, Observation};
use crate::domain::condition::{Evidence, Needs};
use crate::domain::outcome::Failure;

/// Decompressed at a time.
const PIECE: usize = 16 * 1024;

/// So many bytes at a time, which are decompressed within a millisecond.
const TURN: u64 = 256 * 1024;

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

/// What is read of a body, and kept of it.
pub(super) struct Wanted<'a> {
    max: u64,
    needs: Needs,
    /// Bytes that have come, at most `max`.
    read: &'a mut u64,
    evidence: &'a mut Evidence,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(spec: &CheckSpec, seen: &'a mut Observation) -> Self {
        let Observation { body_bytes, evidence, .. } = seen;
        Self { max: spec.max_body_bytes, needs: spec.conditions.needs(), read: body_bytes, evidence }
    }

    /// Whether a body that has the length of the bound ends there is read on only where it matters.
    fn wants_more(&self) -> bool {
        *self.read < self.max || (self.needs.body_size && !self.evidence.is_cut)
    }

    fn take(&mut self, piece: &[u8]) {
        self.evidence.keep_body(piece, *self.read, self.max, self.needs);
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        *self.read = self.max.min(self.read.saturating_add(length));
    }
}

/// Reads the decompressed body up to its bound. Whether it was read to its end, so that the connection may be used again.
///
/// # Errors
/// Where the body is cut or damaged before so many bytes have come.
pub(super) async fn read(
    exchange: &mut Exchange,
    headers: &HeaderMap,
    mut body: Incoming,
    wanted: &mut Wanted<'_>,
    trace: &Trace,
) -> Result<bool, Failure> {
    let expected = body.size_hint().exact();
    let mut turn = Turn::default();
    let Some(coding) = Coding::of(headers) else {
        while wanted.wants_more() {
            let frame = exchange.drive(body.frame()).await;
            let Some(frame) = frame else { return Ok(true) };
            let frame = frame.map_err(|error| failure::of_body(&error, trace, *wanted.read, expected))?;
            if let Some(data) = frame.data_ref() {
                wanted.take(data);
            }
            turn.take(*wanted.read).await;
        }
        return Ok(body.is_end_stream());
    };
    let Some(first) = exchange.drive(next(&mut body)).await else { return Ok(true) };
    let first = first.map_err(|error| failure::of_body(&error, trace, *wanted.read, expected))?;
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
    while wanted.wants_more() {
        let n = exchange.drive(decoder.read(&mut piece)).await.map_err(|error| fails(error, *wanted.read))?;
        if n == 0 {
            drop(decoder);
            // What was compressed has ended, the body that it came in has to end as well.
            let rest = exchange.drive(source.fill_buf()).await.map_err(|error| fails(error, *wanted.read))?;
            return Ok(rest.is_empty());
        }
        wanted.take(piece.get(..n).unwrap_or_default());
        turn.take(*wanted.read).await;
    }
    Ok(false)
}

/// A body that is long at hand must not hold the thread: after each [`TURN`] the others have theirs.
#[derive(Debug, Default)]
struct Turn {
    /// Of the body, when the others last had theirs.
    read: u64,
}

impl Turn {
    /// `read`: so much has come in all.
    async fn take(&mut self, read: u64) {
        tokio::task::consume_budget().await;
        if read >= self.read + TURN {
            self.read = read;
            tokio::task::yield_now().await;
        }
    }
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
