//! What can be known of Dockerfile, compose file and unit without an engine: that they speak of what is there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The instructions of the Dockerfile, continued lines joined, comments left out.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|l| !l.is_empty()).collect()
}

/// What follows a word at the beginning of an instruction.
fn arguments(of: &str) -> Vec<String> {
    instructions().iter().filter_map(|line| line.strip_prefix(&format!("{of} "))).map(str::to_owned).collect()
}

/// The default of a build argument.
fn build_argument(name: &str) -> String {
    let wanted = format!("{name}=");
    arguments("ARG").iter().find_map(|a| a.strip_prefix(&wanted)).unwrap_or_else(|| panic!("no ARG {name}")).to_owned()
}

/// The sources of every COPY from the context.
fn copied() -> Vec<String> {
    let mut sources = Vec::new();
    for copy in arguments("COPY") {
        if copy.contains("--from=") {
            continue;
        }
        let words: Vec<&str> = copy.split(' ').filter(|word| !word.starts_with("--")).collect();
        let (_, from) = words.split_last().unwrap();
        sources.extend(from.iter().map(|&path| path.to_owned()));
    }
    sources
}

/// Whether a pattern of a `.dockerignore` matches the segments of a path or of a folder that holds it.
fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, _) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        (Some(_), None) => false,
        (Some((&"*", rest)), Some((_, deeper))) => matches(rest, deeper),
        (Some((one, rest)), Some((name, deeper))) => one == name && matches(rest, deeper),
    }
}

/// Whether a file is sent to the build: the last pattern that matches counts.
fn is_sent(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').collect();
    let text = read(".dockerignore");
    let patterns = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    patterns.fold(true, |sent, line| {
        let pattern = line.strip_prefix('!').unwrap_or(line);
        // Part of a name is what this matcher does not know.
        assert!(pattern.split('/').all(|s| !s.contains('*') || s == "*" || s == "**"), "{line}");
        let pattern: Vec<&str> = pattern.split('/').collect();
        if matches(&pattern, &segments) { line.starts_with('!') } else { sent }
    })
}

/// Every file below a path of the repository, or the file itself.
fn files_below(path: &str) -> Vec<String> {
    let full = root().join(path);
    if full.is_file() {
        return vec![path.to_owned()];
    }
    let entries =
        std::fs::read_dir(&full).unwrap_or_else(|error| panic!("{path}, which the Dockerfile copies: {error}"));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.flat_map(|name| files_below(&format!("{path}/{name}"))).collect()
}

#[test]
fn what_the_image_copies_exists_and_is_sent_to_the_build() {
    let copied = copied();
    assert!(copied.contains(&"src".to_owned()), "{copied:?}");
    for path in &copied {
        for file in files_below(path) {
            let left_out_on_purpose = file.contains("/snapshots/");
            assert_eq!(is_sent(&file), !left_out_on_purpose, "{file}");
        }
    }
    for secret_or_large in [".env", ".git/config", "target/release/api-monitor", "data/api_monitor.db", "logs/a.log"] {
        assert!(!is_sent(secret_or_large), "{secret_or_large} would be sent to the build");
    }
}

#[test]
fn the_layer_of_dependencies_knows_every_member_of_the_workspace() {
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).unwrap();
    let members: Vec<&str> = members.trim_end_matches(']').split(',').map(|m| m.trim().trim_matches('"')).collect();
    assert!(members.contains(&"migrations"), "{members:?}");

    let instructions = instructions();
    let first_build = instructions.iter().position(|line| line.contains("cargo build")).unwrap();
    let copied = copied();
    for member in members {
        let manifest = format!("{member}/Cargo.toml");
        let at = instructions.iter().position(|line| line.starts_with(&format!("COPY {manifest} ")));
        assert!(at.is_some_and(|at| at < first_build), "{manifest} is copied before the dependencies are built");
        let stand_in = format!("{member}/src/");
        assert!(instructions[first_build].contains(&stand_in), "{member} has a stand-in source");
        // What is linked into the product must come as it is, too, and be built again.
        if read("Cargo.toml").contains(&format!("{member} = {{ path = ")) {
            assert!(copied.contains(&format!("{member}/src")), "the sources of {member} are copied");
            let touched =
                instructions.iter().any(|line| line.contains("touch") && line.contains("src/main.rs migrations"));
            assert!(touched, "the real sources look newer than the stand-ins");
        }
    }
    let builds: Vec<&String> = instructions.iter().filter(|line| line.contains("cargo build")).collect();
    assert_eq!(builds.len(), 2);
    assert!(builds.iter().all(|line| line.contains("cargo build --locked --release --bin api-monitor")), "{builds:?}");
}

