# The worker's image: one program, the C library it is linked with and the trusted roots for TLS.
# No shell, no package manager, nothing that writes: run it with a read-only root file system.
#
#   docker build -t profile-worker .

FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
# A stack trace names functions only with symbols; the place of a panic is always logged.
ENV CARGO_PROFILE_RELEASE_STRIP=symbols

# The dependencies, compiled beside an empty program: a layer that lasts until one of these changes.
COPY Cargo.toml Cargo.lock ./
COPY testkit/Cargo.toml testkit/
RUN mkdir src testkit/src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs testkit/src/lib.rs \
 && cargo build --locked --release --bin profile-worker

COPY migrations migrations
COPY src src
# Cargo goes by times, and those of a checkout may be older than those of the empty program.
RUN touch src/main.rs src/lib.rs && cargo build --locked --release --bin profile-worker

# What the program is linked with, by asking the loader, so that it is right on every architecture.
RUN install -D -t /image/usr/local/bin target/release/profile-worker \
 && ldd target/release/profile-worker | grep -o '/[^ ]*' | xargs -I FILE cp --parents --dereference FILE /image \
 && cp --parents /etc/ssl/certs/ca-certificates.crt /image \
 && echo 'hosts: files dns' > /image/etc/nsswitch.conf

FROM scratch
LABEL org.opencontainers.image.title="profile-worker" \
      org.opencontainers.image.description="Turns add-profile requests from RabbitMQ into rows in PostgreSQL and answers every one of them" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image /
# Nobody in particular. A number, so that Kubernetes can see that it is not root.
USER 65532:65532
# glibc keeps what large bodies have taken for later ones, unless it is told from which size on memory goes
# back to the system at once.
ENV PATH=/usr/local/bin ADMIN_ADDR=0.0.0.0:9464 MALLOC_MMAP_THRESHOLD_=1048576
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=6s --start-period=60s --retries=3 CMD ["profile-worker", "health"]
ENTRYPOINT ["profile-worker"]
CMD ["run"]
