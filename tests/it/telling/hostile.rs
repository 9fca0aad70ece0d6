//! Clients that cost as much as they can: checks are made in time and people are told meanwhile, and the memory is
//! bounded. `bench/hostile-clients` runs it in full and prints what it measures.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::hook::Hook;
use crate::cli::process::{Running, eventually, get};
use crate::flows::target::{Answer, Target};

/// Who comes, and for how long.
#[derive(Debug, Clone, Copy)]
struct Scale {
    endpoints: usize,
    interval: u64,
    idle: usize,
    slow_heads: usize,
    slow_bodies: usize,
    large_bodies: usize,
    flooding: usize,
    lasts: Duration,
}

const REDUCED: Scale = Scale {
    endpoints: 10,
    interval: 2,
    idle: 200,
    slow_heads: 20,
    slow_bodies: 20,
    large_bodies: 1,
    flooding: 1,
    lasts: Duration::from_secs(6),
};

const FULL: Scale = Scale {
    endpoints: 50,
    interval: 1,
    idle: 500,
    slow_heads: 100,
    slow_bodies: 100,
    large_bodies: 4,
    flooding: 8,
    lasts: Duration::from_secs(40),
};

/// What the clients counted.
#[derive(Debug, Default)]
struct Counts {
    connected: AtomicU64,
    closed: AtomicU64,
    large: AtomicU64,
    answers: AtomicU64,
}

#[derive(Debug, Clone)]
struct Attack {
    address: SocketAddr,
    counts: Arc<Counts>,
}

