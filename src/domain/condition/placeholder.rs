//! The names in brackets that stand for something seen: `[STATUS]`, `[BODY].items[0].id`, `[HEADER].server`.

use std::fmt;

use crate::domain::suggest::closest;

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    Status,
    ResponseTime,
    Ip,
    Body(Path),
    Connected,
    CertificateExpiration,
    DomainExpiration,
    DnsRcode,
    Context(Path),
    /// A lower-case name.
    Header(String),
    DnsTime,
    ConnectTime,
    TlsTime,
    FirstByteTime,
    CertificateIssuer,
    TlsVersion,
    HttpVersion,
    Redirects,
    FinalUrl,
    BodySize,
}

/// A way into a JSON document, as Gatus has it: `.items[0].id`. Empty: the whole document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(pub Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// Those of which nothing further is said, by their names.
const PLAIN: [(&str, Placeholder); 17] = [
    ("STATUS", Placeholder::Status),
    ("RESPONSE_TIME", Placeholder::ResponseTime),
    ("IP", Placeholder::Ip),
    ("CONNECTED", Placeholder::Connected),
    ("CERTIFICATE_EXPIRATION", Placeholder::CertificateExpiration),
    ("DOMAIN_EXPIRATION", Placeholder::DomainExpiration),
    ("DNS_RCODE", Placeholder::DnsRcode),
    ("DNS_TIME", Placeholder::DnsTime),
    ("CONNECT_TIME", Placeholder::ConnectTime),
    ("TLS_TIME", Placeholder::TlsTime),
    ("FIRST_BYTE_TIME", Placeholder::FirstByteTime),
    ("CERTIFICATE_ISSUER", Placeholder::CertificateIssuer),
    ("TLS_VERSION", Placeholder::TlsVersion),
    ("HTTP_VERSION", Placeholder::HttpVersion),
    ("REDIRECTS", Placeholder::Redirects),
    ("FINAL_URL", Placeholder::FinalUrl),
    ("BODY_SIZE", Placeholder::BodySize),
];
/// Those that are followed by a path or a name.
const DEEP: [&str; 3] = ["BODY", "CONTEXT", "HEADER"];

/// What is wrong with a text that was meant as a placeholder: at which byte of it, and one sentence.
pub(super) type Wrong = (usize, String);

impl Placeholder {
    /// Reads a text that may be a placeholder. `None`: it is any other text. Names are the same in any case, paths are not.
    pub(super) fn parse(text: &str) -> Option<Result<Self, Wrong>> {
        let inner = text.strip_prefix('[')?;
        let (written, rest) = inner.split_once(']')?;
        let is_name = !written.is_empty() && written.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        if !is_name || !(rest.is_empty() || rest.starts_with(['.', '['])) {
            return None;
        }
        let name = written.to_ascii_uppercase();
        let at = text.len() - rest.len();
        if let Some((_, plain)) = PLAIN.iter().find(|(known, _)| *known == name) {
            return Some(if rest.is_empty() {
                Ok(plain.clone())
            } else {
                Err((at, format!("[{name}] has nothing inside: write it alone")))
            });
        }
        Some(match name.as_str() {
            "BODY" => Path::parse(rest, at).map(Self::Body),
            "CONTEXT" => Path::parse(rest, at)
                .and_then(|path| {
                    if path.0.is_empty() { Err((at, "say which value: [CONTEXT].name".to_owned())) } else { Ok(path) }
                })
                .map(Self::Context),
            "HEADER" => header(rest)
                .map(Self::Header)
                .ok_or_else(|| (at, "say which header: [HEADER].name, for example [HEADER].content-type".to_owned())),
            _ => {
                let near = closest(&name, PLAIN.iter().map(|(known, _)| *known).chain(DEEP));
                match near {
                    Some(near) => Err((0, format!("[{written}] is no placeholder; did you mean [{near}]?"))),
                    // `[production]` is how a list with one text in it is written.
                    None if written != name => return None,
                    None => Err((
                        0,
                        format!("[{written}] is no placeholder; if that text is meant, write any([{written}])"),
                    )),
                }
            }
        })
    }

    /// Its value is a number by its nature.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Status | Self::Redirects | Self::BodySize) || self.is_time()
    }

    /// Its value is a time in milliseconds.
    pub(super) fn is_time(&self) -> bool {
        matches!(
            self,
            Self::ResponseTime
                | Self::CertificateExpiration
                | Self::DomainExpiration
                | Self::DnsTime
                | Self::ConnectTime
                | Self::TlsTime
                | Self::FirstByteTime
        )
    }

    /// It may hold JSON.
    pub(super) fn may_be_json(&self) -> bool {
        matches!(self, Self::Body(_) | Self::Header(_) | Self::Context(_))
    }
}

fn header(rest: &str) -> Option<String> {
    let name = rest.strip_prefix('.')?;
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (!name.is_empty() && name.bytes().all(is_token)).then(|| name.to_ascii_lowercase())
}

impl Path {
    /// `at`: where the text stands in the operand.
    fn parse(text: &str, at: usize) -> Result<Self, Wrong> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let here = at + text.len() - rest.len();
            if let Some(inner) = rest.strip_prefix('[') {
                let Some((index, after)) = inner.split_once(']') else {
                    return Err((here, "the bracket is not closed".to_owned()));
                };
                let number = index.parse().ok().filter(|_| index.bytes().all(|b| b.is_ascii_digit()));
                let Some(number) = number else {
                    return Err((
                        here + 1,
                        format!(
                            "`{index}` is no index: a number from 0 on; for anything else there is jsonpath([BODY], \"$…\")"
                        ),
                    ));
                };
                steps.push(Step::Index(number));
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('.') {
                let end = inner.find(['.', '[']).unwrap_or(inner.len());
                let (key, after) = inner.split_at(end);
                if key.is_empty() || key.trim() != key || key.contains(']') {
                    return Err((here + 1, "a key is missing here: [BODY].key or [BODY].list[0].key".to_owned()));
                }
                steps.push(Step::Key(key.to_owned()));
                rest = after;
            } else {
                return Err((here, "a dot or a bracket is missing here".to_owned()));
            }
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(path) => write!(f, "[BODY]{path}"),
            Self::Context(path) => write!(f, "[CONTEXT]{path}"),
            Self::Header(name) => write!(f, "[HEADER].{name}"),
            plain => {
                let name = PLAIN.iter().find(|(_, known)| known == plain).map_or("", |(name, _)| name);
                write!(f, "[{name}]")
            }
        }
    }
}
