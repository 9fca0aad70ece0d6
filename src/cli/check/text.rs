//! What a check saw, told to a person: the verdict first, then what led to it, in the order of an attempt.

use super::report::{
    AttemptReport, CertificateReport, ConditionReport, DialledReport, HopReport, PhasesReport, Report,
};
use crate::cli::style::Paint;

/// How many columns the longest bar has.
const BAR: f64 = 24.0;
/// Of more names of a certificate the rest is counted.
const MOST_NAMES: usize = 8;
/// Of more lines of a body the rest is left out.
const MOST_LINES: usize = 12;

/// The lines of a report.
pub(super) fn of(report: &Report, paint: Paint) -> String {
    let mut page = Page { lines: vec![verdict(report, paint)], paint };
    let what = report.method.as_ref().unwrap_or(&report.kind);
    page.line("request", &format!("{what} {}", report.url));
    page.attempts(report.attempts, &report.attempts_before);
    page.answer(report);
    page.conditions(&report.conditions);
    page.addresses(report);
    page.hops(&report.hops);
    page.phases(report.timings);
    if let Some(tls) = &report.tls {
        let within = tls.protocol.as_ref().map_or_else(String::new, |protocol| format!(", {protocol} within"));
        page.line("tls", &format!("{}, {}{within}", tls.version, tls.cipher));
    }
    if let Some(certificate) = &report.certificate {
        page.certificate("certificate", certificate);
    }
    for issuer in &report.issuers {
        page.certificate("issuer", issuer);
    }
    page.excerpt(report.excerpt.as_deref());
    page.lines.join("\n")
}

fn verdict(report: &Report, paint: Paint) -> String {
    let word = match report.outcome.as_str() {
        "up" => paint.good("up"),
        "down" => paint.bad("down"),
        other => paint.warning(other),
    };
    let why = report.why.as_ref().map_or_else(String::new, |why| format!(": {}", paint.strong(why)));
    let kind = report.failure_kind.as_ref().or(report.missed_reason.as_ref());
    let kind = kind.map_or_else(String::new, |kind| format!(" ({kind})"));
    format!("{word}{why}{kind}")
}

struct Page {
    lines: Vec<String>,
    paint: Paint,
}

impl Page {
    fn line(&mut self, label: &str, text: &str) {
        let label = self.paint.faint(&format!("{label:<12}"));
        self.lines.push(format!("{label}{text}"));
    }

    fn attempts(&mut self, attempts: u32, before: &[AttemptReport]) {
        if attempts < 2 {
            return;
        }
        self.line("attempts", &attempts.to_string());
        for (i, one) in before.iter().enumerate() {
            let why = one.why.as_deref().unwrap_or("no verdict");
            let kind = one.failure_kind.as_ref().map_or_else(String::new, |kind| format!(" ({kind})"));
            self.line(&format!("  attempt {}", i + 1), &format!("{why}{kind}, after {:.2} ms", one.total_ms));
        }
    }

    fn answer(&mut self, report: &Report) {
        if let Some(code) = report.status_code {
            let version = report.http_version.as_deref().unwrap_or("HTTP");
            self.line("answer", &format!("{version} {code}, {} bytes of body", report.body_bytes));
        }
        let mut label = "answer";
        for line in &report.said {
            self.line(label, line);
            label = "";
        }
    }

    fn conditions(&mut self, conditions: &[ConditionReport]) {
        for one in conditions {
            let verdict = match (one.success, one.degrades) {
                (true, _) => self.paint.good("holds"),
                (false, true) => self.paint.warning("does not hold: degraded"),
                (false, false) => self.paint.bad("does not hold"),
            };
            self.line(if one.degrades { "unless" } else { "condition" }, &format!("{}: {verdict}", one.seen));
        }
    }

    fn addresses(&mut self, report: &Report) {
        if let Some(address) = &report.address {
            let by = report.proxy.as_ref().map_or_else(String::new, |proxy| format!(", the proxy {proxy}"));
            self.line("address", &format!("{address}{by}"));
        }
        // One that answered at once is told already.
        let is_told = |one: &DialledReport| one.failure.is_none() && report.address.as_ref() == Some(&one.address);
        if let [one] = report.dialled.as_slice()
            && is_told(one)
        {
            return;
        }
        for one in &report.dialled {
            let how = match &one.failure {
                Some(failure) => self.paint.bad(failure),
                None => self.paint.good("connected"),
            };
            self.line("  dialled", &format!("{} after {:.2} ms: {how}", one.address, one.took_ms));
        }
    }

    fn hops(&mut self, hops: &[HopReport]) {
        for (i, hop) in hops.iter().enumerate() {
            let status = hop.status_code.map_or_else(|| "no answer".to_owned(), |code| code.to_string());
            self.line(if i == 0 { "redirects" } else { "" }, &format!("{status} {}", hop.url));
            let phases: Vec<_> = hop.timings.reached().map(|(name, ms)| format!("{name} {ms:.2}")).collect();
            let by = hop.address.as_ref().map_or_else(String::new, |address| format!(" from {address}"));
            let text = format!("{:.2} ms{by}: {}", hop.timings.total_ms, phases.join(", "));
            let text = self.paint.faint(&text);
            self.line("", &text);
        }
    }

    fn phases(&mut self, phases: PhasesReport) {
        for (name, ms) in phases.reached() {
            let bar = bar(ms, phases.total_ms);
            self.line(name, format!("{ms:>9.2} ms  {}", self.paint.strong(&bar)).trim_end());
        }
        self.line("total", &format!("{:>9.2} ms", phases.total_ms));
    }

    fn certificate(&mut self, label: &str, certificate: &CertificateReport) {
        let CertificateReport { subject, issuer, not_before, not_after, sans, fingerprint, age, .. } = certificate;
        let by = if subject == issuer { "by itself".to_owned() } else { format!("by {issuer}") };
        self.line(label, &format!("{subject} {by}"));
        let begins = format!("{not_before} ({})", age.begins);
        let begins = if age.is_to_come { self.paint.bad(&begins) } else { begins };
        self.line("  from", &begins);
        let ends = format!("{not_after} ({})", age.ends);
        let ends = if age.is_over { self.paint.bad(&ends) } else { ends };
        self.line("  until", &ends);
        if !sans.is_empty() {
            let shown: Vec<&str> = sans.iter().take(MOST_NAMES).map(String::as_str).collect();
            let more = match sans.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.line("  for", &format!("{}{more}", shown.join(", ")));
        }
        self.line("  sha-256", fingerprint);
    }

    fn excerpt(&mut self, excerpt: Option<&str>) {
        let mut label = "body";
        for line in excerpt.into_iter().flat_map(str::lines).take(MOST_LINES) {
            self.line(label, &line.replace('\t', "    "));
            label = "";
        }
    }
}

/// In eighths of a column.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of the whole, which is at most the number of columns"
)]
fn bar(part: f64, whole: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if whole <= 0.0 {
        return String::new();
    }
    let eighths = ((part / whole).clamp(0.0, 1.0) * BAR * 8.0).round() as usize;
    let rest = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    format!("{}{rest}", "█".repeat(eighths / 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(1.0, 1.0), "█".repeat(24));
        assert_eq!(bar(0.5, 1.0), "█".repeat(12));
        assert_eq!(bar(1.0, 24.0), "█");
        assert_eq!(bar(1.0, 48.0), "▌");
        assert_eq!(bar(0.0, 1.0), "");
        assert_eq!(bar(1.0, 0.0), "");
        assert_eq!(bar(2.0, 1.0), "█".repeat(24), "parts of what is summed never go beyond");
    }
}