impl Attack {
    /// Connects, sends, and goes on sending a byte every now and then until the other side has had enough; then
    /// comes again.
    async fn hold(self, begin: &'static str, trickle: Option<&'static [u8]>) {
        loop {
            if let Ok(mut stream) = TcpStream::connect(self.address).await {
                self.counts.connected.fetch_add(1, Ordering::Relaxed);
                drop(stream.write_all(begin.as_bytes()).await);
                let mut answer = [0; 4096];
                loop {
                    if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_millis(500), stream.read(&mut answer)).await {
                        break;
                    }
                    if let Some(byte) = trickle
                        && stream.write_all(byte).await.is_err()
                    {
                        break;
                    }
                }
                self.counts.closed.fetch_add(1, Ordering::Relaxed);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ten mebibytes that are ten times too many.
    async fn send_much(self) {
        let body = vec![b'x'; 10 * 1_048_576];
        loop {
            if let Ok(mut stream) = TcpStream::connect(self.address).await {
                let head = "POST /api/v1/endpoints HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10485760\r\n\r\n";
                drop(stream.write_all(head.as_bytes()).await);
                drop(stream.write_all(&body).await);
                let mut answer = Vec::new();
                drop(stream.read_to_end(&mut answer).await);
                self.counts.large.fetch_add(u64::from(answer.starts_with(b"HTTP/1.1 413")), Ordering::Relaxed);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn flood(self) {
        loop {
            if let Ok(mut stream) = TcpStream::connect(self.address).await {
                let mut answer = vec![0; 256 * 1024];
                while stream.write_all(b"GET /api/v1/endpoints HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_ok() {
                    // The end of an answer is the end of its JSON; what is counted need not be exact.
                    match stream.read(&mut answer).await {
                        Ok(read) if read > 0 => self.counts.answers.fetch_add(1, Ordering::Relaxed),
                        _ => break,
                    };
                }
            }
        }
    }

    fn begin(self, scale: Scale, runtime: &Runtime) -> JoinSet<()> {
        const BODY: &str = "POST /api/v1/endpoints HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{";
        let (mut clients, handle) = (JoinSet::new(), runtime.handle());
        for _ in 0..scale.idle {
            clients.spawn_on(self.clone().hold("", None), handle);
        }
        for _ in 0..scale.slow_heads {
            clients.spawn_on(self.clone().hold("GET / HTTP/1.1\r\nx-slow: ", Some(b"x")), handle);
        }
        for _ in 0..scale.slow_bodies {
            clients.spawn_on(self.clone().hold(BODY, Some(b" ")), handle);
        }
        for _ in 0..scale.large_bodies {
            clients.spawn_on(self.clone().send_much(), handle);
        }
        for _ in 0..scale.flooding {
            clients.spawn_on(self.clone().flood(), handle);
        }
        clients
    }
}

/// Resident memory now and at most, in KiB.
fn memory(process: u32) -> [u64; 2] {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let of = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    [of("VmRSS:"), of("VmHWM:")]
}

/// How much longer than the interval it took from one check of an endpoint to the next: 99 %, and at most.
fn lateness(target: &Target, scale: Scale, window: std::ops::Range<Instant>) -> [Duration; 2] {
    let interval = Duration::from_secs(scale.interval);
    let mut late: Vec<_> = (0..scale.endpoints)
        .flat_map(|n| {
            let mut hits = target.hits(&format!("e{n}"));
            hits.retain(|at| window.contains(at));
            hits.windows(2).map(|pair| (pair[1] - pair[0]).saturating_sub(interval)).collect::<Vec<_>>()
        })
        .collect();
    late.sort_unstable();
    let at = |share: usize| late.get(late.len() * share / 100).or(late.last()).copied().unwrap_or_default();
    [at(99), at(100)]
}

fn missed(address: &str) -> u64 {
    let report = get(address, "/health").1;
    report["missed"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn clients_that_cost_much_do_not_keep_it_from_its_work() {
    let scale = if std::env::var_os("API_MONITOR_HOSTILE").is_some() { FULL } else { REDUCED };
    let fails = Arc::new(AtomicBool::new(false));
    let failing = fails.clone();
    let target = Target::answering(move |path, _| {
        Answer::Status(if path == "breaks" && failing.load(Ordering::Relaxed) { 500 } else { 200 })
    });
    let (folder, hook) = (tempfile::tempdir().unwrap(), Hook::start());
    let mut yaml = format!(
        "database: {{url: 'sqlite://{}'}}\napi: {{host: 127.0.0.1, port: 0}}\n\
         monitoring: {{max_checks_per_host: 100}}\nchannels: {{hook: {{type: webhook, url: '{}'}}}}\n\
         defaults: {{interval: {}, retry: {{enabled: false}}, alert_policy: {{confirm_interval: 1s}}}}\nendpoints:\n\
         \x20 - {{name: breaks, url: '{}'}}\n",
        folder.path().join("monitor.db").display(),
        hook.url(),
        scale.interval,
        target.url("breaks"),
    );
    for n in 0..scale.endpoints {
        writeln!(yaml, "  - {{name: e{n}, url: '{}'}}", target.url(&format!("e{n}"))).unwrap();
    }
    std::fs::write(folder.path().join("config.yaml"), yaml).unwrap();
    let mut monitor = Running::start(folder.path(), &["--config", "config.yaml"]);
    let address = monitor.address();
    let process = monitor.id();

    let quiet = Instant::now();
    eventually(Duration::from_secs(30), "every endpoint is checked twice", || {
        (0..scale.endpoints).all(|n| target.hits(&format!("e{n}")).len() > 2).then_some(())
    });
    let before = memory(process)[0];
    let began = Instant::now();
    let at_rest = lateness(&target, scale, quiet..began);

    let runtime = Runtime::new().unwrap();
    let counts = Arc::new(Counts::default());
    let attack = Attack { address: address.parse().unwrap(), counts: counts.clone() };
    let clients = attack.begin(scale, &runtime);
    let mut slowest_probe = Duration::ZERO;
    let mut told = None;
    while began.elapsed() < scale.lasts || (told.is_none() && began.elapsed() < scale.lasts + Duration::from_secs(30)) {
        let asked = Instant::now();
        let (status, _) = get(&address, "/health/live");
        assert_eq!(status, 200);
        slowest_probe = slowest_probe.max(asked.elapsed());
        if began.elapsed() > scale.lasts / 3 {
            fails.store(true, Ordering::Relaxed);
        }
        if told.is_none() {
            told = hook.taken().iter().find(|(_, told)| told.to_string().contains("breaks")).map(|(at, _)| *at);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let ended = Instant::now();
    let under_attack = lateness(&target, scale, began..ended);
    let first_failure = *target.hits("breaks").iter().find(|at| **at > began + scale.lasts / 3).unwrap();
    drop(clients);
    runtime.shutdown_background();
    std::thread::sleep(Duration::from_secs(2));
    let [after, peak] = memory(process);
    let missed = missed(&address);

    let told = told.expect("the outage is told").saturating_duration_since(first_failure);
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let of = |[most, all]: [Duration; 2]| format!("99 % {} ms, at most {} ms", most.as_millis(), all.as_millis());
    println!("clients         {scale:?}");
    println!(
        "connections     {} held and {} of them ended by the monitor",
        load(&counts.connected),
        load(&counts.closed)
    );
    println!("large bodies    {} answered with 413", load(&counts.large));
    println!(
        "flood           {} reads answered, {} a second",
        load(&counts.answers),
        load(&counts.answers) / (ended - began).as_secs()
    );
    println!("resident        {before} KiB before, {peak} KiB at most, {after} KiB after");
    println!("missed slots    {missed}");
    println!("check lateness  {} at rest; {} under attack", of(at_rest), of(under_attack));
    println!("slowest probe   {} ms", slowest_probe.as_millis());
    println!("outage told     {} ms after its first failed check", told.as_millis());

    assert!(load(&counts.connected) >= (scale.idle + scale.slow_heads + scale.slow_bodies) as u64);
    assert!(load(&counts.large) > 0 && load(&counts.answers) > 0);
    assert_eq!(missed, 0, "slots were missed");
    assert!(peak < before + 64 * 1024, "{before} KiB grew to {peak} KiB");
    monitor.signal("TERM");
    assert_eq!(monitor.wait(Duration::from_secs(30)).code, Some(0));
}
