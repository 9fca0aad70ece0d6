//! Echoes, in a network of the test's own, where datagram sockets can be permitted and the machine be made to be silent.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use super::kinds::named;
use super::{Platform, until};
use crate::cli::process::run;
use crate::namespace::alone;

fn set(key: &str, value: &str) {
    std::fs::write(Path::new("/proc/sys/net").join(key), value).unwrap();
}

/// `api-monitor check --no-retry`; without the right to raw sockets where `is_bound`. Code and what was printed.
fn check(is_bound: bool, target: &str, extra: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_api-monitor");
    let mut command = if is_bound {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_raw", "--inh-caps", "-net_raw", program]);
        command
    } else {
        Command::new(program)
    };
    let output = command.current_dir(&folder).args(["check", "--no-retry", target]).args(extra).output().unwrap();
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), told)
}

#[test]
fn echoes_come_back_by_either_socket_or_nothing_is_said() {
    alone("platform::echoes::echoes_come_back_by_either_socket_or_nothing_is_said", || async {
        // By a raw socket, which is permitted to whoever made the network.
        let (code, told) = check(false, "icmp://127.0.0.1", &[]);
        assert!(code == Some(0) && told.contains("answer      3 of 3 answered, 0 % lost"), "{told}");
        let (code, told) = check(false, "icmp://[::1]", &[]);
        assert!(code == Some(0) && told.contains("3 of 3 answered"), "{told}");
        let (code, told) = check(true, "icmp://127.0.0.1", &[]);
        let words = "missed: the system does not let this process send echo requests";
        assert!(code == Some(2) && told.starts_with(words) && told.contains("net.ipv4.ping_group_range"), "{told}");
        // By a datagram socket.
        set("ipv4/ping_group_range", "0 0");
        for address in ["127.0.0.1", "[::1]"] {
            let (code, told) = check(true, &format!("icmp://{address}"), &[]);
            assert!(code == Some(0) && told.contains("3 of 3 answered, 0 % lost"), "{told}");
        }
        let (_, told) = check(true, "icmp://127.0.0.1", &["--json"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["answer"]["received"], &told["address"]), (&json!(3), &json!("127.0.0.1")), "{told}");
        assert!(told["answer"]["min_ms"].as_f64().unwrap() <= told["answer"]["max_ms"].as_f64().unwrap());
        let (code, told) = check(true, "icmp://192.0.2.1", &[]);
        assert!(code == Some(1) && told.contains("(connect_unreachable)"), "{told}");
    });
}

#[test]
fn an_endpoint_is_down_when_no_echo_comes_back_and_missed_while_none_can_be_asked_for() {
    let name = "platform::echoes::an_endpoint_is_down_when_no_echo_comes_back_and_missed_while_none_can_be_asked_for";
    alone(name, || async {
        let endpoint =
            "{name: here, url: 'icmp://127.0.0.1', count: 2, interval: 2, timeout: 1, retry: {enabled: false}}";
        let platform = Platform::start(&format!("endpoints: [{endpoint}]\n"));
        let newest = async || named(&platform, "here").await["last_check"].clone();
        until("it is up", async || newest().await["success"] == true).await;
        set("ipv4/icmp_echo_ignore_all", "1");
        until("it is silent", async || newest().await["failure_kind"] == "icmp_timeout").await;
        assert_eq!(newest().await["error_message"], "No answer to 2 echo requests");
        set("ipv4/icmp_echo_ignore_all", "0");
        until("it is back", async || newest().await["success"] == true).await;
        assert_eq!(named(&platform, "here").await["kind"], "icmp");
    });
}

/// Answers every second request, each of them twice, with an answer of somebody else's before it.
fn answer_some(count: usize) {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut buffer = [0; 2048];
    let mut seen = 0;
    while seen < count {
        let length = socket.read(&mut buffer).unwrap();
        let packet = &buffer[usize::from(buffer[0] & 0x0f) * 4..length];
        if packet[0] != 8 {
            continue;
        }
        seen += 1;
        let mut answer = packet.to_vec();
        // Type, and with it the sum, which is of ones' complement.
        answer[0] = 0;
        let sum = u32::from(u16::from_be_bytes([answer[2], answer[3]])) + 0x0800;
        answer[2..4].copy_from_slice(&u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap().to_be_bytes());
        let to = SocketAddr::from(([127, 0, 0, 1], 0)).into();
        if seen % 2 == 1 {
            for _ in 0..2 {
                socket.send_to(&answer, &to).unwrap();
            }
        } else {
            // Of another number, of nobody's making.
            answer[9] ^= 0xff;
            socket.send_to(&answer, &to).unwrap();
        }
    }
}

#[test]
fn echoes_that_are_lost_are_counted() {
    alone("platform::echoes::echoes_that_are_lost_are_counted", || async {
        set("ipv4/icmp_echo_ignore_all", "1");
        let answering = tokio::task::spawn_blocking(|| answer_some(4));
        let folder = tempfile::tempdir().unwrap();
        let config = "endpoints: [{name: here, url: 'icmp://127.0.0.1', count: 4}]\n";
        std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        let told = tokio::task::spawn_blocking(move || {
            run(folder.path(), &["--config", "config.yaml", "check", "--no-retry", "here"])
        });
        let told = told.await.unwrap();
        answering.await.unwrap();
        assert_eq!(told.code, Some(0), "{} {}", told.stdout, told.stderr);
        assert!(told.stdout.contains("2 of 4 answered, 50 % lost"), "{}", told.stdout);
    });
}
