# The relay alone: PostgreSQL runs elsewhere. See docker-compose.yml for both together.

FROM node:22-slim AS dashboard
WORKDIR /web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY web .
RUN npm run build

FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY . .
COPY --from=dashboard /web/dist web/dist
RUN cargo build --release --locked --bin bellwether

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home bellwether
COPY --from=build /build/target/release/bellwether /usr/local/bin/bellwether
USER bellwether
ENV BELLWETHER_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
# debian-slim has no curl; bash can speak to a socket by itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /livez HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q ' 200 ' <&3"]
ENTRYPOINT ["bellwether"]
CMD ["serve"]
