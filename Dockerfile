# The image of api-monitor: built from source, run without a shell, as a user without rights.
#   docker build -t api-monitor .
#   docker run -p 8000:8000 -e API_KEY=… -v api-monitor-data:/app/data api-monitor

# Any version from the `rust-version` of Cargo.toml on will do.
ARG RUST_VERSION=1.95
# With a shell for looking around: gcr.io/distroless/cc-debian13:debug-nonroot
ARG RUN_IMAGE=gcr.io/distroless/cc-debian13:nonroot

# ---- build ------------------------------------------------------------------------------------------------------
FROM rust:${RUST_VERSION}-slim-bookworm AS build
# Nothing is installed: the image has gcc and libc6-dev, and that is all the C in the dependencies asks for (aws-lc for
# TLS, brought with its assembly made, and SQLite). No cmake, no perl, no pkg-config, no OpenSSL.
WORKDIR /src
# The binary carries no symbols; the line tables of Cargo.toml are for profiling.
ENV CARGO_PROFILE_RELEASE_DEBUG=false \
    CARGO_PROFILE_RELEASE_STRIP=symbols

# The dependencies, as a layer of their own: it is built again only when a manifest or the lock file changes. The
# cache mount saves the downloads even then.
COPY Cargo.toml Cargo.lock ./
COPY migrations/Cargo.toml migrations/
COPY bench/Cargo.toml bench/
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    mkdir -p src migrations/src bench/src \
    && echo 'fn main() {}' > src/main.rs \
    && echo 'fn main() {}' > bench/src/main.rs \
    && touch src/lib.rs migrations/src/lib.rs \
    && cargo build --locked --release --bin api-monitor

# The product. Copied files keep their times and may look older than the empty ones above: a new time makes cargo
# build them.
COPY migrations/src migrations/src
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    touch src/lib.rs src/main.rs migrations/src/lib.rs \
    && cargo build --locked --release --bin api-monitor \
    && mkdir -p /writable/data /writable/logs

# ---- run --------------------------------------------------------------------------------------------------------
# Distroless rather than debian-slim: glibc, libgcc and certificate authorities are all that is needed (the health check
# is the binary itself, time zones are compiled in), and what is not there needs no updates: no shell, no package
# manager. Debian 13, as images on 12 are not updated any more; a binary built on 12 runs on 13.
FROM ${RUN_IMAGE}

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="api-monitor" \
      org.opencontainers.image.description="Synthetic endpoint uptime monitor: YAML or REST in, exact uptime and alerts out, one small binary." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /src/target/release/api-monitor /usr/local/bin/api-monitor
COPY LICENSE /usr/share/doc/api-monitor/LICENSE
# Read only for the program. Mount a folder of your own over it.
COPY config/config.yaml config/every-key.yaml /app/config/
# The only folders it writes to. A new named volume takes their owner over; a folder of the host must be writable by
# this user, or the container be run as the folder's owner (`--user`).
COPY --from=build --chown=65532:65532 /writable/ /app/

# `nonroot` of distroless, by number, so that it can be seen not to be root without a list of users.
USER 65532:65532
WORKDIR /app
# Without a volume given, the history still lies on a real file system rather than in the container's layer.
VOLUME ["/app/data"]
EXPOSE 8000
# A clean stop: checks under way end, results are written, the database is closed; 9 seconds at the most.
STOPSIGNAL SIGTERM
# Whether the process serves. A database or an endpoint that is away is no reason to start the container again.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/api-monitor", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/api-monitor"]
