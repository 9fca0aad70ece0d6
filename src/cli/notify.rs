//! `notify test NAME`: a marked message through the real transport of a channel, and what the other side said.

use std::process::ExitCode;
use std::sync::Arc;

use super::{FAILED, Failed, say};
use crate::app::build_channels;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::suggest::closest;
use crate::notify::deliver::test_message;

/// Sends the test. The exit code is 0 when it was delivered and 1 when it was not.
pub(super) async fn test(config: &Config, name: &str) -> Result<ExitCode, Failed> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let channels = crate::app::outbound(config).and_then(|outbound| build_channels(config, clock.clone(), outbound));
    let channels = channels.map_err(|e| Failed::cannot_start(format!("{e:#}")))?;
    let Some(channel) = channels.get(name) else {
        return Err(Failed::cannot_start(no_channel(config, name)));
    };
    match channel.send(&test_message(name, clock.now())).await {
        Ok(receipt) => {
            say(&format!("delivered through {name}: {}", receipt.answer));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            say(&format!("not delivered through {name}: {error}"));
            Ok(ExitCode::from(FAILED))
        }
    }
}

fn no_channel(config: &Config, name: &str) -> String {
    if config.channels.iter().any(|channel| channel.name == name) {
        return format!("the channel `{name}` is off: set `enabled: true`, and what it needs");
    }
    let known: Vec<&str> = config.channels.iter().map(|channel| channel.name.as_str()).collect();
    match closest(name, known.iter().copied()) {
        Some(near) => format!("there is no channel `{name}`; did you mean `{near}`?"),
        None if known.is_empty() => format!("there is no channel `{name}`: none is configured"),
        None => format!("there is no channel `{name}`: configured are {}", known.join(", ")),
    }
}
