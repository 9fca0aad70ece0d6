//! A monitor that the machine does not run for a while.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::sleep;

use super::web::OK;
use super::{all, recorded};
use crate::platform::failing::{Authority, Identity, Server, read_head};
use crate::platform::{Platform, until};

/// Serves after a while. Whoever is there when it `leaves` is left alone.
async fn patient(identity: &Identity, leaves: &watch::Sender<()>) -> Server {
    let (acceptor, leaves) = (identity.acceptor(&[]), leaves.subscribe());
    Server::start(move |stream| {
        let (acceptor, mut leaves) = (acceptor.clone(), leaves.clone());
        async move {
            leaves.mark_unchanged();
            let serving = async {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                sleep(Duration::from_millis(700)).await;
                read_head(&mut stream).await;
                sleep(Duration::from_millis(700)).await;
                drop(stream.write_all(OK.as_bytes()).await);
                drop(stream.shutdown().await);
            };
            tokio::select! { () = serving => {}, _ = leaves.changed() => {} }
        }
    })
    .await
}

/// Whatever it was doing, it finds its time over and the others gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_stood_still_blames_nobody() {
    let authority = Authority::new("The house");
    let identity = authority.issue("127.0.0.1", -1, 30);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let (leaves, stays) = (watch::Sender::new(()), watch::Sender::new(()));
    let servers = [patient(&identity, &stays).await, patient(&identity, &leaves).await];
    let endpoints = (0..40).map(|n| {
        json!({
            "name": format!("{n}"), "url": format!("https://{}/", servers[n % 2].address), "interval": "10s",
            "timeout": "10s", "retry": {"enabled": false}, "notify": [], "tls": {"ca_file": folder.path().join("ca.pem")},
        })
    });
    let config = json!({
        "endpoints": endpoints.collect::<Vec<_>>(), "connectivity": null, "monitoring": {"max_checks_per_host": 100}
    });
    let platform = Platform::start(&config.to_string());
    let known = all(&platform).await;
    let good = async || {
        let mut good = Vec::new();
        for endpoint in &known {
            good.push(recorded(&platform, &endpoint["id"]).await.0);
        }
        good
    };
    until("all have been examined", async || good().await.iter().all(|n| *n > 0)).await;
    for _ in 0..3 {
        platform.process.signal("STOP");
        // Only then nothing of it runs any more.
        let state = format!("/proc/{}/stat", platform.process.id());
        until("it is stopped", async || std::fs::read_to_string(&state).unwrap().contains(") T ")).await;
        leaves.send_replace(());
        sleep(Duration::from_secs(6)).await;
        platform.process.signal("CONT");
        sleep(Duration::from_millis(1_500)).await;
    }
    let before = good().await;
    until("all are examined again", async || good().await.iter().zip(&before).all(|(now, then)| now > then)).await;
    let mut missed = 0;
    for endpoint in &known {
        let of = recorded(&platform, &endpoint["id"]).await;
        assert!(of.2.is_empty(), "{}: {:?}", endpoint["name"], of.2);
        missed += of.1;
    }
    println!("{missed} missed");
}
