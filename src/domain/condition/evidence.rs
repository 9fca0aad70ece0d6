//! What conditions are examined against.

use core::net::IpAddr;

use super::Needs;
use crate::domain::Timestamp;

/// What an attempt kept for its conditions, and only where they need it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The beginning of the decompressed body: all that was read where a condition needs it, else [`MAX_EXCERPT`] bytes.
    pub body: Vec<u8>,
    /// There was more of the body than `max_body_bytes`.
    pub is_cut: bool,
    /// Names are lower case; several of a name are one, joined by `, `.
    pub headers: Vec<(String, String)>,
}

/// The most headers kept, and of each the most bytes; what is beyond them is not there.
pub const MOST_HEADERS: usize = 200;
pub const MAX_HEADER: usize = 8 * 1024;

/// An answer, as conditions see it. What there was none of is `None`.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    pub status: Option<u16>,
    pub connected: bool,
    pub ip: Option<IpAddr>,
    pub response_time_us: u32,
    pub dns_us: Option<u32>,
    pub connect_us: Option<u32>,
    pub tls_us: Option<u32>,
    pub first_byte_us: Option<u32>,
    pub certificate_not_after: Option<Timestamp>,
    pub certificate_issuer: Option<&'a str>,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub http_version: Option<&'a str>,
    /// `1.2`, `1.3`.
    pub tls_version: Option<&'a str>,
    /// `NOERROR`, `NXDOMAIN`.
    pub dns_rcode: Option<&'a str>,
    /// Where the last redirect led, without what is secret in it; without redirects the URL that was asked.
    pub final_url: Option<&'a str>,
    pub redirects: usize,
    pub body_bytes: u64,
    pub evidence: &'a Evidence,
    /// Lower-case names of headers whose values are shown as `***`.
    pub redact: &'a [String],
    /// When the answer was there.
    pub now: Timestamp,
}

/// How much of a body is kept to be shown, in bytes.
pub const MAX_EXCERPT: usize = 1024;

impl Evidence {
    /// Keeps a piece of the body that came after `before` bytes of it, as far as it is wanted, and notes whether it goes
    /// beyond `max`.
    pub fn keep_body(&mut self, piece: &[u8], before: u64, max: u64, needs: Needs) {
        let bound = if needs.body { usize::try_from(max).unwrap_or(usize::MAX) } else { MAX_EXCERPT };
        let room = bound.saturating_sub(self.body.len()).min(piece.len());
        self.body.extend_from_slice(piece.get(..room).unwrap_or_default());
        self.is_cut |= before.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX)) > max;
    }

    /// What is left is enough to be shown.
    pub fn forget(&mut self) {
        self.body.truncate(MAX_EXCERPT);
        self.body.shrink_to_fit();
        self.headers = Vec::new();
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Keeps the headers of an answer, up to the bounds.
    pub fn keep_headers<'h>(&mut self, headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) {
        self.headers.clear();
        for (name, value) in headers.into_iter().take(MOST_HEADERS) {
            let value = String::from_utf8_lossy(value.get(..MAX_HEADER).unwrap_or(value));
            match self.headers.iter_mut().find(|(known, _)| known == name) {
                Some((_, all)) if all.len() < MAX_HEADER => {
                    all.push_str(", ");
                    all.push_str(&value);
                }
                Some(_) => {}
                None => self.headers.push((name.to_owned(), value.into_owned())),
            }
        }
    }
}