#[test]
fn versions_and_words_of_the_image_are_those_of_the_manifest() {
    let parts = |version: &str| version.split('.').map(|n| n.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let (built_with, needed) = (build_argument("RUST_VERSION"), env!("CARGO_PKG_RUST_VERSION"));
    assert!(parts(&built_with) >= parts(needed), "built with Rust {built_with}, Cargo.toml asks for {needed}");
    assert_eq!(build_argument("VERSION"), env!("CARGO_PKG_VERSION"));
    // FROM sees only the arguments before the first stage.
    let instructions = instructions();
    let first_stage = instructions.iter().position(|line| line.starts_with("FROM ")).unwrap();
    for name in arguments("FROM").iter().flat_map(|from| variables(from)) {
        let declared = instructions[..first_stage].iter().any(|line| line.starts_with(&format!("ARG {name}=")));
        assert!(declared, "ARG {name} stands after the first FROM");
    }
    let labels = arguments("LABEL").join(" ");
    assert!(labels.contains(&format!("description=\"{}\"", env!("CARGO_PKG_DESCRIPTION"))), "{labels}");
    assert!(labels.contains(&format!("licenses=\"{}\"", env!("CARGO_PKG_LICENSE"))), "{labels}");
}

#[test]
fn the_image_runs_without_a_shell_and_without_root() {
    let [user] = arguments("USER").try_into().unwrap();
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "USER {user}");
    let writable = arguments("COPY").into_iter().find(|copy| copy.contains("--chown=")).unwrap();
    assert!(writable.contains(&format!("--chown={user} ")), "the writable folders belong to another user: {writable}");

    let [entry] = arguments("ENTRYPOINT").try_into().unwrap();
    let entry: Vec<String> = serde_json::from_str(&entry).expect("the exec form of ENTRYPOINT");
    let [health] = arguments("HEALTHCHECK").try_into().unwrap();
    let health: Vec<String> =
        serde_json::from_str(health.split_once("CMD ").unwrap().1).expect("the exec form of HEALTHCHECK");
    assert_eq!(entry, health[..1]);
    // The program knows the command that the health check gives.
    let known = Command::new(env!("CARGO_BIN_EXE_api-monitor")).args(&health[1..]).arg("--help").output().unwrap();
    assert!(known.status.success(), "{known:?}");
}

fn compose() -> Value {
    serde_yaml::from_str(&read("docker-compose.yml")).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[test]
fn compose_mounts_what_the_image_has() {
    let compose = compose();
    let named: Vec<&String> = compose["volumes"].as_object().unwrap().keys().collect();
    let monitor = &compose["services"]["api-monitor"];
    assert_eq!(monitor["build"], ".");
    let image = instructions().join("\n");
    assert!(image.contains("WORKDIR /app\n") && image.contains("/app/config/") && image.contains("EXPOSE 8000"));
    let mut targets = Vec::new();
    for mount in texts(&monitor["volumes"]) {
        let [source, target] = mount.split(':').take(2).collect::<Vec<_>>().try_into().unwrap();
        targets.push(target);
        if source.starts_with("./") {
            assert!(root().join(source).join("config.yaml").is_file(), "{source}");
            assert!(mount.ends_with(":ro"), "{mount}");
        } else {
            assert!(named.iter().any(|name| *name == source), "{source} is not under `volumes`");
            let folder = target.strip_prefix("/app/").unwrap();
            assert!(
                image.contains(&format!("/writable/{folder}")),
                "{target} does not belong to the user of the image"
            );
        }
    }
    assert_eq!(targets, ["/app/config", "/app/data", "/app/logs"]);
    // Docker publishes what listens on the container's own addresses.
    assert_eq!(monitor["environment"]["API_HOST"], "0.0.0.0");
    assert_eq!(monitor["environment"]["API_PORT"], "8000");
    assert!(texts(&monitor["ports"]).iter().all(|port| port.ends_with(":8000")));
    for service in ["api-monitor", "postgres"] {
        let service = &compose["services"][service];
        assert_eq!(service["read_only"], true);
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]));
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"]);
    }
    let grace = monitor["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse::<u32>().unwrap();
    assert!(grace > 9, "a clean stop may take 9 s");
    assert_eq!(monitor["depends_on"]["postgres"]["required"], false);
    assert_eq!(compose["services"]["postgres"]["profiles"], serde_json::json!(["postgres"]));
}

/// The names in `${NAME…}` of a text.
fn variables(text: &str) -> BTreeSet<String> {
    let starts = text.split("${").skip(1);
    starts.map(|rest| rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect()).collect()
}

#[test]
fn the_example_environment_names_every_variable_of_compose() {
    let used = variables(&read("docker-compose.yml"));
    assert!(used.contains("API_KEY"), "{used:?}");
    let example = read(".env.example");
    for name in used.iter().map(String::as_str).chain(["COMPOSE_PROFILES"]) {
        let assigned = example.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{name}=")));
        assert!(assigned, ".env.example does not name {name}");
    }
    // What it proposes for the database is what compose makes.
    let postgres = &compose()["services"]["postgres"]["environment"];
    let (role, database) = (postgres["POSTGRES_USER"].as_str().unwrap(), postgres["POSTGRES_DB"].as_str().unwrap());
    let urls = example.lines().filter_map(|line| line.trim_start_matches("# ").strip_prefix("DATABASE_URL="));
    let proposed =
        |url: &str| url.contains(&format!("//{role}:")) && url.ends_with(&format!("@postgres:5432/{database}"));
    assert!(urls.into_iter().any(proposed), "{example}");
}
